import NATModel
import PacketTestKit

/// A random configuration on the usual stage: wan and lan, sometimes a second outside and a second inside interface.
struct RandomSetup {
  private var dice: Dice
  private var setup = Setup()

  static let insideHosts: [Host] = ["192.168.1.10", "192.168.1.11", "192.168.1.12", "192.168.1.13"]
  static let otherInsideHosts: [Host] = ["10.1.0.5", "10.1.0.6"]
  static let clients: [Host] = ["198.51.100.7", "198.51.100.8", "198.51.100.99", "203.0.113.9", "192.0.2.77"]

  static func make(seed: UInt64) -> Setup {
    var maker = RandomSetup(dice: Dice(seed))
    maker.interfaces()
    maker.forwards()
    maker.masquerades()
    maker.timeouts()
    return maker.setup
  }

  private mutating func interfaces() {
    var wan = Setup.Interface("wan", outside: true, ["203.0.113.1"], 24, gateway: "203.0.113.254")
    if dice.chance(20) { wan.addresses.append("203.0.113.2") }
    wan.ping = dice.chance(30)
    wan.isFrank = dice.chance(30)
    wan.mtu = dice.pick([1500, 1500, 1280, 576])
    var lan = Setup.Interface("lan", outside: false, ["192.168.1.1"], 24)
    lan.ping = dice.chance(70)
    lan.mtu = dice.pick([1500, 1500, 1400])
    setup.interfaces = [wan, lan]
    setup.neighbors = ["203.0.113.254", "203.0.113.9"] + Self.insideHosts
    if dice.chance(40) {
      setup.interfaces.append(Setup.Interface("dmz", outside: false, ["10.1.0.1"], 16))
      setup.neighbors += Self.otherInsideHosts
    }
    if dice.chance(30) {
      setup.interfaces.append(Setup.Interface("wan2", outside: true, ["192.0.2.1"], 24, gateway: "192.0.2.254"))
      setup.neighbors += ["192.0.2.254", "192.0.2.77"]
    }
    if dice.chance(30) { setup.routes = [(Setup.Prefix("10.9.0.0", 16), "192.168.1.12")] }
  }

  private var targets: [Host] {
    Self.insideHosts + (setup.interfaces.contains { $0.name == "dmz" } ? Self.otherInsideHosts : [])
  }

  private mutating func forwards() {
    for index in 0..<dice.roll(0...5) {
      let base = UInt16(8000 + 100 * index)
      let target = dice.pick(targets)
      let kinds: Set<Setup.Kind> = dice.pick([[.tcp], [.udp], [.tcp, .udp]])
      let count = UInt16(dice.roll(1...6))
      let first = dice.pick([base, base, UInt16(50 + 10 * index)])
      let ports: [(UInt16, UInt16)] =
        switch dice.roll(1...4) {
        case 1: (0..<count).map { (first + $0, first + $0) }
        case 2: (0..<count).map { (first + $0, 9000 + base + $0) }
        case 3: (0..<count).map { (first + $0, 9999) }
        default: (0..<count).reversed().enumerated().map { (first + $1, 700 + UInt16($0)) }
        }
      var forward = Setup.Forward("forward-\(index)", kinds, ports: ports, to: target)
      decorate(&forward, mayBeOutside: true)
      setup.forwards.append(forward)
    }
    if dice.chance(35) {
      let kinds: Set<Setup.Kind> = dice.pick([[.tcp, .udp, .echo], [.tcp, .udp], [.tcp, .udp, .echo], [.udp]])
      var whole = Setup.Forward("whole", kinds, ports: nil, to: dice.pick(targets))
      if dice.chance(75) { whole.external = "203.0.113.5" }
      if dice.chance(50) { whole.except = [22, 500, 8001] }
      decorate(&whole, mayBeOutside: false)
      setup.forwards.insert(whole, at: dice.roll(0...setup.forwards.count))
    }
  }

  private mutating func decorate(_ forward: inout Setup.Forward, mayBeOutside: Bool) {
    if dice.chance(25) { forward.hidesClient = true }
    if forward.hidesClient, mayBeOutside, dice.chance(30) { forward.target = "203.0.113.9" }
    if dice.chance(25) { forward.allow = [Setup.Prefix("198.51.100.0", 25), Setup.Prefix("192.168.1.0", 24)] }
    if dice.chance(20) { forward.deny = [Setup.Prefix("198.51.100.96", 27), Setup.Prefix("192.168.1.11", 32)] }
    forward.hairpin = dice.chance(80)
    forward.isEnabled = dice.chance(92)
    if forward.external == nil, forward.ports != nil, dice.chance(20) {
      forward.external = dice.pick(["203.0.113.5", "203.0.113.1"])
    }
    // Without its forward that address would be a host that nobody plays.
    if forward.external == "203.0.113.5" { forward.isEnabled = true }
  }

  private mutating func masquerades() {
    for inside in setup.interfaces where !inside.isOutside {
      for outside in setup.interfaces where outside.isOutside && dice.chance(80) {
        var masquerade = Setup.Masquerade(from: inside.name, to: outside.name)
        masquerade.mapping = dice.pick([.endpointIndependent, .endpointIndependent] + Setup.Rule.allCases)
        masquerade.filtering = dice.pick(Setup.Rule.allCases)
        masquerade.pool = dice.pick([1...65535, 1...65535, 1...65535, 1024...65535, 8000...8020, 1000...1040])
        if dice.chance(30) { masquerade.externals = dice.pick(pools(of: outside)) }
        if dice.chance(25) { masquerade.except = [Setup.Prefix("198.51.100.96", 27)] }
        setup.masquerades.append(masquerade)
      }
    }
  }

  /// Addresses of nobody else, with and without the interface's own.
  private func pools(of outside: Setup.Interface) -> [[Host]] {
    let own = outside.addresses[0]
    let others = [16, 17, 40].map { Host(number: own.number & ~255 | $0) }
    return [others, [own, others[1]], [others[0]]]
  }

  private mutating func timeouts() {
    guard dice.chance(50) else { return }
    setup.udp = dice.roll(120...400)
    setup.dns = dice.roll(5...40)
    setup.icmp = dice.roll(60...120)
    setup.fragment = dice.roll(2...30)
    setup.transitory = dice.roll(240...400)
    setup.established = dice.roll(7440...9000)
  }
}
