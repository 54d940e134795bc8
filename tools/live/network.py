"""client - gateway - server in network namespaces, and what runs in them.

    client 203.0.113.10            gateway             server 192.168.1.10
    eth0 ==================== wan0        lan0 ==================== eth0

Everything is made by `ip`, and gone afterwards; nothing outside the namespaces is touched.
"""
import os
import pathlib
import signal
import subprocess
import tempfile
import time

CLIENT, SERVER, GATEWAY, INSIDE = "203.0.113.10", "192.168.1.10", "203.0.113.1", "192.168.1.1"
MACS = {"client": "02:00:00:00:01:10", "wan0": "02:00:00:00:01:01", "lan0": "02:00:00:00:02:01",
        "server": "02:00:00:00:02:10"}
# Bulk (iperf3), echo, and the first of the ports that UDP is sent to.
BULK, ECHO, UDP = 5201, 7000, 20000
UDP_PORTS = range(UDP, UDP + 4)


class Failure(Exception):
  """What went wrong, for the reader of the report."""


class Network:
  def __init__(self):
    self.id = f"sluice-speed{os.getpid()}"
    self.children = []
    self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-speed-"))

  def name(self, place):
    return f"{self.id}-{place}"

  def command(self, place, argv):
    return ["ip", "netns", "exec", self.name(place), *map(str, argv)]

  def run(self, place, argv, seconds=20, check=True, text=None):
    """Runs a program in a namespace to its end; what it wrote."""
    done = subprocess.run(self.command(place, argv), capture_output=True, text=True, timeout=seconds, input=text)
    if check and done.returncode:
      raise Failure(f"{argv[0]}: {(done.stderr or done.stdout).strip().splitlines()[-1:] or done.returncode}")
    return done.stdout

  def start(self, place, argv, log):
    """Starts a program in a namespace; `stop` ends it."""
    with open(self.folder / log, "w") as output:
      child = subprocess.Popen(self.command(place, argv), stdin=subprocess.PIPE, stdout=output,
                               stderr=subprocess.STDOUT, start_new_session=True)
    self.children.append(child)
    return child

  def log(self, log):
    return (self.folder / log).read_text(errors="replace")

  def await_log(self, child, log, text, seconds=20):
    """Until a program has said so."""
    end = time.monotonic() + seconds
    while text not in self.log(log):
      if child.poll() is not None or time.monotonic() > end:
        raise Failure(f"{log} does not start: {self.log(log).strip().splitlines()[-1:]}")
      time.sleep(0.05)

  def stop(self, child, seconds=10):
    for sig in (signal.SIGTERM, signal.SIGKILL):
      if child.poll() is None:
        os.killpg(child.pid, sig)
        try:
          child.wait(seconds)
        except subprocess.TimeoutExpired:
          continue
    self.children.remove(child)

  def up(self):
    for place in ("client", "gateway", "server"):
      subprocess.run(["ip", "netns", "add", self.name(place)], check=True)
      self.run(place, ["ip", "link", "set", "lo", "up"])
    for device, place in (("wan0", "client"), ("lan0", "server")):
      self.run("gateway", ["ip", "link", "add", device, "address", MACS[device], "type", "veth", "peer", "name", "eth0",
                           "address", MACS[place], "netns", self.name(place)])
      self.run("gateway", ["ip", "link", "set", device, "up"])
      self.run(place, ["ip", "link", "set", "eth0", "up"])
    for place, address, router in (("client", CLIENT, GATEWAY), ("server", SERVER, INSIDE)):
      self.run(place, ["ip", "address", "add", f"{address}/24", "dev", "eth0"])
      self.run(place, ["ip", "route", "add", "default", "via", router])
      self.run(place, ["sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1",
                       "net.ipv6.conf.all.disable_ipv6=1", "net.core.somaxconn=4096"])
    self.run("gateway", ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.core.somaxconn=4096",
                         "net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1"])
    # UDP is counted where it arrives, and goes no further: the server's own stack is no part of the question.
    self.run("server", ["nft", "-f", "-"], text=f"""table netdev count {{
      chain ingress {{ type filter hook ingress device eth0 priority 0; udp dport {UDP}-{UDP_PORTS[-1]} counter drop; }}
    }}""")

  def udp_arrived(self):
    words = self.run("server", ["nft", "list", "chain", "netdev", "count", "ingress"]).split()
    return int(words[words.index("packets") + 1])

  def reset_gateway(self):
    """As it was made: no address, no rule, no forwarding; nobody remembers a neighbour."""
    self.run("gateway", ["nft", "flush", "ruleset"])
    self.run("gateway", ["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    for device in ("wan0", "lan0"):
      self.run("gateway", ["ip", "address", "flush", "dev", device])
    for place in ("client", "server", "gateway"):
      self.run(place, ["ip", "neigh", "flush", "all"], check=False)

  def host_gateway(self, forward):
    """The gateway's kernel has its addresses; it routes where `forward` says so."""
    self.run("gateway", ["ip", "address", "add", f"{GATEWAY}/24", "dev", "wan0"])
    self.run("gateway", ["ip", "address", "add", f"{INSIDE}/24", "dev", "lan0"])
    self.run("gateway", ["sysctl", "-qw", f"net.ipv4.ip_forward={int(forward)}"])

  def down(self):
    for child in list(self.children):
      try:
        self.stop(child)
      except (OSError, ValueError):
        pass
    for place in ("client", "gateway", "server"):
      subprocess.run(["ip", "netns", "delete", self.name(place)], capture_output=True, check=False)
    for file in self.folder.iterdir():
      file.unlink()
    self.folder.rmdir()
