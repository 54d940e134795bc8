import ArgumentParser

@main
struct Sluice: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sluice",
    abstract: "A packet-level port forwarder.",
    version: "0.1.0",
    subcommands: [
      RunCommand.self,
      CheckCommand.self,
      ReplayCommand.self,
      ExplainCommand.self,
      WhatIfCommand.self,
      RecordCommand.self,
      SelftestCommand.self,
      BenchCommand.self,
      LabCommand.self,
      StatusCommand.self,
      FlowCommand.self,
      ForwardCommand.self,
      ReloadCommand.self,
      DropsCommand.self,
      MirrorCommand.self,
    ]
  )
}
