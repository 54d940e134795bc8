// swift-tools-version: 6.2
import PackageDescription

/// A package of its own, so that no other build sees its flags. `tools/fuzz` builds and runs it.
let package = Package(
  name: "sluice-fuzzing",
  dependencies: [.package(name: "sluice", path: "../..")],
  targets: [
    // libFuzzer's entry that leaves `main` to us.
    .target(name: "CLibFuzzer", path: "CLibFuzzer"),
    .executableTarget(
      name: "Fuzz",
      dependencies: [
        "CLibFuzzer", .product(name: "Engine", package: "sluice"), .product(name: "BenchmarkRooms", package: "sluice"),
      ],
      path: "Fuzz",
      swiftSettings: [.unsafeFlags(["-sanitize=fuzzer,address"]), .treatAllWarnings(as: .error)],
      // The system's gold ends with an internal error on these sections.
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
  ]
)
