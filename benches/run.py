"""Measures the chat and the floor (`phxload floor`) in turn, and writes the results as JSON.

The server runs on one core of the machine and the load on the other, unless a part says otherwise. All figures are the server's
own CPU time and memory. Runs are repeated, alternating with the floor, so that a busy machine slows both. Only the standard
library is used. `make bench` builds the servers and runs this script.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import time

import cluster as nodes
import tables
from quiet import Quiet
from servers import (
    BUILT, LOAD_CORE, ROOT, SERVER_CORE, Chat, Floor, certificate, database, epoch, instructions, store_posts, system_calls,
)

# descriptors that a server needs for purposes other than clients
SPARE = 100
# a text to compress: a thousand characters of ordinary prose
PROSE = (ROOT / "LICENSE").read_text()


class Bench:
    """The sides that are compared, and how often."""

    def __init__(self, options):
        self.pairs, self.secs = options.pairs, options.secs
        self.chats = {"ours": functools.partial(Chat, options.server)}
        if options.before:
            self.chats["before"] = functools.partial(Chat, options.before)
        self.sides = {**self.chats, "floor": Floor}
        self.quiet = Quiet()

    def rounds(self, run, sides=None, count=None, needs_quiet=True):
        """Runs all sides in turn, repeatedly, each time with fresh servers."""
        sides = self.sides if sides is None else sides
        rows = {name: [] for name in sides}
        for _ in range(count or self.pairs):
            for name, start in sides.items():
                rows[name].append(self.quiet.run(lambda: run(start)) if needs_quiet else run(start))
        return rows

    def loads(self, *arguments, **others):
        """Rounds of one load."""
        return self.rounds(lambda start: measure(start, *arguments), **others)


def measure(start, *arguments, **settings):
    with start(**settings) as server:
        return server.measure(*arguments)


def delivery(bench):
    """CPU per delivery, at 50,000 deliveries per second for each number of subscribers."""
    fanout = lambda subscribers: ["fanout", "-n", subscribers, "--rate", 50_000 / subscribers, "--secs", bench.secs]
    return {subscribers: bench.loads(*fanout(subscribers)) for subscribers in (100, 1_000, 10_000)}


def saturation(bench):
    """3,000 and 6,000 messages per second offered to 1,000 subscribers."""
    fanout = lambda rate: ["fanout", "-n", 1_000, "--rate", rate, "--secs", bench.secs]
    offered = {rate: bench.loads(*fanout(rate), sides=bench.chats) for rate in (3_000, 6_000)}
    # the floor loses most of what it is offered, which takes long and shows little
    offered[3_000] |= bench.loads(*fanout(3_000), sides={"floor": Floor}, count=1)
    return offered


def heartbeat(bench):
    return bench.loads("rtt", "-c", 50, "--secs", bench.secs)


def connect(bench):
    """CPU per connect and join, and the memory of a connection that is idle afterwards."""
    return bench.loads("connect", "-n", 10_000)


def storm(bench):
    """Many clients that connect and join at the same time."""
    return {clients: bench.loads("storm", "-n", clients) for clients in (5_000, 10_000)}


def memory(bench):
    """Memory of a connection after use, and over TLS. It hardly varies with the load of the machine."""
    idle, few = ["connect", "-n", 10_000], {"count": min(bench.pairs, 3), "needs_quiet": False}
    tls = certificate()

    def history(start):
        with start() as chat:
            chat.post(1_000)
            return chat.measure(*idle, "--until", "load_messages")

    return {
        "heartbeats": bench.loads(*idle, "--heartbeats", 100, **few),
        "history": bench.rounds(history, bench.chats, **few),
        "tls": bench.rounds(lambda start: measure(start, *idle, "--tls", **tls), bench.chats, **few),
    }


def connections(bench):
    """Memory by the number of idle connections, up to the limit on descriptors."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE
    sizes = [n for n in (1_000, 2_500, 5_000, 10_000, 25_000, 50_000) if n < limit]
    sizes += [limit // 500 * 500] if limit < 50_000 else []
    return {n: bench.loads("connect", "-n", n, count=1, needs_quiet=False) for n in sizes}


# for each kind of work: the load, its option for the amount, a small and a large amount, and the units of work per 1
WORK = {
    "delivery": (["fanout", "-n", 1_000, "--rate", 0], "--count", 20, 120, 1_000),
    "heartbeat": (["rtt", "-c", 50], "--count", 20, 220, 50),
    "connect": (["connect", "--hold", 1], "-n", 200, 1_200, 1),
    "close": (["connect", "--hold", 1, "--close"], "-n", 200, 1_200, 1),
}


def difference(bench, count):
    """Cost per unit of work: the difference between a large and a small amount, which excludes the server's start and end."""

    def unit(start, arguments, amount, few, many, each):
        few_took, many_took = (count(start, *arguments, amount, number) for number in (few, many))
        names = set(few_took) | set(many_took)
        return {name: (many_took.get(name, 0) - few_took.get(name, 0)) / ((many - few) * each) for name in names}

    # these do not depend on the load of the machine, so there is no wait for a quiet moment
    return {kind: {name: [unit(start, *work)] for name, start in bench.sides.items()} for kind, work in WORK.items()}


def user_instructions(bench):
    """Instructions in user space, counted by callgrind."""
    return difference(bench, lambda *work: {"instructions": instructions(*work)})


def calls(bench):
    """System calls by name, counted by strace."""
    return difference(bench, system_calls)


def deflate(bench):
    """A broadcast to 1,000 clients, with and without permessage-deflate: CPU and bytes on the wire."""

    def broadcast(text, offer):
        payload = json.dumps({"message": f"$T {text}"})
        arguments = ["fanout", "-n", 1_000, "--rate", 50, "--secs", bench.secs, "--payload", payload]
        sides = {
            "ours": functools.partial(bench.chats["ours"], ["--compress"]),
            "floor": functools.partial(Floor, ["--deflate"]),
        }
        return bench.loads(*arguments, *offer, sides=sides, count=min(bench.pairs, 3))

    texts = {"short": "hello from the load generator", "long": PROSE}
    offers = {"plain": [], "deflate": ["--deflate"]}
    return {size: {name: broadcast(text, offer) for name, offer in offers.items()} for size, text in texts.items()}


def posts(bench):
    """Posts that each wait for the one before: through the store alone, and over WebSockets that are all sent each post."""

    def over_sockets(start, posters, **settings):
        return measure(start, "posts", "-n", posters, "--secs", bench.secs, **settings)

    def on_disk(start, posters):
        with database() as file:
            return over_sockets(start, posters, STORE=f"sqlite:{file}")

    sides = {
        "store": functools.partial(store_posts, bench.secs, []),
        "postgres": functools.partial(store_posts, bench.secs, ["--postgres"]),
        **{name: functools.partial(on_disk, start) for name, start in bench.chats.items()},
        "memory": functools.partial(over_sockets, bench.chats["ours"]),
        "floor": functools.partial(over_sockets, Floor),
    }
    return {posters: bench.rounds(lambda run: run(posters), sides) for posters in (1, 16, 128)}


def history(bench):
    """Joins whose clients are sent a history."""

    def join(start, messages):
        with start() as chat:
            chat.post(messages)
            return chat.measure("connect", "-n", 1_000, "--hold", 1, "--until", "load_messages")

    lengths = (0, 10, 100, 1_000, 10_000)
    return {messages: bench.rounds(lambda start: join(start, messages), bench.chats) for messages in lengths}


def recovery(bench):
    """Joins whose clients are told what they missed, of a history of 1,000 messages."""

    def join(start, missed):
        with database() as file, start(STORE=f"sqlite:{file}") as chat:
            chat.post(1_000)
            cursor = json.dumps({"last_seen_id": 1_000 - missed, "epoch": epoch(file)})
            return chat.measure("connect", "-n", 1_000, "--hold", 1, "--join", cursor)

    sides = {"ours": bench.chats["ours"]}
    return {missed: bench.rounds(lambda start: join(start, missed), sides) for missed in (0, 10, 100, 1_000)}


def workers(bench):
    """One worker and two on the same core; and two that have both cores, one of which the load needs too."""
    arguments = ["fanout", "-n", 1_000, "--rate", 50, "--secs", bench.secs]
    both = f"{SERVER_CORE},{LOAD_CORE}"
    places = {"1 on one core": {}, "2 on one core": {"workers": 2}, "2 on both cores": {"workers": 2, "cores": both}}
    run = lambda start, settings: measure(start, *arguments, **settings)
    return {
        name: bench.rounds(lambda start: run(start, settings), bench.chats) for name, settings in places.items()
    }


def fairness(bench):
    """Heartbeats of ten other sockets, alone and while 1,000 subscribers are sent 500 messages a second."""

    def run(start):
        with start() as server:
            arguments = ["rtt", "-c", 10, "--pause", 10, "--secs", bench.secs]
            alone = server.measure(*arguments)
            # the load reads half a million deliveries per second and must not delay the clock of the clients that ask
            flood = server.load("fanout", "-n", 1_000, "--rate", 500, "--secs", bench.secs + 3, nice=19)
            time.sleep(2.5)
            return {"alone": alone, "beside": server.measure(*arguments), "flood": flood()}

    return bench.rounds(run)


def cluster(bench):
    """Several nodes: on Redis, on PostgreSQL, and alone."""
    return nodes.measure(bench)


PARTS = [
    delivery,
    saturation,
    heartbeat,
    connect,
    storm,
    memory,
    connections,
    user_instructions,
    calls,
    deflate,
    posts,
    history,
    recovery,
    workers,
    fairness,
    cluster,
]


def missing(part, options):
    """What a part needs and this machine or this server has not."""
    needed = {"user_instructions": "valgrind", "calls": "strace", "cluster": "ss"}.get(part)
    if needed and not shutil.which(needed):
        return f"{needed} is not installed"
    if part == "deflate":
        text = subprocess.run([options.server, "--help"], capture_output=True, text=True, check=True).stdout
        return None if "--compress" in text else "the server has no --compress"
    return None


def machine():
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    version = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cpu": cpu.group(1) if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "rustc": version("rustc", "--version"),
        "date": time.strftime("%Y-%m-%d"),
    }


