#!/bin/sh
# install.sh PROGRAM PACKAGE...: installs Debian packages that the tests need, if the program is not there.
set -eu
program=$1
shift
[ -x "$program" ] && exit 0
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "error: the tests need $program: install the packages $*, or run this as root or with sudo" >&2
    exit 1
fi
case " $* " in
    # the tests start PostgreSQL themselves: no server of the system is made
    *" postgresql "*)
        $as_root mkdir -p /etc/postgresql-common
        [ -e /etc/postgresql-common/createcluster.conf ] ||
            echo 'create_main_cluster = false' | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
        ;;
esac
$as_root apt-get update
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" </dev/null
# the tests start these themselves: their services are not wanted
case " $* " in
    *" nginx "*) $as_root systemctl disable --now nginx 2>/dev/null || true ;;
    *" redis-server "*) $as_root systemctl disable --now redis-server 2>/dev/null || true ;;
esac
