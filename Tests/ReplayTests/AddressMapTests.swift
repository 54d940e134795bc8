import Engine
import PacketTestKit
import Testing

@testable import Replay

@Suite struct AddressMapTests {
  private func map(_ rules: [String], _ host: Host) throws -> Host {
    let map = AddressMap(try rules.map { text throws(AddressRule.Mistake) in try AddressRule(text) })
    return Host(number: IPv4Address(wire: map(host.planned.wire)).value)
  }

  @Test func `a prefix keeps its host bits, an address takes them all`() throws {
    #expect(try map(["10.0.0.0/8=192.0.0.0/8"], "10.1.2.3") == "192.1.2.3")
    #expect(try map(["10.1.0.0/16=192.168.0.0/16"], "10.1.2.3") == "192.168.2.3")
    #expect(try map(["10.1.0.0/16=192.168.0.0/16"], "10.2.2.3") == "10.2.2.3")
    #expect(try map(["10.0.0.0/8=192.168.1.10"], "10.1.2.3") == "192.168.1.10")
    #expect(try map(["10.1.2.3=192.168.1.10"], "10.1.2.3") == "192.168.1.10")
    #expect(try map(["10.1.2.3=192.168.1.10"], "10.1.2.4") == "10.1.2.4")
    #expect(try map(["0.0.0.0/0=1.2.3.4"], "9.9.9.9") == "1.2.3.4")
    #expect(try map(["10.9.9.9/9=20.128.1.1/9"], "10.1.2.3") == "20.129.2.3")
  }

  @Test func `the first rule that matches wins, and only it`() throws {
    let rules = ["10.1.2.3=10.1.2.4", "10.1.2.4=10.1.2.5", "10.0.0.0/8=11.0.0.0/8"]
    #expect(try map(rules, "10.1.2.3") == "10.1.2.4")
    #expect(try map(rules, "10.1.2.4") == "10.1.2.5")
    #expect(try map(rules, "10.1.2.5") == "11.1.2.5")
  }

  @Test(arguments: [
    "", "10.0.0.1", "=", "10.0.0.1=", "=10.0.0.1", "10.0.0.1=10.0.0.2=10.0.0.3", "10.0.0.256=1.1.1.1",
    "10.0.0.0/33=1.1.1.1", "10.0.0.0/8=11.0.0.0/9", "10.0.0.1=11.0.0.0/9", "2001:db8::1=1.1.1.1", "a=b",
  ])
  func `what is no rule says what a rule is`(text: String) {
    #expect(throws: AddressRule.Mistake.self) { try AddressRule(text) }
    do throws(AddressRule.Mistake) { _ = try AddressRule(text) } catch {
      #expect(error.description.contains("\"\(text)\""))
    }
  }
}
