#!/usr/bin/env bash
# A whole cluster on this machine without containers: HAProxy, nodes, Redis, PostgreSQL, and RabbitMQ and Prometheus if
# they are asked for, out of the distribution's packages. Everything is in one folder, on loopback and on free ports.
# Most variables are read out of the cluster's own file.
# shellcheck disable=SC2153,SC2154
set -euo pipefail
# There are secrets among what it writes.
umask 077

usage() {
  cat <<'USAGE'
usage: cluster.sh up [--nodes N] [--with rabbitmq,prometheus] [--env NAME=VALUE]...
       cluster.sh down                  ends everything and removes its folder
       cluster.sh status                who runs
       cluster.sh env                   addresses as NAME=value: . <(deploy/cluster.sh env)
       cluster.sh start WHO             WHO: a node's number, redis, postgres, rabbitmq, prometheus or haproxy
       cluster.sh stop WHO              in order; of a node: drain
       cluster.sh drain N               SIGTERM; back when the node has ended by itself
       cluster.sh kill WHO              SIGKILL, as a crash

--env gives a setting to all nodes. COLLABD names the program (default: target/release/collabd, else target/debug/collabd),
CLUSTER_DIR the folder (default: collabd-cluster where temporary files go). Programs: haproxy, redis-server, postgresql,
and rabbitmq-server and prometheus when asked for; a name in --with wants its package installed.
USAGE
}

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DIR=${CLUSTER_DIR:-${TMPDIR:-/tmp}/collabd-cluster}
# Below the range that clients' sockets take theirs from.
FIRST_PORT=15000 LAST_PORT=32000
# Seconds: until a server answers, and until one that was told to stop has ended. A node takes at most 115 to drain.
START_PATIENCE=90 STOP_PATIENCE=150

fail() {
  echo "cluster.sh: $*" >&2
  exit 1
}

# Processes. Each runs in a folder of its own below DIR, by which it is known again: a process id may be somebody else's by now.

pid_of() {
  local pid
  pid=$(cat "$DIR/$1/pid" 2>/dev/null) || return 1
  [[ "$(readlink "/proc/$pid/cwd" 2>/dev/null)/" = "$DIR/$1/"* ]] || return 1
  [ "$(cut -d' ' -f3 "/proc/$pid/stat" 2>/dev/null)" != Z ] || return 1
  echo "$pid"
}

launch() {
  local who=$1
  shift
  mkdir -p "$DIR/$who"
  (
    cd "$DIR/$who"
    nohup "$@" </dev/null >>"$DIR/$who/log" 2>&1 &
    echo $! >"$DIR/$who/pid"
  )
}

# PostgreSQL refuses to be root.
AS_POSTGRES=()
if [ "$(id -u)" = 0 ]; then AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --init-groups); fi

# Whether what was launched is over. Nobody may ever have asked after it, where process 1 does not.
has_ended() {
  local state
  state=$(cut -d' ' -f3 "/proc/$(cat "$DIR/$1/pid")/stat" 2>/dev/null) || return 0
  [ "$state" = Z ]
}

# await WHO CONDITION...: until the condition holds; not any longer when WHO has ended.
await() {
  local who=$1 end=$((SECONDS + START_PATIENCE)) why=''
  shift
  until "$@" >/dev/null 2>&1; do
    if has_ended "$who"; then why="$who ended"; fi
    if [ $SECONDS -ge $end ]; then why="$who does not answer after $START_PATIENCE s"; fi
    if [ -n "$why" ]; then
      tail -n 20 "$DIR/$who/log" >&2
      fail "$why; above is the end of what it said"
    fi
    sleep 0.05
  done
}

# Waits until it has ended, and says how long that took.
await_end() {
  local who=$1 pid=$2 began=$SECONDS
  while [ "$(pid_of "$who" || true)" = "$pid" ]; do
    [ $((SECONDS - began)) -lt $STOP_PATIENCE ] || fail "$who has not ended after $STOP_PATIENCE s"
    sleep 0.05
  done
  rm -f "$DIR/$who/pid"
}

listens() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

answers() {
  curl --silent --fail --output /dev/null --max-time 2 "$1"
}

# free_port NAME: a port that nobody listens on and that was not given out before, as the variable NAME and in the environment.
declare -A GIVEN=()
free_port() {
  local port
  while port=$((FIRST_PORT + (RANDOM * 32768 + RANDOM) % (LAST_PORT - FIRST_PORT))); do
    if [ -z "${GIVEN[$port]:-}" ] && ! listens $port; then break; fi
  done
  GIVEN[$port]=1
  say "$1" "$port"
}

