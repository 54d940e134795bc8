import Engine
import Settings

/// The configuration that the manual shows: every key once.
let manualExample = """
  [engine]
  mode = "dedicated"            # owns its devices
  workers = 1                   # one per core
  sessions = 1_048_576          # capacity

  [interface.wan]               # the key is the name used everywhere below
  role    = "outside"           # required: "inside" or "outside"
  device  = "eth0"
  vlan    = 100                 # optional
  address = ["203.0.113.1/24", "2001:db8::1/64"]
  gateway = ["203.0.113.254"]                     # default route(s)
  mac     = "02:00:00:00:01:01"                   # optional
  mtu     = 1500                                  # optional
  ping    = false
  unsolicited = "silent"                          # or "unreachable"

  [interface.lan]
  role    = "inside"
  device  = "eth1"
  address = ["192.168.1.1/24"]
  mac     = "02:00:00:00:02:01"

  [[route]]                     # optional static routes
  destination = "10.0.0.0/8"
  via         = "192.168.1.254"

  [[neighbor]]                  # optional static neighbours
  address = "192.168.1.10"
  mac     = "02:00:00:00:00:10"

  [[forward]]                   # a port forward (destination NAT)
  name     = "web"
  protocol = "tcp"
  on       = "wan"
  ports    = "8840, 8820, 8810-8815"     # or "all" for a whole host
  to       = "192.168.1.10"
  source   = "preserve"
  allow    = ["0.0.0.0/0"]
  hairpin  = true
  enabled  = true

  [[masquerade]]                # source NAT of inside hosts
  from      = "lan"
  to        = "wan"
  ports     = "1-65535"
  mapping   = "endpoint-independent"
  filtering = "address-dependent"

  [timeouts]
  udp = "5m"
  udp-dns = "10s"
  tcp-established = "2h4m"
  tcp-transitory  = "4m"
  icmp = "60s"
  """

/// A gateway with nothing wrong, to which tests add what they try.
let twoInterfaces = """
  [interface.wan]
  role = "outside"
  device = "eth0"
  address = ["203.0.113.1/24"]
  gateway = "203.0.113.254"
  [interface.lan]
  role = "inside"
  device = "eth1"
  address = "192.168.1.1/24"

  """

func load(
  _ text: String, for purpose: SettingsFile.Purpose = .check, localPorts: PortRange? = nil
) throws -> SettingsFile {
  try SettingsFile(text: text, file: "test.toml", purpose: purpose, localPorts: localPorts)
}

/// The messages for a text that is not accepted; empty if it is.
func messages(
  _ text: String, for purpose: SettingsFile.Purpose = .check, localPorts: PortRange? = nil
) -> [String] {
  do {
    _ = try SettingsFile(text: text, file: "test.toml", purpose: purpose, localPorts: localPorts)
    return []
  } catch {
    return error.messages
  }
}
