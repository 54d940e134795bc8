// swift-tools-version: 6.1
import Foundation
import PackageDescription

/// A package of its own, so that nobody who builds sluice pays for what measuring it needs.
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6)]
let engine = Target.Dependency.product(name: "Engine", package: "sluice")
let rooms = Target.Dependency.product(name: "BenchmarkRooms", package: "sluice")

#if arch(arm64)
  let machine = "aarch64"
#else
  let machine = "x86_64"
#endif

/// DPDK is compared with where its headers are: Debian's libdpdk-dev.
let headers = ["/usr/include/dpdk", "/usr/include/\(machine)-linux-gnu/dpdk"]
let hasDPDK = FileManager.default.fileExists(atPath: headers[0] + "/rte_hash.h")
let dpdkC: [CSetting] =
  hasDPDK
  ? [
    .define("HAS_RTE_HASH"),
    .unsafeFlags(headers.map { "-I\($0)" } + ["-include", "rte_config.h", "-march=corei7", "-O3"]),
  ]
  : []
let dpdkLibraries: [LinkerSetting] =
  hasDPDK ? ["rte_hash", "rte_eal", "rte_rcu", "rte_ring"].map { .linkedLibrary($0) } : []

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
    .target(name: "CRteHash", path: "CRteHash", cSettings: dpdkC, linkerSettings: dpdkLibraries),
    .executableTarget(
      name: "AgainstDPDK", dependencies: [engine, "CRteHash"], path: "AgainstDPDK", swiftSettings: strict),
    .executableTarget(
      name: "Suite", dependencies: [engine, rooms, .product(name: "Benchmark", package: "benchmark")], path: "Suite",
      swiftSettings: strict, plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ]
)