def main():
    names = [part.__name__ for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=names, metavar="PART",
                        help=f"measure only this part, again for more: {', '.join(names)}")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each side (default: 3)")
    parser.add_argument("--secs", type=int, default=4, help="seconds of a run (default: 4)")
    parser.add_argument("--server", type=pathlib.Path, default=BUILT, help="the chat to measure (default: the one that is built)")
    parser.add_argument("--before", type=pathlib.Path, help="another chat to measure in turn with it")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/benchmarks/results.json")
    options = parser.parse_args()
    if os.cpu_count() < 2:
        sys.exit("error: two cores are needed, one for the server and one for the load")
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    results["machine"] = machine()
    bench = Bench(options)
    for part in PARTS:
        name = part.__name__
        if options.only and name not in options.only:
            continue
        if reason := missing(name, options):
            print(f"{name}: left out, as {reason}", file=sys.stderr)
            continue
        begin = time.monotonic()
        # as in JSON: keys are strings
        results[name] = json.loads(json.dumps(part(bench)))
        results.setdefault("others", {})[name] = others = bench.quiet.report()
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
        took, used = time.monotonic() - begin, f"{others['median']:.2f} cores, at most {others['most']:.2f}"
        print(f"\n{name}, {took:.0f} s; other processes used {used}", file=sys.stderr)
        print(tables.brief(name, results), flush=True)


if __name__ == "__main__":
    main()
