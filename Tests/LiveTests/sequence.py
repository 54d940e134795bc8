"""sequence.py send ADDRESS ROUNDS: numbered datagrams, in floods of about 6,000 a second and lulls of about 200.
sequence.py receive: says "received lost doubled overtaken" after the last of them (or five silent seconds)."""
import socket
import struct
import sys
import time

PORT, LAST = 9009, 1 << 63


def send(address, rounds):
  out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  number = 0
  for _ in range(rounds):
    for seconds, at_once in ((0.3, 30), (0.6, 1)):
      end = time.monotonic() + seconds
      while time.monotonic() < end:
        for _ in range(at_once):
          out.sendto(struct.pack("!Q", number), (address, PORT))
          number += 1
        time.sleep(0.005)
  out.sendto(struct.pack("!Q", LAST | number), (address, PORT))
  print(number)


def receive():
  link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  link.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
  link.bind(("", PORT))
  link.settimeout(5)
  print("ready", flush=True)
  seen, highest, overtaken, doubled, total = set(), -1, 0, 0, 0
  while True:
    try:
      number, = struct.unpack("!Q", link.recv(100))
    except socket.timeout:
      total = max(total, highest + 1)
      break
    if number & LAST:
      total = number & ~LAST
      break
    doubled += number in seen
    overtaken += number < highest
    seen.add(number)
    highest = max(highest, number)
  print(len(seen), total - len(seen), doubled, overtaken)


if sys.argv[1] == "send":
  send(sys.argv[2], int(sys.argv[3]))
else:
  receive()
