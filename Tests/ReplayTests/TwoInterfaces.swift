/// What most configurations of these tests begin with: an outside and an inside interface.
let twoInterfaces = """
  [interface.wan]
  role = "outside"
  device = "eth0"
  address = ["203.0.113.1/24"]
  gateway = ["203.0.113.254"]
  mac = "02:00:00:00:01:01"

  [interface.lan]
  role = "inside"
  device = "eth1"
  address = ["192.168.1.1/24"]
  mac = "02:00:00:00:02:01"

  """
