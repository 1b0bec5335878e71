"""Private instances of Redis and PostgreSQL, which carry what the nodes of a cluster tell each other."""

import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# files that no disk has to keep
MEMORY = "/dev/shm"
# how long an engine may take to start, in seconds
PATIENCE = 60


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Engine:
    """A server and its processes, for the duration of a `with` block."""

    def __init__(self, folder=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hinotori-bench-", dir=folder))
        self.port = free_port()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thaw()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)

    def start(self, command, **settings):
        log = (self.folder / "log").open("w")
        self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, cwd=self.folder, **settings)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"error: {command[0]} does not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def processes(self):
        """The server first, which is the one that starts others."""
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [pid, *map(int, children.split())]

    def freeze(self):
        # first the one that starts others
        os.kill(self.process.pid, signal.SIGSTOP)
        for pid in self.processes()[1:]:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in reversed(self.processes()):
            os.kill(pid, signal.SIGCONT)

    def traffic(self):
        """Bytes that it was sent and has sent, on connections that are open."""
        lines = subprocess.run(["ss", "-tinH", f"sport = :{self.port}"], capture_output=True, text=True, check=True).stdout
        return [sum(map(int, re.findall(rf"\b{key}:(\d+)", lines))) for key in ("bytes_received", "bytes_sent")]


class Redis(Engine):
    def __init__(self):
        super().__init__()
        options = {"bind": "127.0.0.1", "port": self.port, "save": "", "appendonly": "no", "dir": self.folder}
        self.start(["redis-server", *(part for key, value in options.items() for part in (f"--{key}", value))])
        self.cluster = f"redis://127.0.0.1:{self.port}"

    def answers(self):
        with contextlib.suppress(ConnectionRefusedError):
            with socket.create_connection(("127.0.0.1", self.port)) as client:
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")


class Postgres(Engine):
    """Its data is in memory, or in a folder of the disk."""

    def __init__(self, folder=MEMORY):
        super().__init__(folder)
        # the server refuses root
        self.user = {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, "postgres")
        self.programs = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        data = self.folder / "data"
        initdb = [self.programs / "initdb", "--username=postgres", "--auth=trust", "--locale=C", "--encoding=UTF8", "-D", data]
        subprocess.run(initdb, stdout=subprocess.DEVNULL, check=True, cwd=self.folder, **self.user)
        settings = {"listen_addresses": "'127.0.0.1'", "port": self.port, "unix_socket_directories": f"'{self.folder}'"}
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())
        self.start([self.programs / "postgres", "-D", data], **self.user)
        self.databases = 0
        self.cluster = self.database()

    def psql(self, statement):
        command = [self.programs / "psql", "-XqAtc", statement, f"postgres://postgres@127.0.0.1:{self.port}/postgres"]
        return subprocess.run(command, capture_output=True)

    def answers(self):
        return self.psql("SELECT 1").returncode == 0

    def database(self):
        """The address of a new database."""
        self.databases += 1
        self.psql(f"CREATE DATABASE chat_{self.databases}").check_returncode()
        return f"postgres://postgres@127.0.0.1:{self.port}/chat_{self.databases}"
