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
  ],
  targets: [
    // What a packet needs at least, in C.
    .target(name: "CYardstick", path: "CYardstick", cSettings: [.unsafeFlags(["-O3"])]),
    .executableTarget(
      name: "Yardstick", dependencies: [engine, rooms, "CYardstick"], path: "Yardstick", swiftSettings: strict),
  ]
)
