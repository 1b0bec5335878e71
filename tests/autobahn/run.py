"""All cases of the Autobahn test suite against examples/echo_socket.rs: those of compression (12.* and 13.*) on its mount
/deflate, all others on /echo.

Fails on any case whose behavior or close is not OK, NON-STRICT, or INFORMATIONAL (cases that judge nothing). Takes some
minutes, nearly all of them for the compression of ten gigabytes.
"""

import asyncio
import os
import pathlib
import re
import subprocess
import sys

import kosoku
from kosoku._caseindex import initialize_shims
from kosoku._report import write_reports

CASES = 517  # of the suite
FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}
COMPRESSION = ["12.*", "13.*"]
PARALLEL = 4
ROOT = pathlib.Path(__file__).resolve().parents[2]
REPORTS = ROOT / "target" / "autobahn"


def main():
    server = os.environ.get("ECHO_SOCKET_BIN", ROOT / "target/debug/examples/echo_socket")
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": "0"}
    take_uncompressed_echoes()
    with subprocess.Popen([server], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = re.search(r"listening on http://(\S+)", process.stdout.readline())[1]
            results = asyncio.run(run(f"ws://{address}"))
        finally:
            process.terminate()
    write_reports(results, str(REPORTS))
    bad = [case for case in results if not {case.behavior.value, case.behavior_close.value} <= FINE]
    for case in bad:
        print(f"case {case.case_id}: {case.behavior.value}, close {case.behavior_close.value}: {case.result}")
    print(f"autobahn: {len(results) - len(bad)} passed, {len(bad)} failed")
    return len(bad) > 0 or len({case.case_id for case in results}) != CASES


async def run(server):
    plain = await results_of(f"{server}/echo/websocket", None, COMPRESSION)
    return plain + await results_of(f"{server}/deflate/websocket", COMPRESSION, None)


async def results_of(address, include, exclude):
    try:
        return await kosoku.run_fuzzingclient(address, include, exclude, concurrency=PARALLEL)
    except kosoku.FailureError as failure:
        return failure.results


def take_uncompressed_echoes():
    """The cases of compression hash what comes back, as bytes. kosoku 0.1.0 hands them bytes of a message that came
    compressed, but text of one that did not, as any short message may."""
    initialize_shims()
    import case12_x_x

    def with_bytes(on_message):
        def take(self, message, binary):
            if isinstance(message, str):
                message = message.encode("latin-1" if binary else "utf-8")
            return on_message(self, message, binary)

        return take

    for case in case12_x_x.Case12_X_X + case12_x_x.Case13_X_X:
        case.onMessage = with_bytes(case.onMessage)


if __name__ == "__main__":
    sys.exit(main())
