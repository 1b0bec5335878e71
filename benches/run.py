"""Measures the chat against the floor (`phxload floor`), in turn, and writes what came out as JSON.

The server has one core of the machine and the load the other, unless a row says otherwise. Every figure of the server is its
own CPU time and memory; each row is repeated, with the floor in between, so that a machine that is busy with other things
slows both. Only the standard library is used. `make bench` builds what is measured and runs this.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVER = ROOT / "target/release/realtime-chat"
LOAD = ROOT / "target/loadgen/release/phxload"
SERVER_CORE, LOAD_CORE = "0", "1"
# how long a server may take to listen, in seconds
PATIENCE = 10


class Server:
    """A process under test, on its core, for as long as the block lasts."""

    def __init__(self, command, cores=SERVER_CORE, env=None):
        self.process = subprocess.Popen(
            ["taskset", "-c", cores, *map(str, command)],
            env={**os.environ, "RUST_LOG": "error", **(env or {})},
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def load(self, *arguments, nice=0):
        """Starts the load generator and returns a function that waits for its report."""
        target = ["--addr", self.addr, "--pid", self.process.pid]
        command = ["nice", "-n", nice, "taskset", "-c", LOAD_CORE, LOAD, *arguments, *target]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)

        def report():
            out, _ = process.communicate()
            if process.returncode != 0:
                sys.exit(f"error: {' '.join(map(str, command))} ended with {process.returncode}")
            return json.loads(out)

        return report

    def measure(self, *arguments):
        return self.load(*arguments)()


class Chat(Server):
    def __init__(self, workers=1, cores=SERVER_CORE, **settings):
        env = {"PORT": "0", "WORKERS": str(workers), "STATIC_DIR": str(ROOT / "priv/static"), **settings}
        super().__init__([SERVER], cores, env)
        line = self.process.stdout.readline()
        self.addr = re.search(r"http://(\S+)", line).group(1)

    def post(self, messages):
        """Fills the history."""
        if messages:
            rate = min(messages, 2_000)
            self.measure("fanout", "-n", 0, "--rate", rate, "--secs", messages // rate)


class Floor(Server):
    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.addr = "127.0.0.1:%d" % free.getsockname()[1]
        super().__init__([LOAD, "floor", "--listen", self.addr])
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                return socket.create_connection(self.addr.split(":")).close()
            except ConnectionRefusedError:
                time.sleep(0.01)
        sys.exit("error: the floor does not listen")


def pairs(count, ours, floor):
    """Both sides in turn, each with fresh servers."""
    rows = {"ours": [], "floor": []}
    for _ in range(count):
        rows["ours"].append(ours())
        rows["floor"].append(floor())
    return rows


def on(server, *arguments):
    def run():
        with server() as running:
            return running.measure(*arguments)

    return run


def delivery(count, secs):
    """CPU a delivery, at 50,000 deliveries a second, whatever the number of subscribers."""
    rows = {}
    for subscribers in (100, 1_000, 10_000):
        arguments = ["fanout", "-n", subscribers, "--rate", 50_000 / subscribers, "--secs", secs]
        rows[subscribers] = pairs(count, on(Chat, *arguments), on(Floor, *arguments))
    return rows


def saturation(count, secs):
    """1,000 messages a second offered to 1,000 subscribers."""
    arguments = ["fanout", "-n", 1_000, "--rate", 1_000, "--secs", secs]
    return pairs(count, on(Chat, *arguments), on(Floor, *arguments))


def heartbeat(count, secs):
    arguments = ["rtt", "-c", 50, "--secs", secs]
    return pairs(count, on(Chat, *arguments), on(Floor, *arguments))


def connect(count, _):
    arguments = ["connect", "-n", 10_000]
    return pairs(count, on(Chat, *arguments), on(Floor, *arguments))


def history(count, _):
    """Joins that are sent a history."""

    def join(messages):
        with Chat() as chat:
            chat.post(messages)
            return chat.measure("connect", "-n", 1_000, "--hold", 1)

    return {messages: [join(messages) for _ in range(count)] for messages in (0, 10, 100, 1_000, 10_000)}


def workers(count, secs):
    """One worker and two on the same core; and two that have both cores, one of which the load needs too."""
    arguments = ["fanout", "-n", 1_000, "--rate", 50, "--secs", secs]
    both = f"{SERVER_CORE},{LOAD_CORE}"
    return {
        "1 on one core": [on(Chat, *arguments)() for _ in range(count)],
        "2 on one core": [on(lambda: Chat(2), *arguments)() for _ in range(count)],
        "2 on both cores": [on(lambda: Chat(2, both), *arguments)() for _ in range(count)],
    }


def fairness(count, secs):
    """Heartbeats of ten other sockets, alone and while 1,000 subscribers are sent all that the core can do."""

    def run(server):
        with server() as running:
            arguments = ["rtt", "-c", 10, "--pause", 10, "--secs", secs]
            alone = running.measure(*arguments)
            # the load reads a million deliveries a second: it must not hold up the clock of those who ask
            flood = running.load("fanout", "-n", 1_000, "--rate", 500, "--secs", secs + 3, nice=19)
            time.sleep(2.5)
            return {"alone": alone, "beside": running.measure(*arguments), "flood": flood()}

    return pairs(count, lambda: run(Chat), lambda: run(Floor))


ROWS = [delivery, saturation, heartbeat, connect, history, workers, fairness]


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
    names = [row.__name__ for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, help="runs of each side (default: 3)")
    parser.add_argument("--secs", type=int, default=4, help="seconds of a run (default: 4)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/benchmarks/results.json")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"what to measure: {', '.join(names)} (default: all)")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(names):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if os.cpu_count() < 2:
        sys.exit("error: two cores are needed, one for the server and one for the load")
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    results["machine"] = machine()
    for row in ROWS:
        if not options.rows or row.__name__ in options.rows:
            print(f"{row.__name__} …", file=sys.stderr, flush=True)
            results[row.__name__] = row(options.pairs, options.secs)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
