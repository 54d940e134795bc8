"""tagged-echo.py DEVICE VLAN: sends a UDP datagram to the lab's echo port in a raw frame with these tags ("100",
"200.100" = outer . inner, "none"), answers ARP on that VLAN, and prints the tags and text of the answer; 1 if none came."""
import socket
import struct
import sys
import time

MAC, GATEWAY_MAC = bytes.fromhex("020000000110"), bytes.fromhex("020000000101")
CLIENT, GATEWAY = socket.inet_aton("203.0.113.10"), socket.inet_aton("203.0.113.1")
ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 3, 263, 8, 0x10
TEXT = b"datagram in a tagged frame"


def tags_of(vlan):
  ids = [] if vlan == "none" else [int(part) for part in vlan.split(".")]
  types = [0x8100] if len(ids) == 1 else [0x88A8, 0x8100]
  return b"".join(struct.pack("!HH", kind, number) for kind, number in zip(types, ids))


def checksum(data):
  total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
  while total >> 16:
    total = (total & 0xFFFF) + (total >> 16)
  return ~total & 0xFFFF


def request(tags):
  udp = struct.pack("!HHHH", 40000, 7007, 8 + len(TEXT), 0) + TEXT
  ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0x4000, 64, 17, 0) + CLIENT + GATEWAY
  ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
  return GATEWAY_MAC + MAC + tags + b"\x08\x00" + ip + udp


def receive(link):
  """One frame, with the tag that the kernel has stripped put back."""
  frame, ancillary, _, _ = link.recvmsg(65536, socket.CMSG_SPACE(20))
  for level, kind, data in ancillary:
    if level == SOL_PACKET and kind == PACKET_AUXDATA:
      status, _, _, _, _, tag, tag_type = struct.unpack("IIIHHHH", data)
      if status & TP_STATUS_VLAN_VALID:
        frame = frame[:12] + struct.pack("!HH", tag_type, tag) + frame[12:]
  return frame


def main():
  device, vlan = sys.argv[1:]
  tags = tags_of(vlan)
  link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
  link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
  link.bind((device, ETH_P_ALL))
  link.send(request(tags))
  deadline = time.monotonic() + 3
  while (left := deadline - time.monotonic()) > 0:
    link.settimeout(left)
    try:
      frame = receive(link)
    except socket.timeout:
      break
    if frame[6:12] == MAC or frame[12:12 + len(tags)] != tags:
      continue
    body = frame[12 + len(tags):]
    if body[:2] == b"\x08\x06" and body[8:10] == b"\x00\x01" and body[26:30] == CLIENT:
      reply = body[2:8] + b"\x00\x02" + MAC + CLIENT + body[10:20]
      link.send(frame[6:12] + MAC + tags + b"\x08\x06" + reply)
    elif body[:2] == b"\x08\x00" and body[11] == 17 and body[18:22] == CLIENT and body[30:] == TEXT:
      print(f"tags {vlan}: {body[30:].decode()}")
      return 0
  return 1


sys.exit(main())
