import Testing

@testable import Gateway

@Suite struct FillWatchTests {
  @Test func `P2 P10 one warning at 80 percent, and another only after the table was clearly emptier`() {
    var watch = FillWatch()
    func warnings(_ fills: [Int]) -> Int { fills.count { watch.look(fill: $0, { "full" }) != nil } }
    #expect(warnings([0, 50, 79]) == 0)
    #expect(warnings([80, 81, 100, 95, 80]) == 1)
    // To and fro about the mark is no news.
    #expect(warnings(Array(repeating: [79, 80, 75, 90], count: 50).flatMap(\.self)) == 0)
    #expect(warnings([69, 79]) == 0)
    #expect(warnings([85, 86]) == 1)
  }
}
