"""The measured servers, each in a process on its own core, and the load on the other core."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ROOT / "target/release/realtime-chat"
LOAD = ROOT / "target/loadgen/release/phxload"
# certificates, and the output of valgrind and strace
SCRATCH = ROOT / "target/bench"
SERVER_CORE, LOAD_CORE = "0", "1"
# how often a process is polled while waiting for it, in seconds
POLL = 0.25
# how long a server may take to listen or to end, in seconds; valgrind slows it down by a factor of about fifty
PATIENCE = 60


class Server:
    """A process under test, for the duration of a `with` block."""

    def __init__(self, command, cores=SERVER_CORE, env=None, under=()):
        self.process = subprocess.Popen(
            ["taskset", "-c", cores, *map(str, [*under, *command])],
            env={**os.environ, "RUST_LOG": "error", **(env or {})},
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.end()

    def settle(self):
        """Waits until it is idle."""
        cpu, before = self.cpu(), -1
        while cpu > before:
            time.sleep(POLL)
            before, cpu = cpu, self.cpu()

    def cpu(self):
        """CPU time used so far, in ticks of 10 ms."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return int(user) + int(system)

    def stop(self):
        """Shuts it down cleanly once it is idle, so that the tool that watches it writes its report."""
        self.settle()
        self.process.send_signal(signal.SIGTERM)
        self.end()

    def end(self):
        self.process.wait(PATIENCE)
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
    def __init__(self, binary, flags=(), workers=1, cores=SERVER_CORE, under=(), **settings):
        env = {"PORT": "0", "WORKERS": str(workers), "STATIC_DIR": str(ROOT / "priv/static"), **settings}
        super().__init__([binary, *flags], cores, env, under)
        line = self.process.stdout.readline()
        listening = re.search(r"https?://(\S+)", line)
        if not listening:
            sys.exit(f"error: {binary} does not start")
        self.addr = listening.group(1)

    def post(self, messages):
        """Fills the history."""
        if messages:
            rate = min(messages, 2_000)
            self.measure("fanout", "-n", 0, "--rate", rate, "--count", messages)


class Floor(Server):
    def __init__(self, flags=(), under=()):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.addr = "127.0.0.1:%d" % free.getsockname()[1]
        super().__init__([LOAD, "floor", "--listen", self.addr, *flags], under=under)
        host, port = self.addr.split(":")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                return socket.create_connection((host, int(port))).close()
            except ConnectionRefusedError:
                time.sleep(0.01)
        sys.exit("error: the floor does not listen")


def certificate():
    """Settings for a chat that serves TLS, with an ECDSA key."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    files = {"TLS_CERT": str(SCRATCH / "cert.pem"), "TLS_KEY": str(SCRATCH / "key.pem")}
    subprocess.run([LOAD, "certificate", "--cert", files["TLS_CERT"], "--key", files["TLS_KEY"]], check=True)
    return files


@contextlib.contextmanager
def database():
    """A file for a new database, on the disk that holds the build; /tmp may be memory."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        yield pathlib.Path(folder) / "chat.db"


def epoch(file):
    """The number that names the history of a database, while its server runs."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT epoch FROM topics").fetchone()[0]


def store_posts(secs, flags, posters):
    """Posts through the chat's store on a new database, in a process of its own on both cores."""
    options = ["--posters", posters, "--secs", secs, *flags]
    command = ["cargo", "bench", "--quiet", "--locked", "--bench", "posts", "--", *options]
    return json.loads(subprocess.run(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)


def instructions(start, *arguments):
    """Instructions that a server executes in user space, from its start to its end."""
    return sum(instructions_by_thread(start, *arguments))


def instructions_by_thread(start, *arguments):
    """The same for each of its threads, in the order of their start."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        folder = pathlib.Path(folder)
        options = ["--separate-threads=yes", f"--callgrind-out-file={folder / 'out'}", f"--log-file={folder / 'log'}"]
        with start(under=["valgrind", "--tool=callgrind", *options]) as server:
            server.measure(*arguments)
            server.stop()
        threads = sorted(folder.glob("out-*"))
        return [int(re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE).group(1)) for file in threads]


def system_calls(start, *arguments):
    """System calls that a server makes, from its start to its end, by name."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    out = SCRATCH / "strace.out"
    out.unlink(missing_ok=True)
    # -D: the started process remains the server, and strace runs as a detached grandchild
    with start(under=["strace", "-D", "-f", "-c", "-o", out]) as server:
        server.measure(*arguments)
        server.stop()
    # % time, seconds, microseconds per call, calls, errors (or nothing), name
    row = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", re.MULTILINE)
    calls = {name: int(number) for number, name in row.findall(wait_for(out, "total"))}
    del calls["total"]
    return calls


def wait_for(file, text):
    """Returns the content of a file once it contains a text."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if text in (content := file.read_text()):
            return content
        time.sleep(POLL)
    sys.exit(f"error: {file} does not say {text}")
