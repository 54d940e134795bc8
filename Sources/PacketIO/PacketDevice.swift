import CLinux
import Engine
import Glibc

/// What the kernel says of a network device, at one moment.
public struct PacketDevice: Sendable, Equatable {
  public var name: String
  /// The kernel's number for it, never used twice while the namespace lives.
  public var index: Int32
  public var mtu: Int
  public var link: InterfacePlan.Link
  /// nil on raw-IP devices.
  public var mac: MACAddress?
  public var isUp: Bool

  /// Why a device cannot be used.
  public enum Unusable: Error, Equatable, CustomStringConvertible {
    case missing(String)
    case wrongType(String, type: String)
    case failed(SystemError)

    public var description: String {
      switch self {
      case .missing(let name): "there is no device \(name) in this network namespace"
      case .wrongType(let name, let type):
        "device \(name) is \(type), which cannot be used; Ethernet and raw-IP devices (tun, WireGuard) can"
      case .failed(let error): "\(error)"
      }
    }
  }
}

extension PacketDevice {
  /// Reads the facts of the device `name` in the calling thread's network namespace.
  public init(named name: String) throws(Unusable) {
    var facts = sluice_device()
    let code = sluice_device_read(name, &facts)
    guard code == 0 else {
      throw code == ENODEV ? .missing(name) : .failed(SystemError("reading device \(name)", code: code))
    }
    self.name = name
    index = facts.index
    mtu = Int(facts.mtu)
    isUp = facts.flags & UInt32(IFF_UP) != 0
    switch Int32(facts.type) {
    case ARPHRD_ETHER:
      link = .ethernet
      let bytes = facts.mac
      mac = MACAddress(
        [bytes.0, bytes.1, bytes.2, bytes.3, bytes.4, bytes.5].reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    case ARPHRD_NONE, SLUICE_ARPHRD_RAWIP:
      link = .rawIP
    default:
      throw .wrongType(name, type: Self.typeName(facts.type))
    }
  }

  /// The name of an ARPHRD_* number, for people.
  static func typeName(_ type: UInt16) -> String {
    let names: [Int32: String] = [
      ARPHRD_LOOPBACK: "a loopback device", ARPHRD_PPP: "a PPP device", ARPHRD_INFINIBAND: "an InfiniBand device",
      ARPHRD_TUNNEL: "an IPIP tunnel", ARPHRD_TUNNEL6: "an IPv6 tunnel", ARPHRD_SIT: "a SIT tunnel",
      ARPHRD_IPGRE: "a GRE tunnel", ARPHRD_IEEE80211: "a raw 802.11 device",
      ARPHRD_IEEE80211_RADIOTAP: "an 802.11 monitor device", ARPHRD_IEEE802154: "an 802.15.4 device",
    ]
    return names[Int32(type)] ?? "of hardware type \(type)"
  }
}
