"""What is sent through the gateway, and what is measured of it."""
import json
import time

from network import BULK, CLIENT, ECHO, UDP, Failure

# Name, title, unit, whether more is better. The order is that of the report.
METRICS = [
  ("udp-1", "UDP, 60-byte frames, 1 flow", "packets/s", True),
  ("udp-1k", "UDP, 1,000 flows", "packets/s", True),
  ("udp-100k", "UDP, 100,000 flows", "packets/s", True),
  ("udp-1-loss", "UDP lost, 1 flow", "%", False),
  ("udp-1k-loss", "UDP lost, 1,000 flows", "%", False),
  ("udp-100k-loss", "UDP lost, 100,000 flows", "%", False),
  ("udp-1k-cpu", "CPU time of the box a packet, 1,000 flows", "ns", False),
  ("bulk-1", "TCP bulk, 1 stream", "Gbit/s", True),
  ("bulk-16", "TCP bulk, 16 streams", "Gbit/s", True),
  ("bulk-16-cpu", "CPU time of the box a GB, 16 streams", "ms", False),
  ("connect", "Connections opened and closed", "1/s", True),
  ("rtt-p50", "Round trip, half of them", "us", False),
  ("rtt-p99", "Round trip, 99 of 100", "us", False),
]


def busy_ns():
  """CPU time of all cores that was not idle, in ticks of 10 ms."""
  with open("/proc/stat") as file:
    user, nice, system, _idle, _iowait, irq, softirq = map(int, file.readline().split()[1:8])
  return (user + nice + system + irq + softirq) * 10_000_000


def measured(action):
  """What `action` returns, and the CPU time that the whole machine spent meanwhile."""
  before = busy_ns()
  result = action()
  return result, busy_ns() - before


def load(network, seconds, *argv):
  return json.loads(network.run("client", [network.folder / "load", *argv], seconds + 20))


def udp(contender, flows, label, seconds):
  network = contender.network

  def flood(duration):
    return load(network, duration, "flood", "eth0", contender.mac, contender.address, UDP, CLIENT, flows, duration)

  flood(max(0.5, flows / 200_000))  # every flow has been seen before
  time.sleep(0.3)
  before = network.udp_arrived()

  def whole():
    sent = flood(seconds)
    time.sleep(0.2)
    return sent

  sent, busy = measured(whole)
  arrived = network.udp_arrived() - before
  if arrived == 0:
    raise Failure("no datagram arrives")
  return {f"udp-{label}": arrived / sent["seconds"], f"udp-{label}-loss": 100 * max(0, 1 - arrived / sent["sent"]),
          f"udp-{label}-cpu": busy / arrived}


def bulk(contender, streams, seconds):
  def whole():
    argv = ["iperf3", "-J", "-c", contender.address, "-p", BULK, "-t", seconds, "-P", streams,
            "--connect-timeout", "3000"]
    return json.loads(contender.network.run("client", argv, seconds + 20))

  report, busy = measured(whole)
  if "error" in report:
    raise Failure(report["error"])
  received = report["end"]["sum_received"]
  return {f"bulk-{streams}": received["bits_per_second"] / 1e9,
          f"bulk-{streams}-cpu": busy / 1e6 / (received["bytes"] / 1e9)}


def connect(contender, seconds):
  done = load(contender.network, seconds, "connect", contender.address, ECHO, seconds, 64)
  if done["done"] == 0 or done["broken"] > done["done"] / 100:
    raise Failure(f"{done['broken']} connections broke, {done['done']} did not")
  return {"connect": done["per_second"]}


def round_trip(contender, seconds):
  times = load(contender.network, seconds, "round-trip", contender.address, ECHO, seconds)
  return {"rtt-p50": times["p50_us"], "rtt-p99": times["p99_us"]}


def workloads(contender, seconds):
  """Name and action of each that the contender takes."""
  known = {metric for metric, *_ in METRICS}

  def only_known(values):
    return {metric: value for metric, value in values.items() if metric in known}

  if "udp" in contender.kinds:
    for flows, label in ((1, "1"), (1000, "1k"), (100_000, "100k")):
      if flows <= contender.most_flows:
        yield f"udp {label}", lambda flows=flows, label=label: only_known(udp(contender, flows, label, seconds))
  if "bulk" in contender.kinds:
    for streams in (1, 16):
      yield f"bulk {streams}", lambda streams=streams: only_known(bulk(contender, streams, seconds))
  if "connect" in contender.kinds:
    yield "connect", lambda: connect(contender, seconds)
  if "round-trip" in contender.kinds:
    yield "round-trip", lambda: round_trip(contender, seconds)
