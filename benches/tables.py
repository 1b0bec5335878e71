"""Tables of the results of run.py: one part's for the terminal, all of them for docs/BENCHMARKS.md."""

import functools
import statistics

import cluster_tables

NAMES = {"before": "before", "ours": "hinotori", "floor": "floor"}
KIB = "kib_per_connection"
# the most that a delivery may cost, for any number of subscribers, as a multiple of the floor's
DELIVERY = 1.05


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def spread(values, digits):
    """The median, with the minimum and the maximum in parentheses."""
    texts = [f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values))]
    low, middle, high = texts
    return middle if low == high else f"{middle} ({low}–{high})"


def of(rows, side, key, digits, scale=1):
    return spread([run[key] / scale for run in rows[side]], digits) if side in rows else ""


def ratios(rows, key, side="ours"):
    """The ratio to the floor within each pair, whose two sides ran one after the other."""
    return [run[key] / floor[key] for run, floor in zip(rows[side], rows["floor"])]


def ratio(rows, key, side="ours"):
    return spread(ratios(rows, key, side), 2) if side in rows and "floor" in rows else ""


def table(head, lines):
    return "\n".join(["| " + " | ".join(map(str, line)) + " |" for line in [head, ["---"] * len(head), *lines]])


class Row:
    """A row of the main table: the results of all sides, and the target for hinotori."""

    def __init__(self, what, rows, key, digits, phoenix="", scale=1, at_most=None, of_floor=None, at_least=None,
                 notes=None):
        self.what, self.rows, self.key, self.digits, self.scale, self.phoenix = what, rows, key, digits, scale, phoenix
        self.at_most, self.of_floor, self.at_least, self.notes = at_most, of_floor, at_least, notes

    def bound(self):
        """The target, and whether it is met."""
        if self.of_floor:
            return f"≤ {self.of_floor} ×", statistics.median(ratios(self.rows, self.key)) <= self.of_floor
        middle = median(self.rows["ours"], self.key) / self.scale
        if self.at_most:
            return f"≤ {self.at_most:,}", middle <= self.at_most
        if self.at_least:
            return f"≥ {self.at_least:,}", middle >= self.at_least
        return "", True

    def cells(self, with_before):
        sides = ["floor", *(["before"] if with_before else []), "ours"]
        note = lambda side: self.notes(self.rows[side]) if self.notes and side in self.rows else ""
        cells = [of(self.rows, side, self.key, self.digits, self.scale) + note(side) for side in sides]
        bound, is_kept = self.bound()
        # the floor is not an upper bound for deliveries, because it makes one write per delivery
        to_the_floor = "" if self.at_least else ratio(self.rows, self.key)
        return [self.what, self.phoenix, *cells, to_the_floor, bound + ("" if is_kept else ", **missed**")]


def lost(runs):
    gone, sent = (sum(run[key] for run in runs) for key in ("lost", "delivered"))
    return f", {gone / (gone + sent):.0%} lost" if gone else ", none lost"


def refused(runs):
    return f", {sum(run['refused'] for run in runs) or 'none'} refused"


def delivery_rows(part):
    return [Row("CPU per delivery, 1,000 subscribers, 50 messages per second, µs", part["1000"], "cpu_us_per_delivery", 2,
                "2.3–3.5 × floor", of_floor=DELIVERY)]


def saturation_rows(part):
    bounds = {"3000": {"at_least": 2_700}}
    return [
        Row(f"deliveries per second from one core, {int(rate):,} messages per second offered to 1,000 subscribers, thousands",
            rows, "deliveries_per_s", 0, "52" if rate == "3000" else "", 1e3, notes=lost, **bounds.get(rate, {}))
        for rate, rows in part.items()
    ]


def heartbeat_rows(part):
    return [Row("CPU per heartbeat, 50 connections, µs", part, "cpu_us_per_reply", 2, "4–6 × floor", of_floor=1.05)]


def connect_rows(part):
    return [
        Row("CPU per connect and join, µs", part, "cpu_us_per_join", 1, "516", at_most=50),
        Row("memory per joined idle connection, 10,000 of them, KiB", part, KIB, 2, "37.5", at_most=3.0),
    ]


def history_rows(part):
    return [Row("CPU per connect and join that is sent 1,000 messages of history, µs", part["1000"], "cpu_us_per_join", 0,
                "14,000")]


def recovery_rows(part):
    return [Row("CPU per connect and join that is told 100 missed messages, µs", part["100"], "cpu_us_per_join", 0, at_most=150)]


def memory_rows(part):
    what = {
        "heartbeats": ("the same after 100 heartbeats each", 3.5),
        "history": ("the same after a history of 1,000 messages each", 3.5),
        "tls": ("the same over TLS", 11),
    }
    return [Row(f"{what[name][0]}, KiB", rows, KIB, 2, at_most=what[name][1]) for name, rows in part.items()]


