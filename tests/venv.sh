#!/bin/sh
# Makes the Python environment target/NAME with what a requirements file names: venv.sh NAME FILE
set -eu
folder=target/$1
[ -f "$folder/.done" ] && [ "$folder/.done" -nt "$2" ] && exit 0
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        echo "error: the tests need python3 with venv: install python3-venv, or run this as root or with sudo" >&2
        exit 1
    fi
    $as_root apt-get update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv
fi
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check -r "$2"
touch "$folder/.done"
