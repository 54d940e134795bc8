"""in-turn.py STEPS ARRIVED CLIENT_NAMESPACE SERVER_NAMESPACE GATEWAY_NAMESPACE: sends frames into both ends of a lab and
tells which frames each of them makes arrive at the other end. Lines of STEPS: "marker SIDE HEX", a frame that surely
arrives, sent behind each other one; "flush", the gateway's kernel forgets its connections; "SIDE HEX", a frame. For each
of these last, ARRIVED has a line of the frames that arrived."""
import ctypes
import os
import socket
import struct
import sys

CLONE_NEWNET, ETH_P_IP, SOL_PACKET, PACKET_IGNORE_OUTGOING = 0x40000000, 0x0800, 263, 23
NETLINK_NETFILTER, CONNTRACK_DELETE, REQUEST_WITH_ACK = 12, 1 << 8 | 2, 1 | 4
PATIENCE_SECONDS, LINK_HEADER, IP_HEADER, UDP_HEADER = 10, 14, 20, 8


def enter(namespace):
  with open(f"/run/netns/{namespace}") as file:
    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
      raise OSError(ctypes.get_errno(), "setns")


def link_in(namespace):
  """A packet socket on eth0 of a namespace: a socket stays in the namespace it was made in."""
  enter(namespace)
  link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
  link.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
  link.bind(("eth0", ETH_P_IP))
  link.settimeout(PATIENCE_SECONDS)
  return link


def flush(connections):
  """Deletes every tracked connection: IPCTNL_MSG_CT_DELETE without a filter."""
  connections.send(struct.pack("=IHHIIBBH", 20, CONNTRACK_DELETE, REQUEST_WITH_ACK, 0, 0, socket.AF_INET, 0, 0))
  error = struct.unpack_from("=i", connections.recv(4096), 16)[0]
  if error != 0:
    raise OSError(-error, "deleting connections")


def identity(frame):
  """A marker as it is known again: what no gateway changes."""
  return frame[LINK_HEADER + IP_HEADER + UDP_HEADER:]


def main():
  steps, arrived, client, server, gateway = sys.argv[1:]
  # One core: what is sent first has passed the gateway first.
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  links = {"client": link_in(client), "server": link_in(server)}
  others = {"client": links["server"], "server": links["client"]}
  enter(gateway)
  connections = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
  markers = {}
  with open(steps) as script, open(arrived, "w") as out:
    for line in script:
      word, *rest = line.split()
      if word == "flush":
        flush(connections)
      elif word == "marker":
        markers[rest[0]] = bytes.fromhex(rest[1])
      else:
        frame, marker = bytes.fromhex(rest[0]), markers[word]
        links[word].send(frame)
        links[word].send(marker)
        frames = []
        while identity(received := others[word].recv(1 << 16)) != identity(marker):
          frames.append(received.hex())
        out.write(" ".join(frames) + "\n")


main()