def storm_rows(part):
    bounds = {"10000": {"at_most": 800}}
    return [
        Row(f"{int(clients):,} clients that connect and join at once, until all have joined, ms", rows, "wall_ms", 0,
            notes=refused, **bounds.get(clients, {}))
        for clients, rows in part.items()
    ]


def posts_rows(part):
    store = lambda posters, side="store": {"ours": part[posters][side]}
    return [
        Row("posts per second through the store, SQLite, 128 posters, one subscriber, thousands", store("128"), "posts_per_s",
            1, scale=1e3, at_least=20),
        Row("the same, PostgreSQL, thousands", store("128", "postgres"), "posts_per_s", 1, scale=1e3, at_least=10),
        Row("post to broadcast, SQLite, one poster, median beyond that of fdatasync, µs", store("1"), "over_sync_us", 0,
            at_most=300),
    ]


def instruction_rows(part):
    what = {
        "delivery": ("per delivery, 1,000 subscribers", 550),
        "heartbeat": ("per heartbeat", 5_500),
        "connect": ("per connect, join and end of the connection", 76_000),
        "close": ("per connect, join and end with a close frame", None),
    }
    return [
        Row(f"user instructions {what[kind][0]}", rows, "instructions", 0, at_most=what[kind][1])
        for kind, rows in part.items()
    ]


# in the order of the main table: a memory row refers to the one before it
ROWS = {
    "delivery": delivery_rows,
    "saturation": saturation_rows,
    "heartbeat": heartbeat_rows,
    "history": history_rows,
    "recovery": recovery_rows,
    "connect": connect_rows,
    "memory": memory_rows,
    "storm": storm_rows,
    "posts": posts_rows,
    "user_instructions": instruction_rows,
}


def main_table(results, parts=tuple(ROWS)):
    rows = [row for part in parts if part in results for row in ROWS[part](results[part])]
    with_before = any("before" in row.rows for row in rows)
    head = ["what", "Phoenix 1.8.12", "floor", *(["before"] if with_before else []), "hinotori", "to the floor", "bound"]
    return table(head, [row.cells(with_before) for row in rows])


def machine_table(results):
    facts = results["machine"]
    return table(["what", "which"], [[key, facts[key]] for key in ("cpu", "cores", "system", "rustc", "date")])


def chats(rows):
    """The sides that are chats, with `before` first."""
    return [side for side in ("before", "ours") if side in rows]


def label(rows, text, side):
    """A row's first cell; it names the chat only if there are two."""
    return text if len(chats(rows)) == 1 else f"{text}, {NAMES[side]}"


def delivery_table(results):
    def bound(rows):
        is_kept = statistics.median(ratios(rows, "cpu_us_per_delivery")) <= DELIVERY
        return f"≤ {DELIVERY} ×" + ("" if is_kept else ", **missed**")

    return table(
        ["subscribers", "CPU per delivery, µs", "to the floor", "bound", "p50, ms", "p99, ms", "p99 of the floor, ms", "lost"],
        [
            [label(rows, f"{int(n):,}", side), of(rows, side, "cpu_us_per_delivery", 2),
             ratio(rows, "cpu_us_per_delivery", side), bound(rows) if side == "ours" else "", f"{median(rows[side], 'p50_us') / 1e3:.1f}",
             f"{median(rows[side], 'p99_us') / 1e3:.1f}", f"{median(rows['floor'], 'p99_us') / 1e3:.1f}",
             sum(run["lost"] for run in rows[side])]
            for n, rows in results["delivery"].items()
            for side in chats(rows)
        ],
    )


def storm_table(results):
    ms = lambda rows, side, key: of(rows, side, key, 0)
    return table(
        ["clients", "side", "until all have joined, ms", "p50, ms", "p99, ms", "CPU per join, µs", "accept queue full", "refused"],
        [
            [f"{int(n):,}", NAMES[side], ms(rows, side, "wall_ms"), ms(rows, side, "p50_ms"), ms(rows, side, "p99_ms"),
             of(rows, side, "cpu_us_per_join", 1),
             of(rows, side, "overflows", 0), sum(run["refused"] for run in rows[side])]
            for n, rows in results["storm"].items()
            for side in ("floor", *chats(rows))
        ],
    )


def connections_table(results):
    part = results["connections"]
    sides = [side for side in ("floor", "before", "ours") if side in next(iter(part.values()))]
    return table(
        ["connections", *(f"{NAMES[side]}, KiB per connection" for side in sides), "hinotori in all, MiB"],
        [
            [f"{int(n):,}", *(of(rows, side, KIB, 2) for side in sides), of(rows, "ours", "rss_kib_after", 1, 1024)]
            for n, rows in part.items()
        ],
    )


# system calls with fewer than this many per unit of work are left out
RARE = 0.005