# say NAME VALUE: what `env` prints, and what every later call of this script reads.
say() {
  printf '%s=%q\n' "$1" "$2" >>"$DIR/env"
  printf -v "$1" '%s' "$2"
}

# Servers: start_WHO starts one and waits until it can be used.

start_redis() {
  launch redis redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --dir "$DIR/redis" --save '' \
    --appendonly yes --appendfsync everysec --maxmemory-policy noeviction
  await redis eval "redis-cli -p $REDIS_PORT ping | grep -q PONG"
}

postgres_programs() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
  if [ -x "$newest/postgres" ]; then echo "$newest"; else dirname "$(command -v postgres)"; fi
}

start_postgres() {
  local programs place=$DIR/postgres
  programs=$(postgres_programs)
  if [ ! -d "$place/data" ]; then
    mkdir -p "$place"
    if [ ${#AS_POSTGRES[@]} -gt 0 ]; then chown postgres "$place"; fi
    (cd "$place" && "${AS_POSTGRES[@]}" "$programs/initdb" -D data -U collabd --auth=trust --encoding=UTF8 --no-locale >initdb.log)
  fi
  launch postgres "${AS_POSTGRES[@]}" "$programs/postgres" -D data -k "$place" -p "$POSTGRES_PORT" \
    -c listen_addresses=127.0.0.1 -c max_connections=200
  await postgres "$programs/pg_isready" -h 127.0.0.1 -p "$POSTGRES_PORT"
}

start_rabbitmq() {
  local place=$DIR/rabbitmq
  mkdir -p "$place"
  echo '[].' >"$place/plugins"
  printf 'listeners.tcp.1 = 127.0.0.1:%s\ndefault_user = collabd\ndefault_pass = collabd\n' "$RABBITMQ_PORT" >"$place/rabbit.conf"
  # Erlang would start its port mapper by itself, and leave it behind.
  if ! pid_of epmd >/dev/null; then
    launch epmd epmd -port "$EPMD_PORT" -address 127.0.0.1
    await epmd listens "$EPMD_PORT"
  fi
  # Not through the distribution's wrapper, which would start it elsewhere. Idle schedulers would spin.
  launch rabbitmq env LC_ALL=C.UTF-8 RUNNING_UNDER_SYSTEMD=true HOME="$place" RABBITMQ_NODENAME="collabd$RABBITMQ_PORT@localhost" \
    RABBITMQ_DIST_PORT="$RABBITMQ_DIST_PORT" ERL_EPMD_PORT="$EPMD_PORT" ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_LOGS=- \
    RABBITMQ_MNESIA_BASE="$place/data" RABBITMQ_LOG_BASE="$place/log.d" RABBITMQ_ENABLED_PLUGINS_FILE="$place/plugins" \
    RABBITMQ_CONFIG_FILE="$place/rabbit.conf" RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none' /usr/lib/rabbitmq/bin/rabbitmq-server
  await rabbitmq listens "$RABBITMQ_PORT"
}

# The rules are those of the repository, the targets those of this cluster.
start_prometheus() {
  local place=$DIR/prometheus target
  mkdir -p "$place"
  {
    printf 'global:\n  scrape_interval: 2s\n  evaluation_interval: 2s\n'
    printf 'rule_files: ["%s/grafana/rules/*.yaml"]\n' "$ROOT"
    printf 'scrape_configs:\n  - job_name: collabd\n    static_configs:\n      - targets:\n'
    for ((target = 1; target <= NODES; target++)); do
      local address=METRICS_$target
      printf '          - %s\n' "${!address}"
    done
    printf '  - job_name: haproxy\n    static_configs:\n      - targets: ["%s"]\n' "$HAPROXY_METRICS"
  } >"$place/prometheus.yml"
  launch prometheus prometheus --config.file="$place/prometheus.yml" --storage.tsdb.path="$place/data" \
    --web.listen-address="${PROMETHEUS_URL#http://}"
  await prometheus answers "$PROMETHEUS_URL/-/ready"
}

start_haproxy() {
  local place=$DIR/haproxy number
  mkdir -p "$place"
  for ((number = 1; number <= NODES; number++)); do
    local address=NODE_$number
    echo "  server node$number ${!address}"
  done >"$place/servers"
  # The same file as elsewhere, but for names that are no names here.
  sed -e "/^  server-template /{r $place/servers" -e 'd}' "$ROOT/deploy/haproxy.cfg" >"$place/haproxy.cfg"
  launch haproxy env HAPROXY_BIND="${URL#http://}" HAPROXY_METRICS="$HAPROXY_METRICS" HAPROXY_SOCKET="$HAPROXY_SOCKET" \
    haproxy -db -f "$place/haproxy.cfg"
  await haproxy answers "$URL/health"
}

start_node() {
  local number=$1 address=NODE_$1 metrics=METRICS_$1
  mkdir -p "$DIR/$number"
  # Nothing of the caller's environment may act as a setting.
  mapfile -t given <"$DIR/settings"
  launch "$number" env -i PATH="$PATH" RUST_BACKTRACE=1 NODE_NAME="node$number" HOST=127.0.0.1 PORT="${!address##*:}" \
    METRICS_PORT="${!metrics##*:}" AUTH=open JWT_SECRET="$JWT_SECRET" TRUSTED_PROXIES=127.0.0.0/8 \
    REDIS_URL="$REDIS_URL" DATABASE_URL="$DATABASE_URL" RABBITMQ_URL="${RABBITMQ_URL:-}" "${given[@]}" "$COLLABD"
  await "$number" answers "http://${!address}/readyz"
  echo "PID_$number=$(pid_of "$number")" >"$DIR/$number/env"
}

# Commands.

load() {
  [ -f "$DIR/env" ] || fail "there is no cluster in $DIR; 'cluster.sh up' makes one"
  # It is run as a script, and its folder is removed in the end: both must be ours.
  if [ ! -O "$DIR" ] || [ ! -O "$DIR/env" ]; then fail "$DIR is somebody else's"; fi
  # shellcheck disable=SC1091
  . "$DIR/env"
}

known() {
  case $1 in
    redis | postgres | haproxy) ;;
    rabbitmq | prometheus) [[ ",$WITH," = *",$1,"* ]] || fail "this cluster has no $1; 'up --with $1' makes one" ;;
    *) [[ $1 =~ ^[1-9][0-9]*$ && $1 -le $NODES ]] || fail "there is no '$1'; right is 1 to $NODES, redis, postgres, rabbitmq, prometheus or haproxy" ;;
  esac
}

