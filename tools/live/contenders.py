"""What stands in the gateway's place. Each has its addresses and rules from `up` to `down`; nothing else runs there."""
import os
import shutil
import time

from network import BULK, ECHO, GATEWAY, MACS, SERVER, UDP, UDP_PORTS, Failure


class Contender:
  name = ""
  title = ""
  # Programs that it needs, and the Debian packages that bring them.
  needs = {}
  # Kinds of traffic: "bulk", "connect", "round-trip", and "udp" up to so many flows.
  kinds = {"bulk", "connect", "round-trip", "udp"}
  most_flows = 1 << 30
  # What the client sends to, and whose MAC it finds there.
  address, mac = GATEWAY, MACS["wan0"]

  def __init__(self, network):
    self.network, self.child = network, None

  def missing(self):
    """Why it cannot take part; None where it can."""
    absent = [package for program, package in self.needs.items()
              if not (shutil.which(program) or os.path.exists(program))]
    return f"{', '.join(absent)} not installed" if absent else None

  def up(self):
    raise NotImplementedError

  def down(self):
    if self.child:
      self.network.stop(self.child)
      self.child = None
    self.network.reset_gateway()

  def start(self, argv, ready=None):
    self.child = self.network.start("gateway", argv, self.name)
    if ready:
      self.network.await_log(self.child, self.name, ready)

  def write(self, text, suffix):
    path = self.network.folder / f"{self.name}.{suffix}"
    path.write_text(text)
    return path


class Route(Contender):
  name, title = "route", "kernel routing, no translation"
  address = SERVER

  def up(self):
    self.network.host_gateway(forward=True)


class Nft(Contender):
  name, title = "nft", "kernel NAT (nftables)"
  needs = {"nft": "nftables"}

  def up(self):
    self.network.host_gateway(forward=True)
    ports = f"{BULK}, {ECHO}, {UDP}-{UDP_PORTS[-1]}"
    self.network.run("gateway", ["nft", "-f", "-"], text=f"""table ip nat {{
      chain pre {{ type nat hook prerouting priority dstnat; iifname "wan0" tcp dport {{ {ports} }} dnat to {SERVER}
                  iifname "wan0" udp dport {{ {ports} }} dnat to {SERVER}; }}
      chain post {{ type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }}
    }}""")


class HAProxy(Contender):
  name, title = "haproxy", "HAProxy, TCP"
  needs = {"haproxy": "haproxy"}
  kinds = {"bulk", "connect", "round-trip"}

  def up(self):
    self.network.host_gateway(forward=False)
    text = ("global\n  maxconn 4000\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n")
    for port in (BULK, ECHO):
      text += f"listen p{port}\n  bind {GATEWAY}:{port}\n  server s {SERVER}:{port}\n"
    self.start(["haproxy", "-db", "-f", self.write(text, "cfg")])


class Nginx(Contender):
  name, title = "nginx", "nginx stream"
  needs = {"nginx": "nginx", "/usr/lib/nginx/modules/ngx_stream_module.so": "libnginx-mod-stream"}
  # A socket for each flow.
  most_flows = 1000

  def up(self):
    self.network.host_gateway(forward=False)
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"
    servers = "".join(
      f"server {{ listen {GATEWAY}:{port}; proxy_pass {SERVER}:{port}; }}\n" for port in (BULK, ECHO))
    servers += "".join(
      f"server {{ listen {GATEWAY}:{port} udp; proxy_pass {SERVER}:{port}; proxy_timeout 10s; }}\n"
      for port in UDP_PORTS)
    text = (f"load_module {module};\ndaemon off;\nworker_processes 2;\nworker_rlimit_nofile 65536;\n"
            f"pid {self.network.folder}/nginx.pid;\nerror_log stderr;\nevents {{ worker_connections 20000; }}\n"
            f"stream {{\n{servers}}}\n")
    self.start(["nginx", "-c", self.write(text, "conf"), "-e", "stderr"])


class Socat(Contender):
  name, title = "socat", "socat, a process for each connection"
  needs = {"socat": "socat"}
  kinds = {"bulk", "connect", "round-trip"}

  def up(self):
    self.network.host_gateway(forward=False)
    relays = " & ".join(
      f"socat TCP4-LISTEN:{port},bind={GATEWAY},fork,reuseaddr,backlog=4096 TCP4:{SERVER}:{port}"
      for port in (BULK, ECHO))
    self.start(["sh", "-c", f"{relays} & wait"])


