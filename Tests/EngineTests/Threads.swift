import Glibc

/// Runs `body` on `count` threads of their own, each with its number, and waits for all of them.
func onThreads(_ count: Int, _ body: @escaping (Int) -> Void) {
  let threads = (0..<count).map { number in
    var thread = pthread_t()
    let part = Unmanaged.passRetained(Part { body(number) })
    let status = pthread_create(
      &thread, nil,
      { place in
        Unmanaged<Part>.fromOpaque(place!).takeRetainedValue().run()
        return nil
      }, part.toOpaque())
    precondition(status == 0)
    return thread
  }
  for thread in threads { pthread_join(thread, nil) }
}

/// What one thread runs, at a place that C can point to.
private final class Part {
  let run: () -> Void

  init(_ run: @escaping () -> Void) { self.run = run }
}