start() {
  known "$1"
  ! pid_of "$1" >/dev/null || fail "$1 runs already"
  case $1 in
    [0-9]*) start_node "$1" ;;
    *) "start_$1" ;;
  esac
}

# signal WHO SIGNAL: and waits until it has ended.
signal() {
  local pid began=$EPOCHREALTIME
  known "$1"
  pid=$(pid_of "$1") || fail "$1 does not run"
  kill -s "$2" "$pid"
  await_end "$1" "$pid"
  rm -f "$DIR/$1/env"
  awk -v who="$1" -v began="$began" -v now="$EPOCHREALTIME" 'BEGIN { printf "%s ended after %.1f s\n", who, now - began }'
}

stop() {
  case $1 in
    # SIGTERM would wait until every client had gone.
    postgres) signal "$1" INT ;;
    *) signal "$1" TERM ;;
  esac
}

print_env() {
  cat "$DIR/env"
  cat "$DIR"/[0-9]*/env 2>/dev/null || true
}

status() {
  local who pid
  for who in haproxy $(seq "$NODES") redis postgres ${WITH//,/ }; do
    if pid=$(pid_of "$who"); then echo "$who runs, pid $pid"; else echo "$who does not run"; fi
  done
}

down() {
  local who pid
  # Nodes first, and all at once: they are not asked to drain.
  for who in haproxy $(seq "$NODES") prometheus rabbitmq epmd redis postgres; do
    if pid=$(pid_of "$who"); then
      case $who in
        # Killed, it would leave its shared memory behind.
        postgres) kill -s INT "$pid" ;;
        *) kill -s KILL "$pid" ;;
      esac
      await_end "$who" "$pid"
    fi
  done
  rm -rf "$DIR"
}

missing() {
  local program
  for program in curl haproxy redis-server redis-cli setpriv ${WITH//,/ }; do
    case $program in
      rabbitmq) program=/usr/lib/rabbitmq/bin/rabbitmq-server ;;
    esac
    command -v "$program" >/dev/null || fail "$program is not installed"
  done
  [ -x "$(postgres_programs)/postgres" ] || fail "postgresql is not installed"
}