def calls_table(results):
    part = results["calls"]

    def line(kind, side):
        calls = {name: count for name, count in part[kind][side][0].items() if count >= RARE}
        names = sorted(calls, key=calls.get, reverse=True)
        return [kind, NAMES[side], f"{sum(calls.values()):.2f}", ", ".join(f"{name} {calls[name]:.2f}" for name in names)]

    units = {
        "delivery": "delivery",
        "heartbeat": "heartbeat",
        "connect": "connect, join and end",
        "close": "the same with a close frame",
    }
    lines = [line(kind, side) for kind in units for side in ("floor", *chats(part[kind]))]
    return table(["per", "side", "calls", "which"], [[units[kind], *others] for kind, *others in lines])


def deflate_table(results):
    lines = []
    for size, part in results["deflate"].items():
        for offer, rows in part.items():
            run = rows["ours"][0]
            lines.append([size, offer, of(rows, "floor", "cpu_us_per_delivery", 2), of(rows, "ours", "cpu_us_per_delivery", 2),
                          f"{run['bytes_per_delivery']:.0f}", f"{median(rows['ours'], 'p99_us') / 1e3:.1f}",
                          sum(run["lost"] for run in rows["ours"])])
    return table(["message", "sent", "CPU per delivery of the floor, µs", "CPU per delivery, µs", "bytes on the wire",
                  "p99, ms", "lost"], lines)


def workers_table(results):
    return table(
        ["workers", "CPU per delivery, µs", "p99, ms", "lost"],
        [
            [label(rows, name, side), of(rows, side, "cpu_us_per_delivery", 2), f"{median(rows[side], 'p99_us') / 1e3:.1f}",
             sum(run["lost"] for run in rows[side])]
            for name, rows in results["workers"].items()
            for side in chats(rows)
        ],
    )


def history_table(results):
    return table(
        ["messages", "CPU per connect and join, µs", "memory per connection afterwards, KiB"],
        [
            [label(rows, f"{int(n):,}", side), of(rows, side, "cpu_us_per_join", 0), of(rows, side, KIB, 1)]
            for n, rows in results["history"].items()
            for side in chats(rows)
        ],
    )


def recovery_table(results):
    return table(
        ["missed messages", "CPU per connect and join, µs"],
        [[f"{int(n):,}", of(rows, "ours", "cpu_us_per_join", 0)] for n, rows in results["recovery"].items()],
    )


def posts_table(results):
    names = {
        "store": "the store alone, SQLite",
        "postgres": "the store alone, PostgreSQL",
        "memory": "WebSockets, in memory",
        "before": "WebSockets, SQLite, before",
        "ours": "WebSockets, SQLite",
        "floor": "WebSockets, the floor",
    }
    ms = lambda rows, side, key: spread([run[key] / 1e3 for run in rows[side]], 2) if key in rows[side][0] else ""
    return table(
        ["posters", "through", "posts per second", "p50, ms", "p99, ms", "CPU per post, µs", "fdatasync beside it, p50, ms", "refused"],
        [
            [posters, text, of(rows, side, "posts_per_s", 0), ms(rows, side, "p50_us"), ms(rows, side, "p99_us"),
             of(rows, side, "cpu_us_per_post", 0), ms(rows, side, "sync_p50_us"),
             sum(run.get("refused", 0) for run in rows[side])]
            for posters, rows in results["posts"].items()
            for side, text in names.items() if side in rows
        ],
    )


def fairness_table(results):
    part = results["fairness"]

    def line(side, phase, text):
        rows = [run[phase] for run in part[side]]
        flood = [run["flood"]["deliveries_per_s"] / 1e3 for run in part[side]]
        return [f"{NAMES[side]}, {text}", *(f"{median(rows, key) / 1e3:.2f}" for key in ("p50_us", "p99_us", "max_us")),
                spread(flood, 0) if phase == "beside" else ""]

    phases = {"alone": "nothing else", "beside": "beside the flood"}
    lines = [line(side, *phase) for side in (*chats(part), "floor") for phase in phases.items()]
    return table(["heartbeats of ten other sockets", "p50, ms", "p99, ms", "max, ms", "deliveries per second, thousands"], lines)


# by marker name in docs/BENCHMARKS.md, which is the name of a part except for the first two
TABLES = {
    "machine": machine_table,
    "main": main_table,
    "delivery": delivery_table,
    "storm": storm_table,
    "connections": connections_table,
    "calls": calls_table,
    "deflate": deflate_table,
    "posts": posts_table,
    "history": history_table,
    "recovery": recovery_table,
    "workers": workers_table,
    "fairness": fairness_table,
    **{name: functools.partial(make, table=table) for name, make in cluster_tables.TABLES.items()},
}


def parts_of(name):
    """The parts that a table consists of."""
    return list(ROWS) if name == "main" else ["cluster" if name in cluster_tables.TABLES else name]


def brief(part, results):
    """The results of a part, for the terminal."""
    shown = [main_table(results, [part])] if part in ROWS else []
    shown += [TABLES[name](results) for name in TABLES if name != "main" and part in parts_of(name) and part in results]
    return "\n\n".join(shown)
