import Engine
import Testing

@testable import Settings

/// `sluice forward add`, `set` and `remove`, as changes of a configuration.
@Suite struct ForwardEditTests {
  private func settings() throws -> SettingsFile {
    try SettingsFile(
      text: """
        [engine]
        on-change = "cut"
        [interface.wan]
        role = "outside"
        device = "eth0"
        address = ["203.0.113.1/24"]
        [interface.lan]
        role = "inside"
        device = "eth1"
        address = ["192.168.1.1/24"]
        [[forward]]
        name = "web"
        protocol = "tcp"
        on = "wan"
        ports = "80, 8810-8815"
        except = "8812"
        to = "192.168.1.10"
        deny = ["198.51.100.0/24"]
        """, file: "test.toml", purpose: .check)
  }

  private func edit(_ kind: ForwardEdit.Kind, _ name: String, _ texts: [String: String] = [:]) -> ForwardEdit {
    var edit = ForwardEdit(kind, name: name)
    edit.texts = texts
    return edit
  }

  @Test func `one is added, checked like one of the file`() throws {
    let texts = ["protocol": "udp", "on": "wan", "ports": "53", "to": "192.168.1.11:5353"]
    let plan = try settings().applying(edit(.add, "dns", texts)).plan
    #expect(plan.forwards.map(\.name) == ["web", "dns"] && plan.onChange == .cut)
    #expect(plan.forwards[1].target == IPv4Address(192, 168, 1, 11) && plan.forwards[1].protocols == .udp)
    #expect(plan.forwards[0].spans == (try settings().plan.forwards[0].spans))
  }

  @Test func `one is changed in what is named, and in nothing else`() throws {
    let before = try settings()
    var change = edit(.set, "web", ["external": "203.0.113.7", "to": "192.168.1.12"])
    change.flags = ["enabled": false]
    change.lists = ["allow": ["192.0.2.0/24"]]
    let after = try before.applying(change).plan.forwards[0]
    var expected = before.plan.forwards[0]
    expected.target = IPv4Address(192, 168, 1, 12)
    expected.externals = [IPv4Address(203, 0, 113, 7)]
    expected.isOnInterface = false
    expected.isEnabled = false
    expected.allow = [IPv4Prefix("192.0.2.0/24")!]
    expected.line = after.line
    #expect(after == expected)
    #expect(try before.applying(change).applying(edit(.set, "web", ["on": "wan"])).plan.forwards[0].isOnInterface)
    #expect(try before.applying(edit(.remove, "web")).plan.forwards.isEmpty)
  }

  @Test func `mistakes are told by the forward's name, without places of a file that nobody wrote`() throws {
    func mistakes(_ edit: ForwardEdit) throws -> [String] {
      let before = try settings()
      do { _ = try before.applying(edit) } catch { return error.messages }
      return []
    }
    let full = ["protocol": "tcp", "on": "wan", "ports": "80", "to": "192.168.1.10"]
    #expect(try mistakes(edit(.add, "twin", full)).contains { $0.hasPrefix("forward twin: ") })
    #expect(try mistakes(edit(.add, "web", full)).first?.contains("already") == true)
    #expect(try mistakes(edit(.set, "nobody")).first?.contains("no such forward") == true)
    #expect(try mistakes(edit(.remove, "nobody")).count == 1)
    #expect(try mistakes(edit(.add, "new", ["ports": "x"])).count == 4)
  }

  @Test func `reports have what the file has`() throws {
    let report = try settings().forwardReports
    #expect(report.count == 1 && report[0].name == "web" && report[0].on == "wan" && report[0].external == nil)
    #expect(report[0].ports == "80, 8810-8815" && report[0].except == "8812" && report[0].to == "192.168.1.10")
    #expect(report[0].deny == ["198.51.100.0/24"] && report[0].enabled && report[0].source == "preserve")
  }

  @Test func `on-change is keep or cut`() throws {
    #expect(try settings().plan.onChange == .cut && Plan().onChange == .keep)
    #expect(try settings().normalised.contains("on-change = \"cut\""))
    #expect(throws: SettingsErrors.self) {
      try SettingsFile(text: "[engine]\non-change = \"drop\"\n", file: "x", purpose: .check)
    }
  }
}
