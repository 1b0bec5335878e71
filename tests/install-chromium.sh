#!/bin/sh
# Installs Chromium for the browser tests, if it is not there.
set -eu
chromium=$1
[ -x "$chromium" ] && exit 0
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "error: the browser tests need $chromium: install the package chromium, or run this as root or with sudo" >&2
    exit 1
fi
$as_root apt-get update
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-noto-cjk fonts-noto-color-emoji
