"""Several nodes as one server, on Redis and on PostgreSQL in turn: `make bench PARTS=cluster`.

The nodes are the example `reference` or the chat, with one worker each: the first on the servers' core, the second on the one of
the load, and so on in turn. The engine is a private one and may use both cores. What is due to a client of another
node is looked at by the one process that asked for it, so that all times are differences of one clock.
"""

import contextlib
import functools
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from engines import Postgres, Redis
from servers import BUILT, LOAD, LOAD_CORE, PATIENCE, POLL, ROOT, SERVER_CORE, Chat, instructions_by_thread

REFERENCE = ROOT / "target/release/examples/reference"
# those who are present while a node ends or starts
PRESENT = 20
# posts and broadcasts per second while the engine is away
POSTS, BROADCASTS = 10_000, 50_000
# broadcasts of a burst while the engine is away
BURST = 500
# seconds of load before an outage, and after it
BEFORE, AFTER = 5, 15
# how often memory is looked at, in seconds
SAMPLE = 0.05


class Node(Chat):
    """One of several servers."""

    def __init__(self, binary, index, engine=None, **settings):
        cluster = {"CLUSTER": engine, "NODE_NAME": f"node-{index}"} if engine else {}
        super().__init__(binary, cores=(SERVER_CORE, LOAD_CORE)[index % 2], **cluster, **settings)

    def is_up(self, nodes):
        with urllib.request.urlopen(f"http://{self.addr}/readyz", timeout=PATIENCE) as answer:
            return f"cluster up: {nodes} nodes" in answer.read().decode()

    def signal(self, name):
        self.process.send_signal(getattr(signal, name))

    def memory(self):
        """Resident memory in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def present(self, topic, number):
        """Returns a function that waits until a topic has so many presences, and tells when."""
        report = self.load("present", "-n", number, "--topic", topic)
        return lambda: report()["at"]


def wait_up(servers):
    deadline = time.monotonic() + PATIENCE
    while not all(server.is_up(len(servers)) for server in servers):
        if time.monotonic() > deadline:
            sys.exit("error: the nodes do not find each other")
        time.sleep(SAMPLE)
    return time.time()


@contextlib.contextmanager
def nodes(cluster, count=2, binary=REFERENCE, **settings):
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Node(binary, index, cluster, **settings)) for index in range(count)]
        if cluster:
            wait_up(servers)
        yield servers


def chats(engine, database, **settings):
    """Two nodes of the chat, with the store in a new database."""
    cluster = "postgres" if engine is database else engine.cluster
    return nodes(cluster, binary=BUILT, STORE=database.database(), **settings)


def broadcasts(*options):
    """The load of one broadcast after the other."""
    return ["fanout", "--topic", "ref:nodes", "--event", "bcast", "--payload", '{"text":"$T"}', *options]


def hop(bench, engine):
    with nodes(engine.cluster) as (one, two):
        return one.measure(*broadcasts("-n", 1, "--rate", 0, "--count", 500 * bench.secs, "--to", two.addr))


def burst(bench, engine):
    with nodes(engine.cluster) as (one, two):
        return one.measure("burst", "-n", 5_000, "--count", 10, "--topic", "more:burst", "--to", two.addr)


def presence(bench, engine):
    with nodes(engine.cluster) as (one, two):
        return one.measure("presence", "--count", 50 * bench.secs, "--topic", "presence:seen", "--to", two.addr)


def ghosts(bench, engine):
    with nodes(engine.cluster) as (one, two):
        return one.measure("ghosts", "-n", 2_500 * bench.secs, "--topic", "presence:ghosts", "--to", two.addr)


@contextlib.contextmanager
def presences(node, topic):
    """Clients that are present on a node."""
    command = [LOAD, "connect", "-n", PRESENT, "--topic", topic, "--hold", 3_600, "--addr", node.addr]
    clients = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    try:
        node.present(topic, PRESENT)()
        yield
    finally:
        clients.kill()
        clients.wait()


def fresh(_, engine):
    """Seconds from the start of a node until it knows who is present on another."""
    with nodes(engine.cluster, 1) as (one,), presences(one, "presence:fresh"):
        begin = time.time()
        with Node(REFERENCE, 1, engine.cluster) as two:
            return {"s": two.present("presence:fresh", PRESENT)() - begin}


def gone(how):
    """Seconds from the end of a node until those who were present on it have left the other."""

    def run(_, engine):
        topic = "presence:gone"
        with nodes(engine.cluster) as (one, two), presences(two, topic), contextlib.ExitStack() as stack:
            one.present(topic, PRESENT)()
            is_gone = one.present(topic, 0)
            # it asks by then, every few milliseconds
            time.sleep(POLL)
            begin = time.time()
            two.signal("SIGTERM" if how == "term" else "SIGKILL")
            if how == "restart":
                stack.enter_context(Node(REFERENCE, 1, engine.cluster))
            return {"s": is_gone() - begin}

    return run


def disconnect(bench, engine):
    with nodes(engine.cluster) as (one, two):
        return one.measure("disconnect", "--count", 50 * bench.secs, "--topic", "room:nodes", "--to", two.addr)


def ids(bench, engine, database):
    with chats(engine, database) as (one, two):
        return one.measure("ids", "-n", 12, "--secs", bench.secs, "--to", two.addr)


def beside(bench, engine):
    """Broadcasts to a client of the same node: alone, while the other node is stopped, and while the engine is."""
    with nodes(engine.cluster) as (one, two):
        each = ["--topic", "ref:nodes", "--event", "bcast", "--payload", '{"text":"$M"}']
        local = lambda: one.measure("posts", "-n", 1, "--pause", 1, "--secs", bench.secs, *each)
        rows = {"before": local()}
        two.signal("SIGSTOP")
        rows["node"] = local()
        two.signal("SIGCONT")
        wait_up([one, two])
        engine.freeze()
        rows["engine"] = local()
        engine.thaw()
        wait_up([one, two])
        return rows


class Memory:
    """The resident memory of nodes, in MiB, looked at all the time."""

    def __init__(self, servers):
        self.servers, self.is_over = servers, threading.Event()
        self.seen = []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over.wait(SAMPLE):
            self.seen.append((time.time(), max(server.memory() for server in self.servers)))

    def end(self):
        self.is_over.set()
        self.thread.join()

    def between(self, begin, end):
        return max(memory for at, memory in self.seen if begin <= at < end)


def outage(bench, engine, servers, load):
    """The engine is away under load: memory of the larger node, and seconds until all is as before."""
    away = 15 * bench.secs
    memory, begin = Memory(servers), time.time()
    report = load(BEFORE + away + AFTER)
    time.sleep(BEFORE)
    frozen = time.time()
    engine.freeze()
    try:
        time.sleep(away)
    finally:
        engine.thaw()
    thawed = time.time()
    up = wait_up(servers)
    rows = report()
    memory.end()
    ends = [up, *(rows[key] for key in ("silent_until", "late_until", "refused_until") if key in rows)]
    return {
        **rows,
        "away_s": away,
        "mib_before": memory.between(begin, frozen),
        "mib_most": memory.between(frozen, time.time()),
        "mib_after": memory.seen[-1][1],
        "whole_s": max(end - thawed for end in ends),
    }


def outage_broadcasts(bench, engine):
    with nodes(engine.cluster, RUST_LOG="off") as (one, two):

        def load(secs):
            bursts = BROADCASTS / BURST
            rates = ["-n", BURST, "--rate", bursts, "--count", int(bursts * secs)]
            return one.load("burst", *rates, "--topic", "more:burst", "--to", two.addr)

        return outage(bench, engine, [one, two], load)


def outage_posts(bench, engine, database):
    with chats(engine, database, RUST_LOG="off") as (one, two):
        load = lambda secs: one.load("ids", "-n", 12, "--rate", POSTS, "--secs", secs, "--to", two.addr)
        return outage(bench, engine, [one, two], load)


def used(pids):
    """CPU time of all threads of processes so far, in microseconds."""
    files = (file for pid in pids for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(file.read_text().split()[0]) for file in files) / 1e3


def during(servers, engine, run):
    """What a load costs: CPU time in microseconds, and bytes on the engine's connections; and what it returns."""
    groups = [[server.process.pid] for server in servers] + ([engine.processes()] if engine else [])
    look = lambda: ([used(pids) for pids in groups], engine.traffic() if engine else [0, 0])
    cpu, traffic = look()
    result = run()
    # until all of it has arrived
    time.sleep(POLL)
    cpu_after, traffic_after = look()
    cpu, traffic = ([after - before for before, after in zip(*pair)] for pair in ((cpu, cpu_after), (traffic, traffic_after)))
    names = ["sender", *(["receiver"] * (len(servers) - 1)), *(["engine"] if engine else [])]
    # nodes that receive have the same to do
    return {**dict(zip(names, cpu)), "engine_in": traffic[0], "engine_out": traffic[1]}, result


