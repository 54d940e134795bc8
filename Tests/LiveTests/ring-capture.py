"""ring-capture.py DEVICE FILE: writes every frame that comes in, with its virtio header, as a packet socket's reader gets
it: records of length (u32), virtio header (10 bytes), frame, all in machine order. Ends on SIGTERM; 1 if any was lost."""
import signal
import socket
import struct
import sys

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 3, 263, 6, 15, 23
SO_RCVBUFFORCE = 33


def main():
  device, path = sys.argv[1:]
  link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
  link.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
  link.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
  link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
  link.bind((device, ETH_P_ALL))
  link.settimeout(0.2)
  ended = []
  signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
  print("ready", flush=True)
  with open(path, "wb") as file:
    while True:
      try:
        record = link.recv(1 << 17)
      except socket.timeout:
        if ended:
          break
        continue
      file.write(struct.pack("I", len(record)) + record)
  _, lost = struct.unpack("II", link.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
  return 1 if lost else 0


sys.exit(main())
