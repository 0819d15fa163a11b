#!/usr/bin/env bash
# A throw-away PostgreSQL for tests: loopback only, own data folder, own port.
#   postgres.sh up [DIR]     prints the URL        postgres.sh down [DIR]
#   postgres.sh run CMD...   up, run CMD with DATABASE_URL set, down, CMD's exit code
#   postgres.sh stop [DIR]   kills the server at once, keeps the data       postgres.sh start [DIR]  the same data and port again
# Needs Debian's postgresql package (15 on Debian 12); in CI, as root, it is installed; else exit code 69 and one line.  PostgreSQL refuses to run as root, so as root it runs as $PG_USER (created if need be).
set -euo pipefail
bin=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)}
if ! [ -x "$bin/initdb" ] && [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql; } >&2
  bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
fi
if ! [ -x "$bin/initdb" ]; then echo "no PostgreSQL for tests: its server is not installed (apt-get install postgresql)" >&2; exit 69; fi
PG_USER=${PG_USER:-pgtest}
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid="$PG_USER" --regid="$PG_USER" --init-groups env HOME=/tmp PATH="$PATH" "$@"; else "$@"; fi; }
freeport() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
up() {
  local d=$1 port; port=$(freeport)
  if [ "$(id -u)" = 0 ]; then id "$PG_USER" >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin --user-group "$PG_USER"; fi
  rm -rf "$d"; mkdir -p "$d"; [ "$(id -u)" != 0 ] || chown "$PG_USER:$PG_USER" "$d"
  as "$bin/initdb" -D "$d/data" -U test --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$d/initdb.log"
  cat >>"$d/data/postgresql.conf" <<C
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$d'
fsync = off   # the machine stays up; but commits are synchronous, or a killed server would forget some
full_page_writes = off
max_connections = 100
shared_buffers = 64MB
log_min_duration_statement = -1
timezone = 'UTC'
C
  as "$bin/pg_ctl" -D "$d/data" -l "$d/server.log" -w -t 30 start >/dev/null || { cat "$d/server.log" >&2; exit 1; }
  as "$bin/createdb" -h 127.0.0.1 -p "$port" -U test test
  echo "postgresql://test@127.0.0.1:$port/test" | tee "$d/url"
}
start() { as "$bin/pg_ctl" -D "$1/data" -l "$1/server.log" -w -t 30 start >/dev/null; cat "$1/url"; }
stop() { as "$bin/pg_ctl" -D "$1/data" -m immediate -w stop >/dev/null; }
down() { as "$bin/pg_ctl" -D "$1/data" -m immediate -w stop >/dev/null 2>&1 || true; rm -rf "$1"; }
c=${1:?up, stop, start, down or run}; shift
case $c in
  stop|start) "$c" "${1:-${TMPDIR:-/tmp}/pg-test}" ;;
  up)   up "${1:-${TMPDIR:-/tmp}/pg-test}" ;;
  down) down "${1:-${TMPDIR:-/tmp}/pg-test}" ;;
  run)  d=$(mktemp -d); chmod 755 "$d"; trap 'down "$d"' EXIT
        DATABASE_URL=$(up "$d"); export DATABASE_URL; set +e; "$@"; rc=$?; exit $rc ;;
esac
