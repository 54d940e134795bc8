import Engine
import Testing

@Suite struct AddressTests {
  @Test func `dotted notation round trips and refuses what is not an address`() {
    #expect(IPv4Address("203.0.113.254")?.description == "203.0.113.254")
    for text in ["1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.", "", "a.b.c.d", "+1.2.3.4"] {
      #expect(IPv4Address(text) == nil, "\(text)")
    }
  }

  @Test func `a prefix knows its ends`() {
    let prefix = IPv4Prefix("192.168.1.1/24")
    #expect(prefix?.network.description == "192.168.1.0")
    #expect(prefix?.last.description == "192.168.1.255")
    #expect(IPv4Prefix("0.0.0.0/0")?.contains(IPv4Address(8, 8, 8, 8)) == true)
    #expect(IPv4Prefix("10.0.0.0/33") == nil)
  }

  @Test func `a MAC address round trips`() {
    #expect(MACAddress("02:00:00:00:01:0a")?.description == "02:00:00:00:01:0a")
    #expect(MACAddress("02:00:00:00:01") == nil)
  }
}
