import Testing

@testable import Settings

/// Whatever the bytes are, the answer is a plan or errors inside the text.
@Suite struct HostileTests {
  /// A small generator with a fixed seed (xorshift64*), so that what fails once fails again.
  private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state ^= state >> 12
      state ^= state << 25
      state ^= state >> 27
      return state &* 0x2545_F491_4F6C_DD1D
    }
  }

  private func judge(_ bytes: [UInt8]) {
    do {
      let source = Source(file: "test.toml", bytes: bytes)
      let file = try SettingsFile(source: source, purpose: .check, localPorts: nil)
      #expect(!file.plan.interfaces.isEmpty)
    } catch {
      let lines = bytes.count { $0 == UInt8(ascii: "\n") } + 2
      #expect(!error.errors.isEmpty)
      #expect(error.errors.allSatisfy { ($0.place?.line ?? 0) >= 1 && ($0.place?.line ?? 0) <= lines })
      #expect(error.messages.allSatisfy { !$0.contains("\n") })
    }
  }

  @Test func truncations() {
    let bytes = Array(manualExample.utf8)
    for length in stride(from: 0, to: bytes.count, by: 3) { judge(Array(bytes[0..<length])) }
  }

  @Test func changedBytes() {
    var random = Seeded(state: 1)
    let good = Array(manualExample.utf8)
    let telling = Array("\"'[]{}=.,#\n\r\\- \0".utf8)
    for _ in 0..<600 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        let index = Int.random(in: bytes.indices, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[index] = telling.randomElement(using: &random) ?? 0
        case 2: bytes.remove(at: index)
        default: bytes.insert(telling.randomElement(using: &random) ?? 0, at: index)
        }
      }
      judge(bytes)
    }
  }

  @Test func movedLines() {
    var random = Seeded(state: 2)
    let lines = manualExample.split(separator: "\n", omittingEmptySubsequences: false)
    for _ in 0..<200 {
      var moved = lines
      for _ in 0..<Int.random(in: 1...10, using: &random) {
        let from = Int.random(in: moved.indices, using: &random)
        let line = Bool.random(using: &random) ? moved[from] : moved.remove(at: from)
        moved.insert(line, at: Int.random(in: moved.indices, using: &random))
      }
      judge(Array(moved.joined(separator: "\n").utf8))
    }
  }

  @Test func endlessMistakes() {
    let ports = String(repeating: ",", count: 3000)
    let text = twoInterfaces + "[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\non = \"wan\"\nports = \"\(ports)\"\n"
    let found = messages(text)
    #expect(found.count == 1001)
    #expect(found.contains { $0.hasSuffix("more than 1000 mistakes; mend those before and try again") })
  }

  @Test func randomBytes() {
    var random = Seeded(state: 3)
    for _ in 0..<300 {
      judge((0..<Int.random(in: 0...200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
    }
  }
}
