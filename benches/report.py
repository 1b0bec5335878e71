"""Writes the tables of docs/BENCHMARKS.md, between its markers, and its plots, from docs/benchmarks/results.json."""

import json
import pathlib
import re
import statistics

import matplotlib

matplotlib.use("svg")
# the same results give the same file
matplotlib.rcParams.update({"svg.hashsalt": "hinotori", "svg.fonttype": "none", "font.size": 10})
from matplotlib import pyplot  # noqa: E402 (after the choice of the backend)

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
FOLDER = DOCS / "benchmarks"
OURS, FLOOR = "#b3322a", "#8a8a8a"


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def spread(values, digits):
    """The median, and in parentheses the least and the most."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def ratio(rows, key):
    """Of each pair by itself, as both of its sides ran one after the other."""
    return spread([ours[key] / floor[key] for ours, floor in zip(rows["ours"], rows["floor"])], 2)


def runs(rows, side, key, digits):
    return spread([run[key] for run in rows[side]], digits)


def table(head, lines):
    return "\n".join(["| " + " | ".join(map(str, line)) + " |" for line in [head, ["---"] * len(head), *lines]])


def machine(results):
    facts = results["machine"]
    return table(["what", "which"], [[key, facts[key]] for key in ("cpu", "cores", "system", "rustc", "date")])


def main_table(results):
    delivery, saturation = results["delivery"]["1000"], results["saturation"]
    heartbeat, connect, history = results["heartbeat"], results["connect"], results["history"]["1000"]
    per_second = [run["deliveries_per_s"] / 1e3 for run in saturation["ours"]]
    lost = sum(run["lost"] + run["closed"] for run in saturation["ours"])
    cpu = "cpu_us_per_delivery"
    return table(
        ["what", "Phoenix 1.8.12", "floor", "hinotori", "to the floor"],
        [
            ["CPU a delivery, 1,000 subscribers, 50 messages a second, µs", "2.3–3.5 × floor",
             runs(delivery, "floor", cpu, 2), runs(delivery, "ours", cpu, 2), ratio(delivery, cpu)],
            ["deliveries a second from one core, 1,000 messages a second offered to 1,000 subscribers, thousands",
             "52", f"{median(saturation['floor'], 'deliveries_per_s') / 1e3:.0f}, the rest lost",
             f"{spread(per_second, 0)}, {lost or 'none'} lost", ""],
            ["CPU a heartbeat's reply, 50 connections, µs", "4–6 × floor", runs(heartbeat, "floor", "cpu_us_per_reply", 2),
             runs(heartbeat, "ours", "cpu_us_per_reply", 2), ratio(heartbeat, "cpu_us_per_reply")],
            ["CPU a connect and join, µs", "516", runs(connect, "floor", "cpu_us_per_join", 0),
             runs(connect, "ours", "cpu_us_per_join", 0), ratio(connect, "cpu_us_per_join")],
            ["CPU a connect and join that gets 1,000 messages of history, µs", "14,000", "",
             spread([run["cpu_us_per_join"] for run in history], 0), ""],
            ["memory of a joined idle connection, 10,000 of them, KiB", "37.5",
             runs(connect, "floor", "kib_per_connection", 1), runs(connect, "ours", "kib_per_connection", 2), ""],
        ],
    )


def delivery_table(results):
    rows = results["delivery"]
    return table(
        ["subscribers", "CPU a delivery, µs", "to the floor", "p50, ms", "p99, ms", "p99 of the floor, ms", "lost"],
        [
            [f"{int(n):,}", runs(row, "ours", "cpu_us_per_delivery", 2), ratio(row, "cpu_us_per_delivery"),
             f"{median(row['ours'], 'p50_us') / 1e3:.1f}", f"{median(row['ours'], 'p99_us') / 1e3:.1f}",
             f"{median(row['floor'], 'p99_us') / 1e3:.1f}", sum(run["lost"] for run in row["ours"])]
            for n, row in rows.items()
        ],
    )


def workers_table(results):
    return table(
        ["workers", "CPU a delivery, µs", "p99, ms", "lost"],
        [[name, spread([run["cpu_us_per_delivery"] for run in row], 2), f"{median(row, 'p99_us') / 1e3:.1f}",
          sum(run["lost"] for run in row)] for name, row in results["workers"].items()],
    )


def history_table(results):
    return table(
        ["messages", "CPU a connect and join, µs", "memory a connection afterwards, KiB"],
        [[f"{int(n):,}", spread([run["cpu_us_per_join"] for run in row], 0),
          spread([run["kib_per_connection"] for run in row], 1)] for n, row in results["history"].items()],
    )


def fairness_table(results):
    def line(name, side, phase):
        rows = [run[phase] for run in results["fairness"][side]]
        return [name, *(f"{median(rows, key) / 1e3:.2f}" for key in ("p50_us", "p99_us", "max_us"))]

    return table(
        ["heartbeats of ten other sockets", "p50, ms", "p99, ms", "max, ms"],
        [
            line("hinotori, nothing else", "ours", "alone"),
            line("hinotori, beside the flood", "ours", "beside"),
            line("floor, nothing else", "floor", "alone"),
            line("floor, beside the flood", "floor", "beside"),
        ],
    )


def save(figure, name):
    figure.savefig(FOLDER / name, metadata={"Date": None}, bbox_inches="tight")


def plot_delivery(results):
    rows = results["delivery"]
    figure, axes = pyplot.subplots(figsize=(6, 3.2))
    for shift, side, color, label in [(-0.2, "ours", OURS, "hinotori"), (0.2, "floor", FLOOR, "floor: one write each")]:
        heights = [median(row[side], "cpu_us_per_delivery") for row in rows.values()]
        bars = axes.bar([at + shift for at in range(len(rows))], heights, 0.38, color=color, label=label)
        axes.bar_label(bars, fmt="%.1f")
    axes.set_xticks(range(len(rows)), [f"{int(n):,} subscribers" for n in rows])
    axes.set_ylabel("CPU a delivery, µs")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, "delivery.svg")


def plot_history(results):
    points = [(int(n), row) for n, row in results["history"].items() if int(n)]
    figure, left = pyplot.subplots(figsize=(6, 3.2))
    counts = [n for n, _ in points]
    left.loglog(counts, [median(row, "cpu_us_per_join") for _, row in points], "o-", color=OURS)
    left.set_xlabel("messages of history that a join is sent")
    left.set_ylabel("CPU a connect and join, µs", color=OURS)
    right = left.twinx()
    right.plot(counts, [median(row, "kib_per_connection") for _, row in points], "s--", color=FLOOR)
    right.set_ylabel("memory a connection, KiB", color=FLOOR)
    right.set_ylim(bottom=0)
    save(figure, "history.svg")


TABLES = {
    "machine": machine,
    "main": main_table,
    "delivery": delivery_table,
    "workers": workers_table,
    "history": history_table,
    "fairness": fairness_table,
}


def main():
    results = json.loads((FOLDER / "results.json").read_text())
    page = DOCS / "BENCHMARKS.md"
    text = page.read_text()
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, found = pattern.subn(lambda match: match[1] + make(results) + "\n" + match[2], text)
        assert found == 1, f"docs/BENCHMARKS.md has no place for the table {name}"
    page.write_text(text)
    plot_delivery(results)
    plot_history(results)


if __name__ == "__main__":
    main()
