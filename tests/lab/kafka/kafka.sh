#!/usr/bin/env bash
# A real single-node Apache Kafka (KRaft) out of Maven Central jars, on loopback.
#   kafka.sh get                fetch the jars once (about 10 s, 54 MB)
#   kafka.sh up    [DIR]        start a throw-away broker on free ports (about 4 s); prints its bootstrap address
#   kafka.sh stop  [DIR]        stop it, keep its data           (kafka.sh kill: the same by SIGKILL)
#   kafka.sh start [DIR]        start it again on the same data and port
#   kafka.sh down  [DIR]        stop it and remove its data
# Needs: Java 17+, mvn (for `get` only); exit code 69 and one line without them.  Env: KAFKA_LIBS (where the jars are), KAFKA_HEAP (512m),
# KAFKA_VERSION (4.1.1; 4.3.0 passes too).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
libs=${KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/kafka-libs}
cmd=${1:?get, up, stop, kill, start or down}; dir=${2:-${TMPDIR:-/tmp}/kafka-test}

need() { command -v "$1" >/dev/null || { echo "no Kafka for tests: $2" >&2; exit 69; }; }
free_ports() { python3 -c 'import socket
a = [socket.socket() for _ in range(2)]
for s in a: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in a))'; }

get() {
  need mvn "Maven fetches its jars (apt-get install maven)"
  local p=(); [ -z "${KAFKA_VERSION:-}" ] || p=(-Dkafka.version="$KAFKA_VERSION")
  mvn -B -ntp -q -f "$here/pom.xml" "${p[@]}" -Dkafka.libs="$libs" process-resources
  ls "$libs"/kafka_2.13-*.jar >&2
}

java_opts() {
  jopts=(-Xms128m "-Xmx${KAFKA_HEAP:-512m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto
         -Djava.awt.headless=true -Djava.net.preferIPv4Stack=true "-Dlog4j2.configurationFile=$here/log4j2.xml" -cp "$libs/*")
}

start() {
  need java "Java 17 runs it (apt-get install default-jre-headless)"
  [ -f "$dir/server.properties" ] || { echo "no broker in $dir: run 'up' first" >&2; exit 1; }
  java_opts
  : >"$dir/server.log"
  setsid java "${jopts[@]}" kafka.Kafka "$dir/server.properties" >>"$dir/server.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  for _ in $(seq 1 300); do
    if grep -q 'Kafka Server started' "$dir/server.log"; then
      sed -n 's#^advertised.listeners=PLAINTEXT://##p' "$dir/server.properties"; return 0
    fi
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.2
  done
  tail -40 "$dir/server.log" >&2; exit 1
}

up() {
  need java "Java 17 runs it (apt-get install default-jre-headless)"
  local port cport; read -r port cport < <(free_ports)
  ls "$libs"/kafka_2.13-*.jar >/dev/null 2>&1 || get
  down; mkdir -p "$dir/data"
  sed -e "s#@PORT@#$port#g; s#@CPORT@#$cport#g; s#@DATA@#$dir/data#g" "$here/server.properties" >"$dir/server.properties"
  java_opts
  local id; id=$(python3 -c 'import base64,uuid
while True:
    s = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if not s.startswith("-"): print(s); break')
  java "${jopts[@]}" -Dkafka.log.level=ERROR kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 \
    || { cat "$dir/format.log" >&2; exit 1; }
  start
}

end() {  # end SIGNAL: ask the broker to go, wait, insist
  [ -f "$dir/pid" ] || return 0
  local p; p=$(cat "$dir/pid"); kill "-$1" "$p" 2>/dev/null || true
  for _ in $(seq 1 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$p" 2>/dev/null || true
  rm -f "$dir/pid"
}
stop() { end TERM; }
kill9() { end KILL; }
down() { end TERM; rm -rf "$dir"; }
case $cmd in kill) kill9 ;; get|up|stop|start|down) "$cmd" ;; *) echo "get, up, stop, kill, start or down" >&2; exit 2 ;; esac
