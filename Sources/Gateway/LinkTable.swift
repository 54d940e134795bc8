import Engine
import Glibc
import PacketIO

/// The devices that a plan's interfaces are on: one link, with one ring, for each device, however many VLANs it carries.
struct LinkTable: Sendable {
  struct Link: Sendable {
    var device: PacketDevice
    /// Indexes of the interfaces whose frames come in by it.
    var interfaces: [Int]
    /// Their MAC addresses, and those of the groups that they listen to; empty on a raw-IP device.
    var macs: [MACAddress]
  }

  var links: [Link] = []
  /// The link of each interface.
  var linkOfInterface: [Int] = []

  /// Puts the interface after the last one on `device`.
  mutating func append(interfaceOn device: PacketDevice, mac: MACAddress?, groups: [MACAddress] = []) {
    let interface = linkOfInterface.count
    var number = links.firstIndex { $0.device.index == device.index }
    if number == nil {
      links.append(Link(device: device, interfaces: [], macs: []))
      number = links.count - 1
    }
    let link = number!
    links[link].interfaces.append(interface)
    for mac in (mac.map { [$0] } ?? []) + groups where !links[link].macs.contains(mac) { links[link].macs.append(mac) }
    linkOfInterface.append(link)
  }

  /// What `Forwarder` wants to know.
  var interfacesOfLinks: [[Int]] { links.map(\.interfaces) }
  /// The egress device of each interface.
  var deviceOfInterface: [PacketDevice] { linkOfInterface.map { links[$0].device } }
}

extension PacketDevice {
  /// The IPv4 addresses that the kernel has on the device now, in its order.
  func addresses() -> [IPv4Prefix] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: [IPv4Prefix] = []
    var next = list
    while let entry = next?.pointee {
      next = entry.ifa_next
      guard String(cString: entry.ifa_name) == name, let address = Self.address(entry.ifa_addr),
        let mask = Self.address(entry.ifa_netmask)
      else { continue }
      found.append(IPv4Prefix(address, length: UInt8(mask.value.nonzeroBitCount)))
    }
    return found
  }

  private static func address(_ pointer: UnsafeMutablePointer<sockaddr>?) -> IPv4Address? {
    guard let pointer, Int32(pointer.pointee.sa_family) == AF_INET else { return nil }
    return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      IPv4Address(wire: $0.pointee.sin_addr.s_addr)
    }
  }
}
