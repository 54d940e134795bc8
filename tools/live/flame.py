#!/usr/bin/env python3
"""tools/live/flame.py [TITLE]: a flame graph (SVG, standard output) of what `perf script` prints (standard input).

    perf record -e cpu-clock -a -g -o flame.data sleep 10    # while something runs
    perf script -i flame.data | tools/live/flame.py "small UDP packets" >flame.svg

Each box is a function, as wide as its share of the samples, on top of who called it; idle time is left out.
"""
import html
import re
import subprocess
import sys

WIDTH, ROW, LETTER, LEAST = 1200, 17, 6.6, 0.002
HEAD = re.compile(r"^(\S.*?)\s+\d+(?:/\d+)?\s")
FRAME = re.compile(r"^\s+[0-9a-f]+ (.+?)(?:\+0x[0-9a-f]+)? \((.*)\)$")
IDLE = {"default_idle", "do_idle", "pv_native_safe_halt", "native_safe_halt", "acpi_idle_enter", "cpu_startup_entry"}


class Box:
  def __init__(self):
    self.samples, self.callees = 0, {}

  def add(self, stack):
    box = self
    box.samples += 1
    for name in stack:
      box = box.callees.setdefault(name, Box())
      box.samples += 1


def stacks(lines):
  """Each sample, the program first and who was running last."""
  program, frames = None, []
  for line in lines:
    frame = FRAME.match(line)
    if frame:
      frames.append(frame[1])
    elif not line.strip():
      if program and frames and not IDLE & set(frames):
        yield [program, *reversed(frames)]
      program, frames = None, []
    elif head := HEAD.match(line):
      program = head[1]


def plain(names):
  """Swift's names as they are written in the source, without types."""
  done = subprocess.run(["swift", "demangle", "--simplified", "--compact"], input="\n".join(names), text=True,
                        stdout=subprocess.PIPE, check=False)
  if done.returncode:
    return {name: name for name in names}
  return {name: re.sub(r"\(.*", "", text) for name, text in zip(names, done.stdout.splitlines())}


def everything(box):
  for name, callee in box.callees.items():
    yield name
    yield from everything(callee)


def depth(box, whole):
  """Rows of what is drawn."""
  return 0 if box.samples / whole < LEAST else 1 + max((depth(c, whole) for c in box.callees.values()), default=0)


def color(name):
  """One for each name, in warm shades; the same in every picture."""
  number = sum(ord(letter) * (place + 1) for place, letter in enumerate(name))
  return f"rgb({205 + number % 50},{90 + number // 7 % 110},{40 + number // 3 % 40})"


def draw(box, name, left, level, whole, out):
  share = box.samples / whole
  if share < LEAST:
    return
  width, top = share * WIDTH, out["height"] - (level + 1) * ROW
  text = html.escape(name[:int(width / LETTER)] if width > 3 * LETTER else "")
  out["boxes"].append(
    f'<g><title>{html.escape(name)}: {100 * share:.1f} %</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}" '
    f'height="{ROW - 1}" fill="{color(name)}"/><text x="{left + 2:.1f}" y="{top + 12}">{text}</text></g>')
  for callee in sorted(box.callees):
    draw(box.callees[callee], out["names"].get(callee, callee), left, level + 1, whole, out)
    left += box.callees[callee].samples / whole * WIDTH


def main():
  root = Box()
  for stack in stacks(sys.stdin):
    root.add(stack)
  if not root.samples:
    sys.exit("flame.py: no samples: `perf script` of a recording with -g would be right")
  names = sorted(set(everything(root)))
  out = {"height": depth(root, root.samples) * ROW + 8, "boxes": [], "names": plain(names)}
  draw(root, f"{' '.join(sys.argv[1:]) or 'all'}: {root.samples} samples", 0, 0, root.samples, out)
  print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{out["height"]}" '
        f'font-family="monospace" font-size="11"><rect width="100%" height="100%" fill="#fff"/>')
  print("\n".join(out["boxes"]) + "\n</svg>")


if __name__ == "__main__":
  main()
