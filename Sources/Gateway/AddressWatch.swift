import CLinux
import Glibc
import PacketIO

/// Tells when the kernel's IPv4 addresses change (rtnetlink(7), RTMGRP_IPV4_IFADDR). What they are then is read anew:
/// messages may be lost, the state is not.
final class AddressWatch {
  /// Readable when something has changed.
  let descriptor: Int32

  init() throws(SystemError) {
    descriptor = try checked(sluice_watch_addresses(), "watching the kernel's addresses")
  }

  deinit { close(descriptor) }

  /// True where something has changed since the last call.
  func hasChanged() -> Bool {
    var message = [UInt8](repeating: 0, count: 8192)
    var hasChanged = false
    while true {
      let count = recv(descriptor, &message, message.count, Int32(MSG_DONTWAIT))
      // ENOBUFS: more came than there was room for.
      if count <= 0 { return hasChanged || (count < 0 && errno == ENOBUFS) }
      hasChanged = true
    }
  }
}
