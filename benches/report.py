"""Writes the tables of docs/BENCHMARKS.md, between its markers, and its plots, from docs/benchmarks/results.json."""

import json
import pathlib
import re

import matplotlib

from tables import KIB, NAMES, TABLES, chats, median, parts_of

matplotlib.use("svg")
# the same results give the same file
matplotlib.rcParams.update({"svg.hashsalt": "hinotori", "svg.fonttype": "none", "font.size": 10})
from matplotlib import pyplot  # noqa: E402 (after the choice of the backend)

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
FOLDER = DOCS / "benchmarks"
COLORS = {"ours": "#b3322a", "before": "#e0a39f", "floor": "#8a8a8a"}
# KiB that Phoenix 1.8.12 holds per joined idle connection
PHOENIX = 37.5


def save(figure, name):
    figure.savefig(FOLDER / name, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)


def plain(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def plot_delivery(results):
    part = results["delivery"]
    sides = [*chats(next(iter(part.values()))), "floor"]
    width = 0.8 / len(sides)
    figure, axes = pyplot.subplots(figsize=(6, 3.2))
    for index, side in enumerate(sides):
        heights = [median(rows[side], "cpu_us_per_delivery") for rows in part.values()]
        shift = (index - (len(sides) - 1) / 2) * width
        label = "floor: one write each" if side == "floor" else NAMES[side]
        bars = axes.bar([at + shift for at in range(len(part))], heights, width * 0.95, color=COLORS[side], label=label)
        axes.bar_label(bars, fmt="%.1f")
    axes.set_xticks(range(len(part)), [f"{int(n):,} subscribers" for n in part])
    axes.set_ylabel("CPU per delivery, µs")
    # room for the legend
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
    plain(axes)
    save(figure, "delivery.svg")


def plot_connections(results):
    part = results["connections"]
    counts = [int(n) for n in part]
    figure, axes = pyplot.subplots(figsize=(6, 3.2))
    axes.plot(counts, [n * PHOENIX / 1024 for n in counts], "--", color="#5a4a78", label="Phoenix 1.8.12, 37.5 KiB each")
    for side in ("before", "floor", "ours"):
        if side in next(iter(part.values())):
            memory = [median(rows[side], "rss_kib_after") / 1024 for rows in part.values()]
            axes.plot(counts, memory, "o-", color=COLORS[side], label=NAMES[side])
    axes.set_xlabel("joined idle connections")
    axes.set_ylabel("resident memory, MiB")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    plain(axes)
    save(figure, "connections.svg")


def plot_history(results):
    points = [(int(n), rows["ours"]) for n, rows in results["history"].items() if int(n)]
    figure, left = pyplot.subplots(figsize=(6, 3.2))
    counts = [n for n, _ in points]
    left.loglog(counts, [median(row, "cpu_us_per_join") for _, row in points], "o-", color=COLORS["ours"])
    left.set_xlabel("messages of history that a join is sent")
    left.set_ylabel("CPU per connect and join, µs", color=COLORS["ours"])
    right = left.twinx()
    right.plot(counts, [median(row, KIB) for _, row in points], "s--", color=COLORS["floor"])
    right.set_ylabel("memory per connection, KiB", color=COLORS["floor"])
    right.set_ylim(bottom=0)
    save(figure, "history.svg")


PLOTS = {"delivery": plot_delivery, "connections": plot_connections, "history": plot_history}


def main():
    results = json.loads((FOLDER / "results.json").read_text())
    page = DOCS / "BENCHMARKS.md"
    text = page.read_text()
    for name, make in TABLES.items():
        if not all(part in results for part in parts_of(name)):
            print(f"docs/BENCHMARKS.md keeps its table {name}: not all of it has been measured")
            continue
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, found = pattern.subn(lambda match: match[1] + make(results) + "\n" + match[2], text)
        assert found == 1, f"docs/BENCHMARKS.md has no place for the table {name}"
    page.write_text(text)
    for part, plot in PLOTS.items():
        if part in results:
            plot(results)


if __name__ == "__main__":
    main()