up() {
  local nodes=3 with="" settings=() number
  while [ $# -gt 0 ]; do
    case $1 in
      --nodes)
        nodes=${2:-}
        [[ $nodes =~ ^[1-9][0-9]?$ ]] || fail "--nodes wants a number from 1 to 99"
        ;;
      --with)
        with=${2:-}
        [ -n "$with" ] || fail "--with wants rabbitmq, prometheus or both"
        ;;
      --env)
        [[ ${2:-} = *=* ]] || fail "--env wants NAME=VALUE"
        settings+=("$2")
        ;;
      *)
        usage >&2
        exit 2
        ;;
    esac
    shift 2
  done
  [ ! -e "$DIR/env" ] || fail "there is a cluster in $DIR already; 'cluster.sh down' ends it"
  # `down` removes it.
  [ ! -e "$DIR" ] || [ -z "$(ls -A "$DIR")" ] || fail "$DIR is not empty; right is a folder that is, or is not there"
  for number in ${with//,/ }; do
    case $number in rabbitmq | prometheus) ;; *) fail "--with does not know '$number'; right is rabbitmq, prometheus or both" ;; esac
  done
  NODES=$nodes WITH=$with
  missing
  mkdir -p "$DIR"
  # PostgreSQL's user has to get through.
  chmod 711 "$DIR"
  DIR=$(cd "$DIR" && pwd -P)
  local program=${COLLABD:-$ROOT/target/release/collabd}
  if [ -z "${COLLABD:-}" ] && [ ! -x "$program" ]; then program=$ROOT/target/debug/collabd; fi
  [ -x "$program" ] || fail "there is no $program; 'cargo build --release' makes target/release/collabd"
  # What was started is ended again when something is missing.
  trap 'down' EXIT
  say "CLUSTER_DIR" "$DIR"
  say "COLLABD" "$(realpath "$program")"
  say "NODES" "$nodes"
  say "WITH" "$with"
  say "JWT_SECRET" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
  if [ ${#settings[@]} -gt 0 ]; then printf '%s\n' "${settings[@]}"; fi >"$DIR/settings"
  for name in REDIS POSTGRES HAPROXY HAPROXY_METRICS; do free_port "${name}_PORT"; done
  say "REDIS_URL" "redis://127.0.0.1:$REDIS_PORT"
  say "DATABASE_URL" "postgres://collabd@127.0.0.1:$POSTGRES_PORT/postgres"
  say "URL" "http://127.0.0.1:$HAPROXY_PORT"
  say "HAPROXY_METRICS" "127.0.0.1:$HAPROXY_METRICS_PORT"
  say "HAPROXY_SOCKET" "$DIR/haproxy/socket"
  for ((number = 1; number <= nodes; number++)); do
    free_port "PORT_$number"
    free_port "METRICS_PORT_$number"
    local port=PORT_$number metrics=METRICS_PORT_$number
    say "NODE_$number" "127.0.0.1:${!port}"
    say "METRICS_$number" "127.0.0.1:${!metrics}"
  done
  if [[ ,$with, = *,rabbitmq,* ]]; then
    for name in RABBITMQ RABBITMQ_DIST EPMD; do free_port "${name}_PORT"; done
    say "RABBITMQ_URL" "amqp://collabd:collabd@127.0.0.1:$RABBITMQ_PORT"
  fi
  if [[ ,$with, = *,prometheus,* ]]; then
    free_port PROMETHEUS_PORT
    say "PROMETHEUS_URL" "http://127.0.0.1:$PROMETHEUS_PORT"
  fi
  start_redis
  start_postgres
  if [[ ,$with, = *,rabbitmq,* ]]; then start_rabbitmq; fi
  for ((number = 1; number <= nodes; number++)); do start_node $number; done
  start_haproxy
  if [[ ,$with, = *,prometheus,* ]]; then start_prometheus; fi
  trap - EXIT
  print_env
}

command=${1:-}
shift || true
case $command in
  up) up "$@" ;;
  start | stop | kill)
    [ $# = 1 ] || { usage >&2; exit 2; }
    load
    if [ "$command" = kill ]; then signal "$1" KILL; else "$command" "$1"; fi
    ;;
  drain)
    load
    [[ ${1:-} =~ ^[0-9]+$ ]] || fail "drain wants a node's number"
    stop "$1"
    ;;
  down) load && down ;;
  status) load && status ;;
  env) load && print_env ;;
  -h | --help | help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