def per(costs, number):
    return {name: cost / number for name, cost in costs.items()}


def cost(bench, engine, count):
    """CPU time and bytes per broadcast, one by one and in bursts, with nobody on the other nodes; and per idle second."""
    with nodes(engine and engine.cluster, count) as servers:
        slow = broadcasts("-n", 0, "--rate", 1_000, "--secs", bench.secs)
        fast = ["burst", "-n", 200, "--rate", 100, "--count", 100 * bench.secs, "--topic", "more:burst"]
        by = lambda load: during(servers, engine, lambda: servers[0].measure(*load))
        (by_one, sent), (in_bursts, made) = by(slow), by(fast)
        idle, _ = during(servers, engine, lambda: time.sleep(bench.secs))
        return {
            "1000": per(by_one, sent["sent"]),
            "20000": per(in_bursts, made["broadcasts"]),
            "idle": per(idle, bench.secs + POLL),
        }


def local(bench, engine):
    """CPU time of a broadcast to 1,000 clients of the same node."""
    with nodes(engine and engine.cluster) as servers:
        return servers[0].measure(*broadcasts("-n", 1_000, "--rate", 50, "--secs", bench.secs))


def adapter(engine):
    """User instructions per broadcast to 1,000 clients of the same node, by the difference of more and fewer."""
    start = functools.partial(Chat, REFERENCE, **({"CLUSTER": engine.cluster} if engine else {}))
    few, many = 20, 120
    count = lambda number: instructions_by_thread(start, *broadcasts("-n", 1_000, "--rate", 0, "--count", number))
    more = [(after - before) / (many - few) for before, after in zip(count(few), count(many))]
    # the one worker, and the thread that the engine's connection has
    return {"instructions": sum(more), "worker": max(more)}


