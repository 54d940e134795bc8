"""The results as JSON, as a Markdown table and as a chart."""
import html
import json
import os
import platform
import statistics

from workloads import METRICS

BASE = "nft"


def machine():
  model = "unknown processor"
  with open("/proc/cpuinfo") as file:
    for line in file:
      if line.startswith("model name"):
        model = line.split(":", 1)[1].strip()
        break
  return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release()}


def number(value):
  """Three digits that matter, with thousands apart."""
  if value >= 100:
    return f"{value:,.0f}"
  return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write_json(path, run):
  path.write_text(json.dumps(run, indent=1, sort_keys=True) + "\n")


def write_markdown(path, run):
  names = [name for name in run["titles"] if name in run["results"]]
  m = run["machine"]
  lines = [f"Medians of {run['rounds']} interleaved rounds of {run['seconds']} s each, least and most in brackets; "
           f"over kernel NAT behind the stroke. {m['processor']}, {m['cores']} cores, Linux {m['kernel']}, "
           f"load {run['load'][0]:.1f} at the start and {run['load'][1]:.1f} at the end.", ""]
  for metric, title, unit, more in METRICS:
    rows = [(name, run["results"][name].get(metric)) for name in names]
    rows = [(name, values) for name, values in rows if values]
    if not rows:
      continue
    base = run["results"].get(BASE, {}).get(metric)
    lines += [f"**{title}** ({unit}, {'more' if more else 'less'} is better)", "",
              "| | median | spread | / kernel NAT |", "| --- | ---: | ---: | ---: |"]
    for name, values in rows:
      median = statistics.median(values)
      over = f"{median / statistics.median(base):.2f}" if base and statistics.median(base) > 0 else ""
      lines.append(
        f"| {run['titles'][name]} | {number(median)} | {number(min(values))} - {number(max(values))} | {over} |")
    lines.append("")
  for name, why in run["skipped"].items():
    lines.append(f"Left out: {run['titles'][name]}: {why}.")
  path.write_text("\n".join(lines).rstrip() + "\n")


PANEL_WIDTH, LABEL, BAR, ROW, HEAD, GAP = 460, 170, 200, 17, 30, 22


def panel(run, metric, title, unit, left, top):
  """One metric: a bar to the median, a line from the least to the most."""
  rows = [(name, run["results"][name][metric]) for name in run["titles"] if run["results"].get(name, {}).get(metric)]
  most = max(max(values) for _, values in rows) or 1
  parts = [f'<text x="{left}" y="{top + 14}" class="head">{html.escape(title)} ({html.escape(unit)})</text>']
  for index, (name, values) in enumerate(rows):
    y = top + HEAD + index * ROW
    median = statistics.median(values)
    x = left + LABEL
    low, high = (x + BAR * edge / most for edge in (min(values), max(values)))
    kind = "ours" if name.startswith("sluice") else "floor" if name == "mirror" else "other"
    parts += [
      f'<text x="{x - 6}" y="{y + 10}" class="name">{html.escape(name)}</text>',
      f'<rect x="{x}" y="{y}" width="{BAR * median / most:.1f}" height="{ROW - 5}" class="{kind}"/>',
      f'<path d="M{low:.1f} {y + 6}H{high:.1f}M{low:.1f} {y + 3}v6M{high:.1f} {y + 3}v6" class="spread"/>',
      f'<text x="{x + BAR + 8}" y="{y + 10}" class="value">{number(median)}</text>']
  return parts, HEAD + len(rows) * ROW


def write_svg(path, run):
  metrics = [m for m in METRICS if any(m[0] in results for results in run["results"].values())]
  parts, tops = [], [10, 10]
  for metric, title, unit, more in metrics:
    column = tops.index(min(tops))
    drawn, height = panel(run, metric, title, f"{unit}, {'more' if more else 'less'} is better",
                          10 + column * PANEL_WIDTH, tops[column])
    parts += drawn
    tops[column] += height + GAP
  style = ("text{font:12px sans-serif;fill:#222}.head{font-weight:bold}.name{text-anchor:end}.value{fill:#555}"
           ".ours{fill:#1769aa}.floor{fill:#9dc3e6}.other{fill:#b8b8b8}.spread{stroke:#222;fill:none}")
  path.write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * PANEL_WIDTH + 10} {max(tops)}">'
    f'<rect width="100%" height="100%" fill="#fff"/><style>{style}</style>\n' + "\n".join(parts) + "\n</svg>\n")
