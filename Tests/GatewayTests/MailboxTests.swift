import Engine
import Foundation
import Synchronization
import Testing

@testable import Gateway

@Suite struct MailboxTests {
  /// A thread in the worker's place: answers with how many questions it has seen, until it is told to stop.
  private func startWorker(_ mailbox: Mailbox) -> Thread {
    let thread = Thread {
      var seen: UInt64 = 0
      while true {
        guard mailbox.isAsked else {
          var entry = pollfd(fd: mailbox.wakeUp, events: Int16(POLLIN), revents: 0)
          poll(&entry, 1, -1)
          continue
        }
        seen += 1
        var report = EngineReport()
        report.sessionCounts.created = seen
        switch mailbox.take() {
        case .report(let limit):
          report.sessionCounts.live = UInt64(limit)
          mailbox.reply(report)
        case .recording, .drops, .watch, .watched: mailbox.reply(report)
        case .stop:
          mailbox.reply(report)
          return
        default: mailbox.reply(report)
        }
      }
    }
    thread.start()
    return thread
  }

  @Test func `a sleeping worker is woken by every question and answers each once`() throws {
    let mailbox = try Mailbox()
    let worker = startWorker(mailbox)
    for number in 1...200 {
      let report = try #require(mailbox.ask(.report(sessionLimit: number), within: 30_000))
      #expect(report.sessionCounts.created == UInt64(number))
      #expect(report.sessionCounts.live == UInt64(number))
    }
    #expect(try #require(mailbox.ask(.stop, within: 30_000)).sessionCounts.created == 201)
    while !worker.isFinished { usleep(1000) }
    mailbox.deallocate()
  }

  @Test func `an answer that comes too late is not taken for the next one`() throws {
    let mailbox = try Mailbox()
    // Nobody is there to answer yet.
    #expect(mailbox.ask(.report(sessionLimit: 1), within: 1) == nil)
    #expect(mailbox.ask(.report(sessionLimit: 2), within: 1) == nil)
    let worker = startWorker(mailbox)
    let report = try #require(mailbox.ask(.report(sessionLimit: 3), within: 30_000))
    #expect(report.sessionCounts.live == 3)
    #expect(report.sessionCounts.created == 2, "the question that was given up had been answered first")
    _ = mailbox.ask(.stop, within: 30_000)
    while !worker.isFinished { usleep(1000) }
    mailbox.deallocate()
  }
}