def on_disk(bench, redis, count):
    """Posts to a store that has to sync each commit."""
    with Postgres(tempfile.gettempdir()) as postgres:
        run = lambda engine: {**ids(bench, engine, postgres), "sync_p50_us": synced(postgres.folder)}
        return bench.rounds(run, {"redis": redis, "postgres": postgres}, count)


def synced(folder):
    """Microseconds that the disk takes to keep what a commit writes, the median."""
    took, file = [], os.open(folder / "probe", os.O_CREAT | os.O_WRONLY)
    for _ in range(200):
        os.pwrite(file, bytes(8_192), 0)
        begin = time.perf_counter()
        os.fdatasync(file)
        took.append(time.perf_counter() - begin)
    os.close(file)
    return statistics.median(took) * 1e6


def measure(bench):
    with Redis() as redis, Postgres() as postgres:
        engines = {"redis": redis, "postgres": postgres}
        and_alone = {"alone": None, **engines}
        few = min(bench.pairs, 3)
        once = {"count": 1, "needs_quiet": False}
        rounds = lambda run, sides=engines, **others: bench.rounds(functools.partial(run, bench), sides, **others)
        with_store = lambda run: functools.partial(run, database=postgres)
        return {
            "hop": rounds(hop),
            "burst": rounds(burst),
            "presence": rounds(presence, count=few),
            "ghosts": rounds(ghosts, **once),
            "fresh": rounds(fresh, needs_quiet=False),
            **{how: rounds(gone(how), count=few, needs_quiet=False) for how in ("kill", "term", "restart")},
            "disconnect": rounds(disconnect),
            "ids": rounds(with_store(ids), count=few),
            "ids_on_disk": on_disk(bench, redis, few),
            "beside": rounds(beside, count=few),
            "outage_broadcasts": rounds(outage_broadcasts, **once),
            "outage_posts": rounds(with_store(outage_posts), **once),
            "cost": {
                count: rounds(functools.partial(cost, count=count), and_alone if count == 2 else engines, count=few)
                for count in (2, 3, 10)
            },
            "local": rounds(local, and_alone, count=few),
            "adapter": bench.rounds(adapter, and_alone, count=1, needs_quiet=False),
        }
