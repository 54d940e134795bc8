import Engine

// MARK: ICMP errors, and what must not pass

extension Check {
  static let errors: [Check] = [
    Check("I6", "an ICMP error from a router outside finds its way, with what it quotes translated back") { trial in
      var stage = try trial.stage()
      let (source, peer) = (trial.host(0, trial.ports[0]), trial.peer(0, 1000))
      guard let left = stage.send(.udp(source, peer), into: trial.inside).forwarded?.datagram else {
        return .notMet("no mapping")
      }
      let router = trial.peers[1]
      let error = Datagram.error(11, 0, from: router, to: left.source.address, about: left)
      guard let back = stage.send(error, into: trial.outside).forwarded?.datagram else { return .notMet("dropped") }
      return .of(
        back.isSound && back.source.address == router && back.destination.address == source.address
          && back.quote.source == source && back.quote.destination == peer,
        "it quotes \(back.quote.source) to \(back.quote.destination)")
    },
    Check("I8", "an ICMP error about nothing of ours is dropped in silence") { trial in
      var stage = try trial.stage()
      let stranger = Datagram.udp(Endpoint(trial.address, trial.ports[0]), trial.peer(0, 1000))
      let error = Datagram.error(3, 3, from: trial.peers[0], to: trial.address, about: stranger)
      let outcome = stage.send(error, into: trial.outside)
      return .of(outcome.verdict != .forward && outcome.left.isEmpty, "it is forwarded or answered")
    },
    Check("F10", "a datagram whose time runs out here is answered by time exceeded") { trial in
      var stage = try trial.stage()
      let dying = Datagram.udp(trial.host(0, trial.ports[0]), trial.peer(0, 1000)).with(ttl: 1)
      return .of(stage.send(dying, into: trial.inside).answer?.icmpType == [11, 0], "it is not")
    },
    Check("F5", "a datagram too big for the link is answered by fragmentation needed, with the MTU") { trial in
      guard let mtu = trial.plan.interfaces[trial.outside].mtu, mtu < 9000 else { return .skipped("the MTU is large") }
      var stage = try trial.stage()
      let payload = [UInt8](repeating: 7, count: mtu)
      let large = Datagram.udp(trial.host(0, trial.ports[0]), trial.peer(0, 1000), payload)
      let answer = stage.send(large, into: trial.inside).answer
      return .of(answer?.icmpType == [3, 4] && answer?.word(26) == UInt16(mtu), "it is not")
    },
  ]

  static let attacks: [Check] = [
    Check("F13 A8", "addresses that cannot be where they are do not pass") { trial in
      var stage = try trial.stage()
      let (source, peer) = (trial.host(0, trial.ports[0]), trial.peer(0, 1000))
      let outside = Endpoint(trial.address, trial.ports[0])
      let loopback = Endpoint(IPv4Address(127, 0, 0, 1), 1000)
      let fromInside = [loopback, peer].map { Datagram.udp($0, peer) }
      let fromOutside = [loopback, source, outside].map { Datagram.udp($0, outside) }
      let passing =
        fromInside.count { stage.send($0, into: trial.inside).verdict == .forward }
        + fromOutside.count { stage.send($0, into: trial.outside).verdict == .forward }
      return .of(passing == 0, "\(passing) of 5 pass")
    },
    Check("A21", "inside addresses are not reached from outside") { trial in
      var stage = try trial.stage()
      let outcome = stage.send(.udp(trial.peer(0, 1000), trial.host(0, trial.ports[0])), into: trial.outside)
      return .of(outcome.verdict != .forward && outcome.left.isEmpty, "they are, or it is answered")
    },
    Check("A2 P7", "no inside host gets a forwarded port") { trial in
      let forwarded = trial.plan.forwards.first {
        $0.isEnabled && $0.protocols.contains(.udp) && $0.externals.contains(trial.address)
          && $0.spans.contains { span in
            trial.rule.pool.contains { $0.first <= span.ports.first && span.ports.first <= $0.last }
          }
      }
      guard let port = forwarded?.spans.first?.ports.first else { return .skipped("no UDP forward on this address") }
      var stage = try trial.stage()
      let seen = trial.mapped(&stage, trial.host(0, port), to: trial.peer(0, 1000))
      return .of(seen?.port != port, "\(port) is given away")
    },
    Check("A13", "what nobody asked for gets no answer larger than itself") { trial in
      var stage = try trial.stage()
      let probe = Datagram.udp(trial.peer(0, 1000), Endpoint(trial.address, trial.ports[0]))
      let answers = stage.send(probe, into: trial.outside).left
      let isFrank = trial.plan.interfaces[trial.outside].unsolicited == .unreachable
      return .of(answers.count <= (isFrank ? 1 : 0), "\(answers.count) answers")
    },
  ]
}
