// swift-tools-version: 6.1
import PackageDescription

/// A package of its own, so that nobody who builds sluice pays for what measuring it needs.
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6)]
let engine = Target.Dependency.product(name: "Engine", package: "sluice")
let rooms = Target.Dependency.product(name: "BenchmarkRooms", package: "sluice")

let package = Package(
  name: "sluice-benchmarks",
  dependencies: [
    .package(name: "sluice", path: ".."),
    // Its default traits replace malloc and the runtime's reference counting: a benchmark of neither.
    .package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []),
  ],
  targets: [
    // What a packet needs at least, in C.
    .target(name: "CYardstick", path: "CYardstick", cSettings: [.unsafeFlags(["-O3"])]),
    .executableTarget(
      name: "Yardstick", dependencies: [engine, rooms, "CYardstick"], path: "Yardstick", swiftSettings: strict),
    .executableTarget(
      name: "Suite", dependencies: [engine, rooms, .product(name: "Benchmark", package: "benchmark")], path: "Suite",
      swiftSettings: strict, plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ]
)
