"""The tables of the part `cluster`: what nodes must do for each other, and what it costs them."""

import statistics

# the most that a hop may add to the CPU time of a broadcast with 1,000 local subscribers
AT_MOST = 0.02
ENGINES = {"redis": "Redis", "postgres": "PostgreSQL"}


def values(rows, key):
    """Of each run; the key may lead into it, as in `join.p50_ms`."""

    def value(run):
        for part in key.split("."):
            run = run[part]
        return run

    return [value(run) for run in rows]


def text(numbers, digits):
    """The median, with the minimum and the maximum in parentheses."""
    low, middle, high = (f"{number:,.{digits}f}" for number in (min(numbers), statistics.median(numbers), max(numbers)))
    return middle if low == high else f"{middle} ({low}–{high})"


class Figure:
    """A number of each run on one engine, and the most that its median may be."""

    def __init__(self, key, digits=2, scale=1, at_most=None, name=""):
        self.key, self.digits, self.scale, self.at_most, self.name = key, digits, scale, at_most, name

    def cell(self, rows, engine):
        numbers = [number / self.scale for number in values(rows, self.key)]
        bound = self.at_most.get(engine) if isinstance(self.at_most, dict) else self.at_most
        missed = bound is not None and statistics.median(numbers) > bound
        return " ".join(filter(None, [self.name, text(numbers, self.digits)])) + (", **missed**" if missed else "")


class Row:
    def __init__(self, what, part, phoenix, must, *figures):
        self.what, self.part, self.phoenix, self.must, self.figures = what, part, phoenix, must, figures

    def cells(self, results):
        part = results[self.part]
        cell = lambda engine: "; ".join(figure.cell(part[engine], engine) for figure in self.figures)
        return [self.what, self.phoenix, self.must, *(cell(engine) for engine in ENGINES)]


def seen(step, phoenix):
    figures = (Figure(f"{step}.p50_ms", 1, at_most=20, name="p50"), Figure(f"{step}.p99_ms", 1, at_most=100, name="p99"))
    return Row(f"{step} of a presence, seen on the other node, ms", "presence", phoenix, "p50 ≤ 20, p99 ≤ 100", *figures)


def beside(phase, what):
    names = {"p50": f"{phase}.p50_us", "p99": f"{phase}.p99_us"}
    return Row(what, "beside", "unaffected", "unaffected", *(Figure(key, 2, 1e3, name=name) for name, key in names.items()))


def outage(part, what, *figures):
    return [
        Row(f"the engine away for a minute under {what}: MiB of the larger node", part, "", "bounded",
            Figure("mib_before", 0, name="before"), Figure("mib_most", 0, name="at most"), Figure("mib_after", 0, name="after")),
        Row("until all is as before, s", part, "", "≤ 5", Figure("whole_s", 2, at_most=5)),
        *figures,
    ]


MAIN = [
    Row("broadcast to the other node, one at a time, ms", "hop", "p50 0.46, p99 1.0; over Redis 0.78",
        "p50 ≤ 0.5 (Redis), ≤ 1 (PostgreSQL)",
        Figure("p50_us", 2, 1e3, {"redis": 0.5, "postgres": 1}, "p50"), Figure("p99_us", 2, 1e3, name="p99")),
    Row("burst of 5,000 to the other node, s", "burst", "0.31 in order; over Redis 2.54", "≤ 0.3, in order",
        Figure("p50_ms", 3, 1e3, 0.3), Figure("lost", 0, at_most=0, name="lost"),
        Figure("disordered", 0, at_most=0, name="disordered")),
    seen("join", "640"),
    seen("update", "1,000"),
    seen("leave", "730"),
    Row("presences left over of clients that joined and were closed at once", "ghosts", "not seen (0 of 10)", "0 of 10,000",
        Figure("left_over", 0, at_most=0), Figure("clients", 0, name="of")),
    Row("a node that is started knows 20 present, s", "fresh", "13.6–16.8", "≤ 2", Figure("s", 2, at_most=2)),
    Row("presences of a node have left after `kill -9`, s", "kill", "28", "≤ 7", Figure("s", 2, at_most=7)),
    Row("the same after SIGTERM, s", "term", "28.5", "at once", Figure("s", 2, at_most=0.5)),
    Row("the same after `kill -9` and a start under the same name, s", "restart", "1.2", "≤ 1.5", Figure("s", 2, at_most=1.5)),
    Row("disconnect on the other node, ms", "disconnect", "p50 0.91, at most once", "p50 ≤ 1, all",
        Figure("p50_us", 2, 1e3, 1, "p50"), Figure("p99_us", 2, 1e3, name="p99"), Figure("lost", 0, at_most=0, name="lost")),
    Row("2 × 12 posters on one PostgreSQL: ids with gaps, or not the same at all clients", "ids", "each node its own ids",
        "0", Figure("gaps", 0, at_most=0, name="gaps"), Figure("disagreements", 0, at_most=0, name="different"),
        Figure("doubles", 0, at_most=0, name="twice"), Figure("behind", 0, at_most=0, name="behind")),
    Row("their posts per second in all", "ids", "", "", Figure("posts_per_s", 0)),
    Row("their posts, to a subscriber of the other node, ms", "ids", "", "", Figure("p50_us", 2, 1e3, name="p50"),
        Figure("p99_us", 2, 1e3, name="p99")),
    Row("the same with a database on disk: posts per second; fdatasync there, ms", "ids_on_disk", "", "",
        Figure("posts_per_s", 0), Figure("sync_p50_us", 2, 1e3)),
    Row("of those: gaps, different, twice, clients that miss the last", "ids_on_disk", "", "0",
        *(Figure(key, 0, at_most=0) for key in ("gaps", "disagreements", "doubles", "behind"))),
    beside("before", "broadcast to a client of the same node, ms"),
    beside("node", "the same while the other node is stopped, ms"),
    beside("engine", "the same while the engine is stopped, ms"),
    *outage("outage_broadcasts", "50,000 broadcasts per second",
            Row("broadcasts per second that were made, thousands", "outage_broadcasts", "", "", Figure("broadcasts_per_s", 1, 1e3))),
    *outage("outage_posts", "10,000 posts per second",
            Row("posts delivered; refused; unanswered", "outage_posts", "", "none unanswered", Figure("posts", 0),
                Figure("refused", 0), Figure("unanswered", 0, at_most=0)),
            Row("of those delivered: gaps, different, twice, clients that miss the last", "outage_posts", "", "0",
                *(Figure(key, 0, at_most=0) for key in ("gaps", "disagreements", "doubles", "behind")))),
]


