import Glibc

/// What the kernel has given of the huge pages that the engine asks for (`sluice_pages`): it may have none, or none left.
enum HugePages {
  /// Bytes of this process's memory that stand in them, from /proc/self/smaps_rollup (proc(5)).
  static var bytes: Int? {
    guard let file = fopen("/proc/self/smaps_rollup", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, Int32(line.count), file) != nil {
      let words = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        .split(whereSeparator: \.isWhitespace)
      if words.count >= 2, words[0] == "AnonHugePages:", let kibibytes = Int(words[1]) { return kibibytes * 1024 }
    }
    return nil
  }
}
