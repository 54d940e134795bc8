"""flood.py TARGET COUNT: SYNs and datagrams from as many addresses of 198.18.0.0/16, to ports with a forward and without."""
import socket
import struct
import sys

target, count = socket.inet_aton(sys.argv[1]), int(sys.argv[2])


def checksum(data):
  total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
  while total >> 16:
    total = (total & 0xFFFF) + (total >> 16)
  return ~total & 0xFFFF


out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for number in range(count):
  source = socket.inet_aton("198.18.%d.%d" % (number >> 8 & 0xFF, number & 0xFF))
  client = 1024 + number % 60000
  if number % 2:
    kind, body = 17, struct.pack("!HHHH", client, [7007, 7008, 5201][number % 3], 8, 0)
  else:
    kind, port = 6, [80, 81, 8820, 9000, 22, 5201][number // 2 % 6]
    body = struct.pack("!HHIIBBHHH", client, port, number, 0, 0x50, 2, 1000, 0, 0)
    total = checksum(source + target + struct.pack("!BBH", 0, kind, len(body)) + body)
    body = body[:16] + struct.pack("!H", total) + body[18:]
  # The kernel fills in the header's checksum.
  header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), number & 0xFFFF, 0, 64, kind, 0, source, target)
  out.sendto(header + body, (sys.argv[1], 0))
