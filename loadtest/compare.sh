#!/bin/bash
# Compares Roomcast with its original design and with other servers on the same work. The script starts each server
# that is installed, with its limits off, on a free port of this machine, loads it and stops it. The servers take turns
# in two rounds, so that a disturbance of the machine affects all of them.
# It writes a Markdown table for each scenario to standard output, and every result to a directory. The exit code is 1
# when a server did not start or a run was not good; the cells of such a run name the verdict.
#
#   loadtest/compare.sh            takes about ten minutes
#   QUICK=1 loadtest/compare.sh    takes about one minute
#   ONLY="roomcast redis" RESULTS=results loadtest/compare.sh
#
# Debian: apt install inspircd redis-server nats-server
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-2}
ONLY=${ONLY:-roomcast original inspircd redis nats}
RESULTS=${RESULTS:-$(mktemp -d)}
PROGRAMS=${CARGO_TARGET_DIR:-target}/release
SECONDS_EACH=${SECONDS_EACH:-$([[ ${QUICK:-} ]] && echo 1 || echo 5)}
# Each scenario: its name and the arguments of loadtest.
SCENARIOS=(
  "busy-room flood --connections 200 --in-flight 32 --duration ${SECONDS_EACH}s"
  "paced-room steady --connections 500 --rooms 1 --rate 200/s --duration ${SECONDS_EACH}s"
)
[[ ${QUICK:-} ]] || SCENARIOS+=(
  "big-room flood --connections 1000 --senders 32 --in-flight 32 --duration ${SECONDS_EACH}s"
  "small-rooms flood --connections 2000 --rooms 200 --in-flight 4 --duration ${SECONDS_EACH}s"
  "one-in-flight flood --connections 200 --in-flight 1 --duration ${SECONDS_EACH}s"
  "idle idle --connections 15000 --rooms 1500 --duration 1s"
  "storm storm --connections 2000 --rooms 1"
)

WORK=$(mktemp -d)
PID=
stop() {
  if [[ $PID ]]; then
    kill "$PID" 2>/dev/null || true
    wait "$PID" 2>/dev/null || true
    PID=
  fi
}
trap 'stop; rm -rf "$WORK"' EXIT

log() { echo "$*" >&2; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 10000))
    listens "$port" || { echo "$port"; return; }
  done
  log "no free port"; return 1
}

installed() {
  case $1 in
    roomcast | original) return 0 ;;
    inspircd) command -v inspircd >/dev/null ;;
    redis) command -v redis-server >/dev/null ;;
    nats) command -v nats-server >/dev/null ;;
    *) return 1 ;;
  esac
}

protocol() {
  case $1 in
    roomcast | original) echo line ;;
    inspircd) echo irc ;;
    *) echo "$1" ;;
  esac
}

# Writes a configuration without limits on connections, rates and queues, and without pings and name lookups.
inspircd_config() {
  cat <<EOF
<config format="xml">
<server name="irc.example.net" description="load" network="load">
<admin name="load" nick="load" email="load@example.net">
<bind address="127.0.0.1" port="$1" type="clients">
<connect name="all" allow="*" timeout="60" pingfreq="1h" hardsendq="1073741824" softsendq="1073741824"
  recvq="1048576" threshold="1000000" commandrate="1000000000" fakelag="no" localmax="100000" globalmax="100000"
  maxchans="100" limit="100000" resolvehostnames="no" useident="no" maxconnwarn="no">
<performance netbuffersize="65536" somaxconn="4096" softlimit="100000" clonesonconnect="no" timeskipwarn="0">
<options defaultmodes="" hostintopic="no">
<limits maxnick="30" maxchan="64" maxline="20480">
<files motd="/dev/null">
<pid file="$WORK/inspircd.pid">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="$WORK/inspircd.log">
<path configdir="$WORK" datadir="$WORK" logdir="$WORK" runtimedir="$WORK">
EOF
}

redis_config() {
  cat <<EOF
bind 127.0.0.1
protected-mode no
port $1
dir $WORK
save ""
appendonly no
maxclients 19900
tcp-backlog 4096
timeout 0
client-output-buffer-limit pubsub 0 0 0
EOF
}

nats_config() {
  cat <<EOF
host: 127.0.0.1
port: $1
max_connections: 100000
max_pending: 1073741824
ping_interval: "1h"
write_deadline: "60s"
EOF
}

# Starts a server. Sets PID to its process and PORT to its port.
start() {
  PORT=$(free_port)
  case $1 in
    roomcast) "$PROGRAMS/roomcast" "$PORT" --rate 0 --byte-rate 0 >"$WORK/log" 2>&1 & ;;
    original) "$PROGRAMS/examples/original" "$PORT" >"$WORK/log" 2>&1 & ;;
    inspircd)
      inspircd_config "$PORT" >"$WORK/inspircd.conf"
      local root=()
      [[ $(id -u) == 0 ]] && root=(--runasroot)
      inspircd --nofork "${root[@]}" --config "$WORK/inspircd.conf" >"$WORK/log" 2>&1 & ;;
    redis) redis_config "$PORT" >"$WORK/redis.conf"; redis-server "$WORK/redis.conf" >"$WORK/log" 2>&1 & ;;
    nats) nats_config "$PORT" >"$WORK/nats.conf"; nats-server -c "$WORK/nats.conf" >"$WORK/log" 2>&1 & ;;
  esac
  PID=$!
  for _ in {1..100}; do
    listens "$PORT" && return
    kill -0 "$PID" 2>/dev/null || break
    sleep 0.1
  done
  log "$1 did not start:"; tail -5 "$WORK/log" >&2
  return 1
}

reversed() {
  local words=
  for word in "$@"; do words="$word $words"; done
  echo "$words"
}

# Results of an earlier run would appear in the tables of this one.
if compgen -G "$RESULTS/*/*.json" >/dev/null; then
  log "RESULTS=$RESULTS already has results: empty it, or name another directory"; exit 2
fi
BAD=0
cargo build --release --quiet -p roomcast -p loadtest --bins --examples
ulimit -n "$(ulimit -Hn)"
mkdir -p "$RESULTS"
for round in $(seq "$ROUNDS"); do
  for scenario in "${SCENARIOS[@]}"; do
    read -r name arguments <<<"$scenario"
    mkdir -p "$RESULTS/$name"
    # The second round runs in reverse, so that no server is always the first.
    order=$ONLY
    # shellcheck disable=SC2086 # split into names
    ((round % 2)) || order=$(reversed $ONLY)
    for server in $order; do
      installed "$server" || { log "$server is not installed: skipped"; continue; }
      start "$server" || { BAD=1; stop; continue; }
      log "round $round, $name: $server"
      # shellcheck disable=SC2086 # split into arguments
      "$PROGRAMS/loadtest" $arguments --target "127.0.0.1:$PORT" --pid "$PID" --protocol "$(protocol "$server")" \
        --connecting 1000 --json "$RESULTS/$name/$server-$round.json" | tail -1 >&2 || BAD=1
      stop
    done
  done
done

for scenario in "${SCENARIOS[@]}"; do
  name=${scenario%% *}
  if compgen -G "$RESULTS/$name/*.json" >/dev/null; then
    "$PROGRAMS/loadtest" markdown "$RESULTS/$name"/*.json || BAD=1
  else
    echo "$name: no results"
    BAD=1
  fi
  echo
done
log "all results: $RESULTS"
exit "$BAD"