def main(results, table):
    head = ["what", "Phoenix 1.8.12, two nodes", "must", *ENGINES.values()]
    return table(head, [row.cells(results["cluster"]) for row in MAIN])


def cost(results, table):
    """What a hop costs each who takes part in it."""
    part = results["cluster"]["cost"]
    loads = {"1000": "1,000 broadcasts per second, one by one", "20000": "20,000 broadcasts per second, in bursts of 200"}

    def line(engine, count, load):
        rows, alone = part[count][engine], part["2"]["alone"]
        median = lambda key, runs=rows: statistics.median(values(runs, f"{load}.{key}"))
        more = f"{median('sender') - median('sender', alone):.1f}"
        numbers = [f"{median('sender'):.1f}", more, *(f"{median(key):.1f}" for key in ("receiver", "engine"))]
        return [ENGINES[engine], count, loads[load], *numbers, *(f"{median(key):,.0f}" for key in ("engine_in", "engine_out"))]

    lines = [line(engine, count, load) for engine in ENGINES for load in loads for count in part]
    head = ["engine", "nodes", "load", "sender, µs", "more than alone, µs", "each receiver, µs", "engine, µs", "bytes to the engine",
            "bytes from it"]
    return table(head, lines)


def idle(results, table):
    """What nodes cost that do nothing."""
    part = results["cluster"]["cost"]
    median = lambda engine, count, key: statistics.median(values(part[count][engine], f"idle.{key}"))
    keys = {"sender": 1e3, "engine": 1e3, "engine_in": 1, "engine_out": 1}
    lines = [
        [ENGINES[engine], count, *(f"{median(engine, count, key) / scale:,.2f}" if scale > 1 else
                                   f"{median(engine, count, key):,.0f}" for key, scale in keys.items())]
        for engine in ENGINES for count in part
    ]
    return table(["engine", "nodes", "a node, ms", "engine, ms", "bytes to the engine", "bytes from it"], lines)


def adapter(results, table):
    """What an adapter adds to a broadcast with 1,000 local subscribers."""
    part = results["cluster"]
    sides = {"alone": "none", **ENGINES}
    whole = 1_000 * statistics.median(values(part["local"]["alone"], "cpu_us_per_delivery"))
    sender = lambda side: statistics.median(values(part["cost"]["2"][side], "1000.sender"))
    count = lambda side, key: part["adapter"][side][0][key]

    def line(side):
        numbers = [f"{count(side, key):,.0f}" for key in ("worker", "instructions")]
        local = text(values(part["local"][side], "cpu_us_per_delivery"), 2)
        if side == "alone":
            return [sides[side], *numbers, "", local, "", ""]
        more = f"{(count(side, 'instructions') - count('alone', 'instructions')) / count('alone', 'instructions'):.1%}"
        cpu = sender(side) - sender("alone")
        is_kept = "" if cpu <= AT_MOST * whole else ", **missed**"
        return [sides[side], *numbers, more, local, f"{cpu:.1f}", f"{cpu / whole:.1%}{is_kept}"]

    head = ["adapter", "user instructions of the worker", "of all threads", "more", "CPU per delivery, µs",
            "CPU of the hop at the sender, µs", f"of a broadcast without adapter, ≤ {AT_MOST:.0%}"]
    return table(head, [line(side) for side in sides])


TABLES = {"cluster": main, "cluster_cost": cost, "cluster_idle": idle, "cluster_adapter": adapter}