class Wire(Contender):
  """Frames go through as they are: the gateway's address is then the server's."""
  mac = MACS["server"]

  def up(self):
    self.network.run("server", ["ip", "address", "add", f"{GATEWAY}/24", "dev", "eth0"])
    self.begin()

  def down(self):
    super().down()
    self.network.run("server", ["ip", "address", "del", f"{GATEWAY}/24", "dev", "eth0"], check=False)


class Testpmd(Wire):
  name, title = "testpmd", "DPDK testpmd on af_packet, frames unchanged"
  needs = {"dpdk-testpmd": "dpdk-dev"}

  def begin(self):
    # It reads frames without virtio headers: with offloads on they would have no checksums.
    self.offloads("off")
    ring = "blocksz=4096,framesz=2048,framecnt=2048,qpairs=1,qdisc_bypass=1"
    ports = [f"--vdev=net_af_packet{index},iface={device},{ring}" for index, device in enumerate(("wan0", "lan0"))]
    self.start(["dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--no-shconf",
                f"--file-prefix={self.network.id}", "-l", "0,1", *ports, "--",
                "--forward-mode=io", "--auto-start", "--no-flush-rx", "--nb-cores=1", "--total-num-mbufs=16384",
                "--stats-period=3600"], "start packet forwarding")

  def offloads(self, state):
    for place, device in (("client", "eth0"), ("server", "eth0"), ("gateway", "wan0"), ("gateway", "lan0")):
      self.network.run(
        place, ["ethtool", "-K", device, "tx", state, "tso", state, "gso", state, "gro", state], check=False)

  def down(self):
    super().down()
    self.offloads("on")


class Sluice(Contender):
  name, title = "sluice", "Sluice, as it comes"
  engine = ""

  def __init__(self, network, program):
    super().__init__(network)
    self.program = program

  def up(self):
    text = f"""[engine]
{self.engine}
[interface.wan]
role = "outside"
device = "wan0"
address = ["{GATEWAY}/24"]
[interface.lan]
role = "inside"
device = "lan0"
address = ["192.168.1.1/24"]
[[forward]]
name = "speed"
protocol = "tcp+udp"
on = "wan"
ports = "{BULK}, {ECHO}, {UDP}-{UDP_PORTS[-1]}"
to = "{SERVER}"
"""
    control = self.network.folder / "control"
    self.start([self.program, "run", "-c", self.write(text, "toml"), "--control", control], "ready")


class SluiceThroughput(Sluice):
  name, title, engine = "sluice-throughput", 'Sluice, ring = "throughput"', 'ring = "throughput"'


class SluiceAuto(Sluice):
  name, title, engine = "sluice-auto", 'Sluice, ring = "auto"', 'ring = "auto"'


class SluiceSpinning(Sluice):
  """It never sleeps, on a core of its own: for the round trip, since on two cores the rest is slowed by it."""
  name, title = "sluice-spinning", "Sluice, pinned and spinning"
  engine = "spin-microseconds = 1_000_000\ncores = [1]"
  kinds = {"round-trip"}


class Mirror(Wire):
  name, title = "mirror", "Sluice without its engine: the floor"

  def __init__(self, network, program):
    super().__init__(network)
    self.program = program

  def begin(self):
    self.start([self.program, "mirror", "wan0", "lan0"], "ready")


def everyone(network, program):
  """All of them, in the order of the report."""
  return [Route(network), Nft(network), HAProxy(network), Nginx(network), Socat(network), Testpmd(network),
          Mirror(network, program), Sluice(network, program), SluiceThroughput(network, program),
          SluiceAuto(network, program), SluiceSpinning(network, program)]


def await_path(contender, seconds=15):
  """Until a connection to the echo port gets through."""
  end = time.monotonic() + seconds
  while True:
    try:
      contender.network.run(
        "client", [contender.network.folder / "load", "round-trip", contender.address, ECHO, "0.01"], 10)
      return
    except Failure as failure:
      if contender.child and contender.child.poll() is not None:
        raise Failure(f"ended: {contender.network.log(contender.name).strip().splitlines()[-1:]}") from failure
      if time.monotonic() > end:
        raise Failure(f"nothing gets through: {failure}") from failure
      time.sleep(0.2)
