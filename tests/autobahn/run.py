"""All cases of the Autobahn test suite but those of compression, against the example echo_socket.

Fails on any case whose behaviour or close is not OK, NON-STRICT, or INFORMATIONAL (cases that judge nothing).
"""

import json
import os
import pathlib
import re
import subprocess
import sys

CASES = 301  # of the suite, without 12.* and 13.*
FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}
ROOT = pathlib.Path(__file__).resolve().parents[2]
REPORTS = ROOT / "target" / "autobahn"


def main():
    server = os.environ.get("ECHO_SOCKET_BIN", ROOT / "target/debug/examples/echo_socket")
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": "0"}
    with subprocess.Popen([server], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = re.search(r"listening on http://(\S+)", process.stdout.readline())[1]
            kosoku = [pathlib.Path(sys.executable).with_name("kosoku"), "-x", "12.*", "-x", "13.*", "-p", "4"]
            subprocess.run([*kosoku, "-o", REPORTS, f"ws://{address}/echo/websocket"], timeout=300, check=False)
        finally:
            process.terminate()
    (cases,) = json.loads((REPORTS / "index.json").read_text()).values()
    bad = {name: case for name, case in cases.items() if not {case["behavior"], case["behaviorClose"]} <= FINE}
    for name, case in bad.items():
        print(f"case {name}: {case['behavior']}, close {case['behaviorClose']}")
    print(f"autobahn: {len(cases) - len(bad)} passed, {len(bad)} failed")
    return len(bad) > 0 or len(cases) != CASES


sys.exit(main())
