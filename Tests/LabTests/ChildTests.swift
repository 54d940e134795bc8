import Glibc
import Testing

@testable import Lab

@Suite struct ChildTests {
  @Test("status, output and errors of a program that ends by itself")
  func outcome() throws {
    let outcome = try run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    #expect(outcome.status == 7)
    #expect(outcome.output == "out\n")
    #expect(outcome.errors == "err\n")
    #expect(!outcome.timedOut && !outcome.succeeded)
    #expect(outcome.complaint == "`sh -c 'echo out; echo err >&2; exit 7'` ended with status 7: err")
  }

  @Test("a signal counts as 128 and its number")
  func signalled() throws {
    #expect(try run(["sh", "-c", "kill -TERM $$"]).status == 128 + SIGTERM)
  }

  @Test("megabytes of output need no reader")
  func muchOutput() throws {
    #expect(try demand(["sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x"]).utf8.count == 5_000_000)
  }

  @Test("when its time is up the whole group is killed, children included")
  func timeLimit() throws {
    let outcome = try run(["sh", "-c", "sleep 600 & echo $!; wait"], seconds: 0.3)
    #expect(outcome.timedOut)
    let grandchild = try #require(pid_t(outcome.output.trimmed))
    // Killed at once, but gone only when init has collected it: until then it is a zombie.
    let isGone = try Interruption.wait(seconds: 10) {
      let status = LabNetwork.contents(ofFile: "/proc/\(grandchild)/status")
      return status.isEmpty || status.contains("State:\tZ")
    }
    #expect(isGone)
  }

  @Test("a program that goes out of scope is ended; a detached one is not")
  func scope() throws {
    var kept: Child? = try Child(["sleep", "600"])
    let killed = try #require(kept?.pid)
    kept = nil
    #expect(kill(killed, 0) == -1)
    kept = try Child(["sleep", "600"])
    let left = try #require(kept?.pid)
    kept?.detach()
    kept = nil
    #expect(kill(left, 0) == 0)
    kill(left, SIGKILL)
    waitpid(left, nil, 0)
  }

  @Test("a program that does not exist is an error with its name")
  func missing() {
    #expect { try run(["/no/such/program"]) } throws: {
      "\($0)" == "cannot start `/no/such/program`: No such file or directory"
    }
  }

  @Test("quoting survives a shell", arguments: ["plain", "two words", "it's", "$HOME `id` \"x\"", ""])
  func quoting(word: String) throws {
    #expect(try demand(["sh", "-c", "printf %s \(word.shellQuoted)"]) == word)
  }
}

@Suite struct LabNameTests {
  @Test("names that people may give", arguments: ["lab", "my-lab-2", "piddle"])
  func good(name: String) throws {
    #expect(try LabNetwork(name: name).namespace(.client) == "sluice-\(name)-client")
  }

  @Test(
    "names that would break something", arguments: ["", "a b", "../x", "pid7-x", String(repeating: "x", count: 33)])
  func bad(name: String) {
    #expect(throws: LabError.self) { try LabNetwork(name: name) }
  }

  @Test("a network of a process carries its number")
  func owned() {
    #expect(LabNetwork.owner(ofID: LabNetwork(ownedFor: "demo").id) == getpid())
    #expect(LabNetwork.owner(ofID: "lab") == nil)
  }

  @Test("ports as a list") func ports() throws {
    #expect(try LabService.ports("80, 8810-8812") == [80, 8810, 8811, 8812])
    for wrong in ["x", "5-3", "1-2-3", "70000"] {
      #expect(throws: LabError.self) { try LabService.ports(wrong) }
    }
  }
}
