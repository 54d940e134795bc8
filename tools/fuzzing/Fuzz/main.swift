// One input after another, made by libFuzzer, into one of the targets below: nothing may trap, hang, write where it must
// not, or break what the target knows to hold. SLUICE_FUZZ names the target;
// with SLUICE_FUZZ_SEEDS its first inputs are only written to that folder.
import CLibFuzzer
import Glibc

typealias Play = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt

/// Each target by its name; an input is bytes in heap memory of exactly its size, so that the sanitizer sees an overrun.
let targets: [String: Play] = [
  "loader": { LoaderTarget.play(Input($0, $1)) },
  "frames": { FrameTarget.play(Input($0, $1)) },
  "configuration": { ConfigurationTarget.play(Input($0, $1)) },
  "capture": { CaptureTarget.play(Input($0, $1)) },
]

let name = getenv("SLUICE_FUZZ").map { String(cString: $0) } ?? ""
guard let play = targets[name] else {
  print("SLUICE_FUZZ names no target; one of these would: \(targets.keys.sorted().joined(separator: ", "))")
  exit(2)
}
if let folder = getenv("SLUICE_FUZZ_SEEDS") {
  Seeds.write(name, to: String(cString: folder))
  exit(0)
}
var argumentCount = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(LLVMFuzzerRunDriver(&argumentCount, &arguments, play))
