#!/usr/bin/env bash
# A real Docker engine with compose, and stand-ins for the images that a machine without an image registry cannot pull.
#   engine.sh up              install what is missing, start the engine, make the images; says each of its parts (first time 3 minutes)
#   engine.sh env             what the docker client needs, for eval
#   engine.sh down [--wipe]   stop it; --wipe forgets images and volumes too
# Needs: root on Debian 12, Maven; exit code 69 and one line without them.  Env: DOCKER_WORK (where it keeps everything)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${DOCKER_WORK:-/tmp/restow-docker-lab} socket=${DOCKER_WORK:-/tmp/restow-docker-lab}/docker.sock
export DOCKER_HOST=unix://$socket DOCKER_BUILDKIT=0 DOCKER_CONFIG=$work/config
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
NEWER=trixie # compose of Debian 13 runs on Debian 12's libc; 12 has only the old one

say() { echo "$(date +%T) $*"; }
lacks() { echo "missing: a Docker engine ($*; or name one in DOCKER_HOST)" >&2; exit 69; }

able() {
  [ "$(id -u)" = 0 ] || lacks "it is started here by root only"
  command -v apt-get >/dev/null && grep -q bookworm /etc/os-release || lacks "it is started here on Debian 12 only"
  command -v mvn >/dev/null || lacks "Maven fetches Kafka's jars: apt-get install maven"
}

# Where apt gets Debian, from one-line or deb822 sources, whichever there are.
mirror() {
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
    awk '/^deb /{for(i=2;i<=NF;i++) if(!m && $i ~ /^http.*debian/) m=$i} /^URIs:/{if(!m && $2 ~ /debian/) m=$2} END{print m}'
}

installed() {
  { command -v dockerd || [ -x /usr/sbin/dockerd ]; } >/dev/null && command -v mmdebstrap runc iptables >/dev/null && return
  say "the engine and mmdebstrap, by apt-get"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    docker.io mmdebstrap runc iptables ca-certificates debian-archive-keyring; } >"$work/apt.log" 2>&1 || { tail -5 "$work/apt.log" >&2; exit 1; }
}

compose() {
  local plugins=$DOCKER_CONFIG/cli-plugins apt=$work/apt
  [ ! -x "$plugins/docker-compose" ] || return 0
  say "docker compose, of Debian 13"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$plugins"
  echo "deb [signed-by=$keyring] $(mirror) $NEWER main" >"$apt/sources.list"
  local options=(-q -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$apt/lists"
    -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root)
  { apt-get "${options[@]}" update && cd "$apt" && apt-get "${options[@]}" download docker-compose && dpkg -x ./docker-compose_*.deb x; } \
    >"$work/compose.log" 2>&1 || { tail -5 "$work/compose.log" >&2; exit 1; }
  cp "$apt"/x/usr/libexec/docker/cli-plugins/docker-compose "$plugins/"
}

alive() { [ -f "$work/dockerd.pid" ] && kill -0 "$(cat "$work/dockerd.pid")" 2>/dev/null; }

started() {
  alive && return
  say "dockerd"
  rm -f "$work/dockerd.pid"
  setsid "$(command -v dockerd || echo /usr/sbin/dockerd)" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
    -H "$DOCKER_HOST" --storage-driver overlay2 >"$work/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 1 150); do docker version >/dev/null 2>&1 && return; sleep 0.2; done
  tail -20 "$work/dockerd.log" >&2
  exit 1
}

has() { docker image inspect "$1" >/dev/null 2>&1; }

debian() { # SUITE
  has "debian:$1-slim" && return
  say "debian:$1-slim"
  mmdebstrap -q --variant=minbase --include=ca-certificates --dpkgopt=force-unsafe-io "$1" "$work/$1.tar" \
    "deb [signed-by=$keyring] $(mirror) $1 main"
  docker import "$work/$1.tar" "debian:$1-slim" >/dev/null
  rm "$work/$1.tar"
}

image() { # FOLDER TAG: from a copy of the folder, with the certificates that this machine trusts
  has "$2" && return
  local context=$work/context/$1
  say "$2"
  rm -rf "$context"
  mkdir -p "$context"
  cp -r "$here/$1/." "$context"
  cp /etc/ssl/certs/ca-certificates.crt "$context/ca.crt"
  [ "$1" != kafka ] || KAFKA_LIBS=$context/libs "$here/../kafka/kafka.sh" get 2>/dev/null
  docker build -q --network host -t "$2" "$context" >"$work/build.log" 2>&1 || { tail -20 "$work/build.log" >&2; exit 1; }
  rm -rf "$context"
}

up() {
  able
  mkdir -p "$work"
  installed
  (compose)
  started
  debian bookworm
  debian trixie
  image python python:3.11-slim
  image postgres postgres:17
  image kafka apache/kafka:4.1.1
  docker version --format 'client {{.Client.Version}}, engine {{.Server.Version}}'
}

down() {
  if alive; then
    local pid
    pid=$(cat "$work/dockerd.pid")
    docker ps -q | xargs -r docker stop -t 5 >/dev/null
    kill "$pid"
    for _ in $(seq 1 150); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
    # dockerd leaves its bridge and its firewall rules, with forwarding for everybody else dropped
    pgrep -x dockerd >/dev/null || {
      iptables-save | grep -viE 'docker| br-[0-9a-f]{12} ' | sed 's/^:FORWARD DROP/:FORWARD ACCEPT/' | iptables-restore
      ip link del docker0 2>/dev/null || true
    }
  fi
  [ "${1:-}" = --wipe ] || return 0
  awk -v w="$work/" 'index($2, w) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount
  rm -rf "$work"
}

case ${1:-} in
  up) up ;;
  env) printf 'export DOCKER_HOST=%q DOCKER_BUILDKIT=0 DOCKER_CONFIG=%q COMPOSE_DOCKER_CLI_BUILD=0\n' "$DOCKER_HOST" "$DOCKER_CONFIG" ;;
  down) down "${2:-}" ;;
  *) sed -n '2,6s/^# //p' "$0" >&2; exit 2 ;;
esac
