extension LabNetwork {
  /// The gateway's configuration: every form of forward once, and a masquerade for the inside.
  package static let configuration = """
    # The lab's gateway: client 203.0.113.10 outside, server 192.168.1.10 inside.

    [interface.wan]
    role    = "outside"
    device  = "wan0"
    address = ["203.0.113.1/24"]

    [interface.lan]
    role    = "inside"
    device  = "lan0"
    address = ["192.168.1.1/24"]

    [[forward]]                       # a single port, to another port
    name     = "site"
    protocol = "tcp"
    on       = "wan"
    ports    = "80"
    to       = "192.168.1.10:8080"

    [[forward]]                       # a list
    name     = "list"
    protocol = "tcp"
    on       = "wan"
    ports    = "8820, 8840"
    to       = "192.168.1.10"

    [[forward]]                       # a range, to a range of equal count
    name     = "range"
    protocol = "tcp"
    on       = "wan"
    ports    = "9000-9003"
    to       = "192.168.1.10:9100-9103"

    [[forward]]
    name     = "echo"
    protocol = "udp"
    on       = "wan"
    ports    = "7007"
    to       = "192.168.1.10"

    [[forward]]
    name     = "iperf"
    protocol = "tcp+udp"
    on       = "wan"
    ports    = "5201"
    to       = "192.168.1.10"

    [[forward]]                       # a whole host: every port, and ping
    name     = "whole-host"
    protocol = "any"
    external = "203.0.113.5"
    ports    = "all"
    to       = "192.168.1.20"

    [[masquerade]]
    from = "lan"
    to   = "wan"

    """

  /// What the server offers behind those forwards (`lab serve` in its namespace).
  package static let serverArguments = ["--http", "8080,8820,8840,9100-9103", "--udp-echo", "7007"]
  /// What the client offers to inside hosts.
  package static let clientArguments = ["--http", "8000"]
}
