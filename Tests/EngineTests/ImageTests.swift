import Engine
import PacketTestKit
import Testing

/// A copy of the engine's state, which another engine goes on from. That it does so is seen by `DeterminismTests`, and with
/// `SLUICE_TEST_IMAGES` by every test of the engine: each step is then another engine's.
@Suite struct ImageTests {
  private let plan = Plan.masqueraded(more: { $0.forward("web", [.tcp], ports: "80", to: "192.168.1.10") })

  private func image(of forwarder: inout Forwarder, capacity: Int = 64 << 20) throws -> EngineImage? {
    var image = try EngineImage(capacity: capacity)
    if forwarder.save(to: &image) { return image }
    #expect(image.count == 0)
    image.release()
    return nil
  }

  @Test func `an image too small is none, and the engine is as it was`() throws {
    var forwarder = try Forwarder(plan: plan, links: [[0], [1]], seed: 1, clock: TestGateway.epoch)
    #expect(try image(of: &forwarder, capacity: 4096) == nil)
    let image = try #require(try image(of: &forwarder))
    defer { image.release() }
    #expect(image.count > 4096)
    #expect(forwarder.clock == TestGateway.epoch)
  }

  @Test func `the image of another engine, or a part of one, is refused`() throws {
    var forwarder = try Forwarder(plan: plan, links: [[0], [1]], seed: 1, clock: TestGateway.epoch)
    let image = try #require(try image(of: &forwarder))
    defer { image.release() }
    _ = try Forwarder(plan: plan, links: [[0], [1]], image: image)
    var larger = plan
    larger.sessions += 1
    #expect(throws: PlanError.self) { _ = try Forwarder(plan: larger, links: [[0], [1]], image: image) }
    #expect(throws: PlanError.self) { _ = try Forwarder(plan: plan, links: [[0, 1]], image: image) }
    for count in [0, 8, 39, 40, 4096, image.count / 2, image.count - 1] {
      let part = try EngineImage(UnsafeRawBufferPointer(rebasing: image.bytes.prefix(count)))
      defer { part.release() }
      #expect(throws: PlanError.self, "\(count) bytes") {
        _ = try Forwarder(plan: plan, links: [[0], [1]], image: part)
      }
    }
  }

  @Test func `one worker of several has no image`() throws {
    let state = try EngineState(plan: plan, seed: 1, clock: TestGateway.epoch, workers: 2)
    defer { state.release() }
    var forwarder = try Forwarder(plan: plan, links: [[0], [1]], sharing: state, worker: 0)
    #expect(try image(of: &forwarder) == nil)
  }
}
