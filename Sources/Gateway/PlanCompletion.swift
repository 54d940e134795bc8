import Engine
import PacketIO
import Settings

/// A plan with everything filled in that only this host's devices can tell, and the devices.
struct CompletePlan: Sendable {
  var plan: Plan
  var links = LinkTable()

  /// - Parameter running: what a gateway runs with already. A device's own MAC and MTU stay as they were at its start,
  ///   and an automatic interface may have lost every address.
  /// - Throws: what is wrong with a device, at its place in the configuration.
  init(_ settings: SettingsFile, running: CompletePlan? = nil) throws(GatewayError) {
    plan = settings.plan
    for index in plan.interfaces.indices {
      let device = try Self.device(of: index, settings)
      let before = running?.plan.interfaces.first { $0.name == plan.interfaces[index].name }
      try complete(index, from: device, before, settings)
      // Alongside, IPv6 is the host's.
      let groups = plan.mode == .dedicated ? plan.interfaces[index].groups6 : []
      links.append(interfaceOn: device, mac: plan.interfaces[index].mac, groups: groups)
    }
    for index in plan.forwards.indices where plan.forwards[index].isOnInterface {
      plan.forwards[index].externals = plan.interfaces[plan.forwards[index].interface].addresses.map(\.address)
    }
  }

  private static func device(of index: Int, _ settings: SettingsFile) throws(GatewayError) -> PacketDevice {
    do {
      return try PacketDevice(named: settings.plan.interfaces[index].device)
    } catch .failed(let error) {
      throw GatewayError(error)
    } catch {
      throw .configuration(settings.error(at: .key(of: .interface(index), "device"), "\(error)"))
    }
  }

  private mutating func complete(
    _ index: Int, from device: PacketDevice, _ before: InterfacePlan?, _ settings: SettingsFile
  ) throws(GatewayError) {
    func wrong(_ key: String, _ text: String) -> GatewayError {
      .configuration(settings.error(at: .key(of: .interface(index), key), text))
    }
    var interface = plan.interfaces[index]
    interface.link = device.link
    if device.link == .rawIP {
      interface.mac = nil
      guard interface.tags.isEmpty else {
        throw wrong("vlan", "device \(device.name) carries IP without Ethernet, and so no VLAN tags; leave vlan out")
      }
    } else {
      interface.mac = interface.mac ?? before?.mac ?? device.mac
    }
    // A device lets one tag more than its MTU pass (packet_snd in the kernel's af_packet.c), a second one it does not.
    let largest = device.mtu - 4 * max(0, interface.tags.count - 1)
    if let mtu = interface.mtu, mtu > largest {
      throw wrong("mtu", "mtu \(mtu) is more than device \(device.name) carries; at most \(largest)")
    }
    interface.mtu = interface.mtu ?? before?.mtu ?? largest
    // RFC 8200 section 5; a smaller `mtu` of the file's own is refused when that is read.
    if !interface.addresses6.isEmpty, let mtu = interface.mtu, mtu < 1280 {
      throw wrong("address", "device \(device.name) carries \(mtu) bytes, less than the 1280 that IPv6 needs")
    }
    if interface.isAutomatic {
      interface.addresses = device.addresses()
      guard !interface.addresses.isEmpty || before != nil else {
        throw wrong(
          "address", "device \(device.name) has no IPv4 address that \"auto\" could follow; give it one first")
      }
    }
    plan.interfaces[index] = interface
  }
}
