import Glibc

/// A lab that stays up between commands: `sluice lab up` and `sluice lab down`.
package enum LabSession {
  /// Makes a network, starts the hosts' services and, unless told otherwise, the gateway; all of it goes on when this
  /// process ends.
  /// - Parameters:
  ///   - configuration: the gateway's configuration file; the lab's own if nil.
  ///   - startsGateway: whether `sluice run` is started too.
  /// - Returns: what to try next, for people.
  package static func up(
    name: String, shape: LabNetwork.Shape, configuration: String?, startsGateway: Bool, executable: String
  ) throws -> String {
    LabNetwork.removeLeftovers()
    let network = try LabNetwork(name: name)
    try network.up(shape)
    do {
      let path = try configuration ?? network.write(LabNetwork.configuration, to: "sluice.toml")
      var children = [
        try LabGateway.serve(
          LabNetwork.serverArguments, in: .server, of: network, executable: executable,
          log: "\(network.folder)/server.log"),
        try LabGateway.serve(
          LabNetwork.clientArguments, in: .client, of: network, executable: executable,
          log: "\(network.folder)/client.log"),
      ]
      if startsGateway {
        let log = "\(network.folder)/gateway.log"
        children.append(
          try LabGateway(network: network, executable: executable, configuration: path, log: log).process)
      }
      for child in children { child.detach() }
      return hints(network, executable: executable, configuration: path, gatewayRuns: startsGateway)
    } catch {
      network.down()
      throw error
    }
  }

  /// Takes a network down.
  /// - Returns: what was removed, for people.
  package static func down(name: String) throws -> String {
    try LabNetwork.demandPrivileges()
    let leftovers = LabNetwork.removeLeftovers()
    let network = try LabNetwork(name: name)
    let existed = network.exists
    network.down()
    let removed = (existed ? [name] : []) + leftovers
    return removed.isEmpty ? "lab \(name) is not up" : "removed: " + removed.joined(separator: ", ")
  }

  private static func hints(
    _ network: LabNetwork, executable: String, configuration: String, gatewayRuns: Bool
  ) -> String {
    let inside = { (place: LabNetwork.Place) in "ip netns exec \(network.namespace(place))" }
    let gateway =
      gatewayRuns
      ? "\(inside(.gateway)) \(executable) status --control \(LabGateway.controlPath(network))"
      : "\(inside(.gateway)) \(executable) run -c \(configuration) --control \(LabGateway.controlPath(network))"
    return """
      lab \(network.id) is up. Try:
        \(inside(.client)) curl http://\(LabNetwork.gatewayOutside)/
        \(inside(.client)) ping \(LabNetwork.wholeHostOutside)
        \(inside(.server)) curl http://\(LabNetwork.client):8000/
        \(gateway)
      The gateway's configuration is \(configuration); \
      `\(executable) lab down\(network.id == "lab" ? "" : " --name \(network.id)")` ends it all.
      """
  }
}
