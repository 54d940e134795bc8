// swift-tools-version: 6.2
import PackageDescription

/// Warnings are errors in our own targets only: a dependency's warning is not ours to mend.
let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
  name: "sluice",
  products: [
    .executable(name: "sluice", targets: ["sluice"]),
    .library(name: "Engine", targets: ["Engine"]),
    // For the package in Benchmarks alone.
    .library(name: "BenchmarkRooms", targets: ["Bench", "Capture", "Settings"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
  ],
  targets: [
    // Row 0: C that Swift cannot say.
    .target(name: "CIntrinsics"),
    .target(name: "CLinux"),
    .systemLibrary(name: "CPcap", providers: [.apt(["libpcap-dev"])]),
    .target(name: "CToml"),

    // Row 1: the pure machine. No dependency, no Foundation.
    .target(name: "Engine", dependencies: ["CIntrinsics"], swiftSettings: strict),

    // Row 2: ways in and out.
    .target(name: "PacketIO", dependencies: ["Engine", "CLinux"], swiftSettings: strict),
    .target(name: "Capture", dependencies: ["Engine", "CPcap"], swiftSettings: strict),
    .target(name: "Settings", dependencies: ["Engine", "CToml"], swiftSettings: strict),

    // Row 3: why a frame got its verdict, in words.
    .target(name: "Explain", dependencies: ["Engine", "Capture", "Settings"], swiftSettings: strict),

    // Row 4: what users do with them.
    .target(
      name: "Gateway", dependencies: ["Engine", "PacketIO", "Capture", "Settings", "Explain", "CLinux", logging],
      swiftSettings: strict),
    .target(name: "Replay", dependencies: ["Engine", "Capture", "Settings", "Explain"], swiftSettings: strict),
    .target(name: "Bench", dependencies: ["Engine", "Capture"], swiftSettings: strict),
    .target(name: "Lab", dependencies: ["CLinux"], swiftSettings: strict),
    .target(name: "Selftest", dependencies: ["Engine"], swiftSettings: strict),

    // Row 5: one file per command.
    .executableTarget(
      name: "sluice",
      dependencies: [
        "Engine", "PacketIO", "Capture", "Settings", "Explain", "Gateway", "Replay", "Bench", "Lab", "Selftest",
        argumentParser,
        logging,
      ],
      swiftSettings: strict),

    // Tests.
    .target(name: "PacketTestKit", dependencies: ["Engine"], path: "Tests/PacketTestKit", swiftSettings: strict),
    .target(name: "NATModel", dependencies: ["PacketTestKit"], path: "Tests/NATModel", swiftSettings: strict),
    .target(name: "CAllocationCount", path: "Tests/CAllocationCount"),
    .testTarget(
      name: "EngineTests", dependencies: ["Engine", "PacketTestKit", "CAllocationCount"], swiftSettings: strict),
    .testTarget(
      name: "ModelTests", dependencies: ["NATModel", "Engine", "Settings", "PacketTestKit"], swiftSettings: strict),
    .testTarget(name: "BenchTests", dependencies: ["Bench", "Capture", "PacketTestKit"], swiftSettings: strict),
    .testTarget(
      name: "SettingsTests", dependencies: ["Settings", "Engine", "PacketTestKit"], swiftSettings: strict),
    .testTarget(name: "CaptureTests", dependencies: ["Capture", "PacketTestKit"], swiftSettings: strict),
    .testTarget(
      name: "ReplayTests",
      dependencies: ["Replay", "Explain", "Capture", "Settings", "Engine", "PacketTestKit", "sluice"],
      swiftSettings: strict),
    .testTarget(
      name: "GatewayTests", dependencies: ["Gateway", "PacketIO", "Settings", "Engine", "PacketTestKit"],
      swiftSettings: strict),
    .testTarget(
      name: "SelftestTests", dependencies: ["Selftest", "Settings", "Engine", "PacketTestKit", "sluice"],
      swiftSettings: strict),
    .testTarget(name: "LabTests", dependencies: ["Lab"], swiftSettings: strict),
    .testTarget(
      name: "LiveTests", dependencies: ["Lab", "Engine", "Capture", "Explain", "Replay", "PacketTestKit"],
      exclude: [
        "flood.py", "fragment-flood.py", "ice-peer.py", "in-turn.py", "one-in-flight.py", "ring-capture.py",
        "sequence.py", "tagged-echo.py",
      ],
      swiftSettings: strict),
  ],
  cxxLanguageStandard: .cxx17
)

// The thread sanitizer needs the tests of shared state and what they stand on; all else would double its build.
if Context.environment["SLUICE_TESTS"] == "shared-state" {
  let others: Set = [
    "sluice", "Replay", "Bench", "Lab", "Selftest", "NATModel",
    "ModelTests", "BenchTests", "SettingsTests", "CaptureTests", "ReplayTests", "SelftestTests", "LabTests",
    "LiveTests",
  ]
  package.targets.removeAll { others.contains($0.name) }
  package.products.removeAll { $0.name != "Engine" }
}
