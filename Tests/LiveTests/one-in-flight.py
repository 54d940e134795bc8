"""one-in-flight.py STEPS ARRIVED CLIENT_NAMESPACE SERVER_NAMESPACE: sends frames into both ends of a lab, each only after
everything that the one before it brings about has arrived. A line of STEPS is "SIDE HEX CLIENT SERVER": who sends, the
frame, and how many frames then arrive at either end. Lines of ARRIVED are "SIDE HEX". 1 if less arrives in time."""
import ctypes
import os
import select
import socket
import sys
import time

CLONE_NEWNET, ETH_P_ALL, SOL_PACKET, PACKET_IGNORE_OUTGOING = 0x40000000, 3, 263, 23
PATIENCE_SECONDS = 10


def link_in(namespace):
  """A packet socket on eth0 of a namespace: a socket stays in the namespace it was made in."""
  with open(f"/run/netns/{namespace}") as file:
    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
      raise OSError(ctypes.get_errno(), "setns")
  link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
  link.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
  link.bind(("eth0", ETH_P_ALL))
  return link


def main():
  steps, arrived, *namespaces = sys.argv[1:]
  links = dict(zip(("client", "server"), map(link_in, namespaces)))
  sides = {link.fileno(): side for side, link in links.items()}
  with open(steps) as script, open(arrived, "w") as out:

    def receive(limit):
      ready, _, _ = select.select(links.values(), [], [], limit)
      for link in ready:
        out.write(f"{sides[link.fileno()]} {link.recv(1 << 16).hex()}\n")
        missing[sides[link.fileno()]] -= 1
      return bool(ready)

    for line in script:
      side, frame, client, server = line.split()
      missing = {"client": int(client), "server": int(server)}
      links[side].send(bytes.fromhex(frame))
      deadline = time.monotonic() + PATIENCE_SECONDS
      while max(missing.values()) > 0:
        if not receive(max(0, deadline - time.monotonic())):
          print(f"still missing {missing} after {line}")
          return 1
    # What comes on top of it all is one too many.
    while receive(0.3):
      pass
  return 0


sys.stdout.flush()
status = main()
sys.stdout.flush()
os._exit(status)
