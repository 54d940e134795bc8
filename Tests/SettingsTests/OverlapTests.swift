import Settings
import Testing

/// RFC 4787 REQ-7: an inside and an outside network with the same addresses.
@Suite struct OverlapTests {
  @Test(arguments: ["192.168.1.1/24", "192.168.0.1/16", "192.168.1.129/25"])
  func `U18 an inside prefix that overlaps an outside one is refused, with both places`(inside: String) {
    let text = """
      [interface.wan]
      role = "outside"
      device = "eth0"
      address = ["192.168.1.2/24"]
      [interface.lan]
      role = "inside"
      device = "eth1"
      address = ["\(inside)"]
      """
    let errors = #expect(throws: SettingsErrors.self) {
      try SettingsFile(text: text, file: "overlap.toml", purpose: .check)
    }
    let messages = errors?.messages ?? []
    #expect(messages.count == 1 && messages[0].hasPrefix("overlap.toml:8:12: "), "\(messages)")
    #expect(messages.first?.contains("overlaps 192.168.1.0/24, interface wan's (line 1)") == true)
  }

  /// Found by fuzzing: without a target there are no ports either, and asking for the first one's place ended the program.
  @Test func `Forwards that are cut short by bad TOML overlap nothing`() {
    func forward(_ name: String) -> String {
      """
      [[forward]]
      name = "\(name)"
      protocol = "any"
      external = "203.0.113.5"
      ports = "all"
      to 1= "192.168.1.11"

      """
    }
    let text = """
      [interface.wan]
      role = "outside"
      device = "eth0"
      address = ["203.0.113.1/24"]

      """
    let errors = #expect(throws: SettingsErrors.self) {
      try SettingsFile(text: text + forward("one") + forward("two"), file: "cut.toml", purpose: .check)
    }
    let places = (errors?.messages ?? []).map { $0.prefix { $0 != " " } }
    #expect(places == ["cut.toml:10:4:", "cut.toml:16:4:"], "\(errors?.messages ?? [])")
  }
}
