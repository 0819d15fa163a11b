#!/usr/bin/env bash
# What the image's entry point does, on this machine's PostgreSQL: make the database where there is none, then run the server.
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
data=${PGDATA:?}
mkdir -p "$data"
chmod 700 "$data" # a volume's group opens it at each mount
if [ ! -s "$data/PG_VERSION" ]; then
  "$bin/initdb" -D "$data" -U "$POSTGRES_USER" --pwfile=<(printf %s "$POSTGRES_PASSWORD") --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
  echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
  "$bin/pg_ctl" -D "$data" -o "-c listen_addresses= -c unix_socket_directories=/tmp" -w start >/dev/null
  PGPASSWORD=$POSTGRES_PASSWORD "$bin/createdb" -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB"
  "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null
fi
[ "$1" != postgres ] || set -- "$bin/postgres" -D "$data" -c "listen_addresses=*" "${@:2}"
exec "$@"
