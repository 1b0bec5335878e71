"""Starts the example reference, on a port that the system chooses, and lets tests kill it and start it again there."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Server:
    def __init__(self):
        self._start(port=0)

    def _start(self, port):
        binary = ROOT / os.environ.get("REFERENCE_BIN", "target/debug/examples/reference")
        environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port)}
        self.process = subprocess.Popen(
            [binary], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        match = re.search(r"listening on http://(\S+)", self.process.stdout.readline())
        assert match, f"{binary} ended before it listened"
        self.address = match[1]

    def url(self, mount="/socket"):
        return f"ws://{self.address}{mount}/websocket"

    def stop(self):
        self._end(self.process.terminate)

    def kill(self):
        self._end(self.process.kill)

    def start_again(self):
        self._start(self.address.rpartition(":")[2])

    def _end(self, how):
        how()
        self.process.wait()
        self.process.stdout.close()
