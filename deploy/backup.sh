#!/usr/bin/env bash
# Saves what a cluster keeps, and puts it back: its records in PostgreSQL, and what is in Redis alone.
#
# Records come first, Redis right behind them, so that what the records say of a room has happened in the room. Putting
# them back, what the records hold is taken from the records alone: recorded sessions and their workspaces are left out
# of Redis, and nodes make them again. Every other room begins a new order, because clients may remember places in the
# old one that come behind the backup; whoever comes back with such a place is shown the room as it is.
#
# A backup has passwords' hashes, the secret of the nodes and everything people said: keep it as you keep the database.
# Passwords are read from the URLs, given to programs by their environment alone, and never printed.
set -euo pipefail
umask 077

usage() {
  cat <<'USAGE'
usage: backup.sh save [--keep N] FOLDER    a new backup FOLDER/collabd-<time>; its path on standard output
       backup.sh verify BACKUP             are its files whole?
       backup.sh restore [--only records|redis] BACKUP

  --keep N     after a backup that went well, delete all but the N youngest in FOLDER
  --only PART  put back the records alone, or Redis alone

Settings, as the nodes have them:
  DATABASE_URL  postgres://[user[:password]@]host[:port]/database; empty or none: no records
  REDIS_URL     redis://[[user]:password@]host[:port][/database], with TLS rediss://; empty: no Redis.
                With Sentinels name the master, of a cluster one master after the other.
  REDIS_CA      what TLS to Redis trusts, in PEM; empty: the system's
  KEY_PREFIX    what stands in front of every key; other keys are not put back

`save` may run while nodes do. `restore` wants every node stopped and both servers empty: it deletes nothing.
Needs pg_dump, pg_restore and psql no older than the server; redis-cli, redis-check-rdb and, to restore, redis-server.
Exit code: 0 done, 1 something failed, 2 wrong usage.
USAGE
}

say() { printf 'backup.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
misused() { say "$*"; usage >&2; exit 2; }

need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || fail "$program is missing"
  done
}

# Of a part of a URL.
decoded() {
  local text=${1//\\/\\\\}
  printf '%b' "${text//%/\\x}"
}

# Takes a URL apart: user and password decoded, host, port, path, query as they stand.
user='' password='' host='' port='' path='' query='' login=''
take_apart() {
  local rest=${1#*://} place credentials=''
  query='' path='' user='' password='' port='' login=''
  case $rest in *\?*) query=${rest#*\?} rest=${rest%%\?*} ;; esac
  place=${rest%%/*}
  case $rest in */*) path=${rest#*/} ;; esac
  case $place in *@*) credentials=${place%@*} place=${place##*@} ;; esac
  login=${credentials%%:*}
  user=$(decoded "$login")
  case $credentials in *:*) password=$(decoded "${credentials#*:}") ;; esac
  case $place in
    \[*\]:*) port=${place##*:} host=${place%:*} ;;
    \[*\]) host=$place ;;
    *:*) port=${place##*:} host=${place%%:*} ;;
    *) host=$place ;;
  esac
}

# Where the records are. Programs are told the password by their environment: arguments can be seen by everybody.
records_url='' records_password=''
find_records() {
  case ${DATABASE_URL:-} in
    '' | none) return 0 ;;
    postgres://* | postgresql://* | postgres+*://* | postgresql+*://*) ;;
    *) misused 'DATABASE_URL is no PostgreSQL: of a SQLite file make a copy with "sqlite3 FILE .backup"' ;;
  esac
  take_apart "$DATABASE_URL"
  records_password=$password
  records_url="postgresql://${login:+$login@}$host${port:+:$port}/$path${query:+?$query}"
}

with_records() {
  local program=$1
  shift
  # Programs never ask for a password: nobody may be there.
  PGPASSWORD=$records_password PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10} \
    "$program" --no-password --dbname="$records_url" "$@"
}

# Where Redis is.
redis_place=() redis_password='' redis_database=0
find_redis() {
  case ${REDIS_URL:-} in
    '') return 0 ;;
    redis://* | rediss://*) ;;
    redis-sentinel*) misused 'REDIS_URL names Sentinels; name the master they watch' ;;
    *) misused 'REDIS_URL is no single server; name one master of the cluster after the other' ;;
  esac
  take_apart "$REDIS_URL"
  redis_password=$password
  redis_database=${path:-0}
  host=${host#\[} host=${host%\]}
  redis_place=(-h "$host" -p "${port:-6379}" -n "$redis_database")
  if [ -n "$user" ]; then redis_place+=(--user "$user"); fi
  case $REDIS_URL in
    rediss://*)
      redis_place+=(--tls)
      if [ -n "${REDIS_CA:-}" ]; then redis_place+=(--cacert "$REDIS_CA"); fi
      ;;
  esac
}

with_redis() {
  if [ -n "$redis_password" ]; then
    REDISCLI_AUTH=$redis_password redis-cli "${redis_place[@]}" "$@"
  else
    redis-cli "${redis_place[@]}" "$@"
  fi
}

# What a program says is shown only when it fails.
quietly() {
  local said
  said=$(mktemp "$scratch/said.XXXXXX")
  if ! "$@" >"$said" 2>&1; then
    cat "$said" >&2
    return 1
  fi
}

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# One place for what is made on the way; what was started is ended, and what was made is taken away.
scratch='' helper='' partial=''
clean_up() {
  if [ -n "$helper" ]; then kill "$helper" 2>/dev/null || true; wait "$helper" 2>/dev/null || true; fi
  if [ -n "$partial" ]; then rm -rf -- "$partial"; fi
  if [ -n "$scratch" ]; then rm -rf -- "$scratch"; fi
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

check_files() {
  local backup=$1
  (cd "$backup" && sha256sum --check --quiet SHA256SUMS) >&2 || fail "$backup is not whole"
  if [ -e "$backup/records.dump" ]; then
    need pg_restore
    quietly pg_restore --list "$backup/records.dump" || fail "$backup/records.dump cannot be read"
  fi
  if [ -e "$backup/redis.rdb" ]; then
    need redis-check-rdb
    quietly redis-check-rdb "$backup/redis.rdb" || fail "$backup/redis.rdb cannot be read"
  fi
}

# --- save

save() {
  local folder=$1 keep=$2 made name
  find_records
  find_redis
  if [ -z "$records_url" ] && [ ${#redis_place[@]} -eq 0 ]; then
    misused 'nothing to save: neither DATABASE_URL nor REDIS_URL is set'
  fi
  mkdir -p -- "$folder"
  made=$(date -u +%Y%m%dT%H%M%SZ)
  name=$folder/collabd-$made
  if [ -e "$name" ]; then fail "$name is there already"; fi
  partial=$folder/.collabd-$made.partial
  mkdir -- "$partial"
  printf 'begun=%s\n' "$(now)" >"$partial/ABOUT"
  if [ -n "$records_url" ]; then
    need pg_dump pg_restore
    quietly with_records pg_dump --format=custom --no-owner --no-privileges --file="$partial/records.dump" ||
      fail 'the records were not saved'
    printf 'records=%s\n' "$(now)" >>"$partial/ABOUT"
  fi
  if [ ${#redis_place[@]} -gt 0 ]; then
    need redis-cli redis-check-rdb
    # The file is as it was soon after: a server waits a little for more replicas that may want the same.
    printf 'redis=%s\n' "$(now)" >>"$partial/ABOUT"
    quietly with_redis --rdb "$partial/redis.rdb" || fail 'Redis was not saved'
  fi
  (cd "$partial" && sha256sum -- * >SHA256SUMS)
  check_files "$partial"
  # A backup is there as a whole or not at all.
  mv -- "$partial" "$name"
  partial=''
  printf '%s\n' "$name"
  if [ -n "$keep" ]; then drop_old "$folder" "$keep"; fi
}

drop_old() {
  local folder=$1 keep=$2 found old
  # Their names say their time.
  found=("$folder"/collabd-[0-9]*T[0-9]*Z)
  for old in "${found[@]:0:$((${#found[@]} > keep ? ${#found[@]} - keep : 0))}"; do
    rm -rf -- "$old"
    say "deleted $old"
  done
}

# --- restore

# One page of a server's keys as RESTORE commands. A room's order ends with its old epoch, as when nodes find that a
# server lost writes (`rotate`): the log goes, the epoch is another, and `former` still answers repeated commands.
# KEYS: none. ARGV: 1 cursor, 2 prefix, 3 '1' when records hold workspaces, too
# Returns {next cursor, number of keys, commands}
PAGE=$(
  cat <<'LUA'
local prefix, with_records = ARGV[2], ARGV[3] == '1'
math.randomseed(tonumber(ARGV[4]))

local function starts(text, with) return string.sub(text, 1, #with) == with end

-- The name in a key, without braces and prefix; nothing for keys of others.
local function named(key)
  local plain = string.sub(key, 1, 1) == '{' and string.sub(key, 2) or key
  return starts(plain, prefix) and string.sub(plain, #prefix + 1) or nil
end

local function wanted(key)
  local name = named(key)
  if not name or string.match(key, '}:log$') then return false end
  -- Made again of the records.
  if starts(name, 'session:r-') or starts(name, 'code_r-') then return false end
  if with_records and starts(name, 'workspace:') then return string.match(key, '}:hooks') ~= nil end
  return true
end

local function part(text) return '$' .. #text .. '\r\n' .. text .. '\r\n' end

local page = redis.call('SCAN', ARGV[1], 'COUNT', 100)
local commands = {}
for _, key in ipairs(page[2]) do
  if wanted(key) then
    if redis.call('TYPE', key).ok == 'hash' then
      local epoch = redis.call('HGET', key, 'epoch')
      if epoch then
        -- 48 bits, and not 0.
        local another = string.format('%d', math.random(1, 2 ^ 24 - 1) * 2 ^ 24 + math.random(0, 2 ^ 24 - 1))
        redis.call('HSET', key, 'epoch', another, 'former', epoch)
      end
    end
    local ends, body = redis.call('PEXPIRETIME', key), redis.call('DUMP', key)
    if body then
      -- By the clock: what is moved for a while lives no longer.
      local life = string.format('%d', math.max(ends, 0))
      local command = { 'RESTORE', key, life, body }
      if ends > 0 then command[5] = 'ABSTTL' end
      for at, word in ipairs(command) do command[at] = part(word) end
      commands[#commands + 1] = '*' .. #command .. '\r\n' .. table.concat(command)
    end
  end
end
return { page[1], #commands, table.concat(commands) }
LUA
)

restore() {
  local backup=$1 only=$2 records='' redis=''
  find_records
  find_redis
  [ -d "$backup" ] || fail "$backup is no backup"
  if [ "$only" != redis ] && [ -e "$backup/records.dump" ]; then records=1; fi
  if [ "$only" != records ] && [ -e "$backup/redis.rdb" ]; then redis=1; fi
  if [ -z "$records$redis" ]; then fail "$backup has nothing of what is asked for"; fi
  if [ -n "$records" ] && [ -z "$records_url" ]; then
    misused 'the backup has records: set DATABASE_URL, or --only redis'
  fi
  if [ -n "$redis" ] && [ ${#redis_place[@]} -eq 0 ]; then
    misused 'the backup has Redis: set REDIS_URL, or --only records'
  fi
  check_files "$backup"
  # Both are looked at before either is written to.
  if [ -n "$records" ]; then see_that_records_are_empty; fi
  if [ -n "$redis" ]; then see_that_redis_is_empty; fi
  if [ -n "$records" ]; then restore_records "$backup"; fi
  if [ -n "$redis" ]; then restore_redis "$backup"; fi
}

see_that_records_are_empty() {
  local tables
  need psql
  tables=$(with_records psql --no-psqlrc --tuples-only --no-align --command \
    "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')") ||
    fail 'the database cannot be asked'
  if [ "$tables" != 0 ]; then
    fail "the database has $tables tables: stop all nodes, and make an empty one, or name another in DATABASE_URL"
  fi
}

see_that_redis_is_empty() {
  local glob found
  need redis-cli redis-server
  glob=$(printf '%s' "${KEY_PREFIX:-}" | sed 's/[][*?\\]/\\&/g')
  found=$(with_redis ping) || fail 'Redis cannot be asked'
  [ "$found" = PONG ] || fail "Redis answers: $found"
  found=$( (with_redis --scan --pattern "$glob*" && with_redis --scan --pattern "{$glob*") | sort -u) || fail 'Redis cannot be asked'
  if [ -n "$found" ]; then
    fail "Redis has $(printf '%s\n' "$found" | wc -l) keys: stop all nodes, and empty it, or name another in REDIS_URL"
  fi
}

restore_records() {
  quietly with_records pg_restore --exit-on-error --single-transaction --no-owner --no-privileges "$1/records.dump" ||
    fail 'the records were not put back; the database is as it was'
  say 'the records are back'
}

# A server of our own reads the file, on a socket that only we can reach: so whatever Redis is to be filled, as a
# service or with an append-only file, it is told by ordinary commands.
restore_redis() {
  local backup chance with_records=0 cursor=0 count=0 keys=0
  backup=$(cd "$1" && pwd)
  if [ -e "$backup/records.dump" ]; then with_records=1; fi
  redis-server --port 0 --unixsocket "$scratch/socket" --unixsocketperm 700 --dir "$backup" --dbfilename redis.rdb \
    --save '' --appendonly no --logfile '' --daemonize no >"$scratch/log" 2>&1 &
  helper=$!
  until [ "$(own ping 2>/dev/null)" = PONG ]; do
    if ! kill -0 "$helper" 2>/dev/null; then
      cat "$scratch/log" >&2
      fail "no server could be made of $backup/redis.rdb"
    fi
    # It tells nobody when it has read all.
    sleep 0.1
  done
  while :; do
    chance=$(od -An -N3 -tu4 /dev/urandom)
    own eval "$PAGE" 0 "$cursor" "${KEY_PREFIX:-}" "$with_records" "${chance// /}" >"$scratch/page"
    { read -r cursor && read -r count; } <"$scratch/page"
    # A script that failed says so in the place of the cursor.
    case $cursor$count in *[!0-9]*) fail "Redis' keys cannot be read: $cursor" ;; esac
    if [ "$count" -gt 0 ]; then
      # Into a file, and out of it: what has been read by the shell may have no zeros in it.
      tail -n +3 "$scratch/page" >"$scratch/commands"
      quietly fill || fail 'Redis was not filled; empty it before you try again'
      keys=$((keys + count))
    fi
    if [ "$cursor" = 0 ]; then break; fi
  done
  say "Redis is back: $keys keys"
}

own() { env -u REDISCLI_AUTH redis-cli -s "$scratch/socket" -n "$redis_database" --raw "$@"; }

fill() { with_redis --pipe <"$scratch/commands"; }

# --- the command line

word=${1:-}
if [ $# -gt 0 ]; then shift; fi
keep='' only=''
while [ $# -gt 0 ]; do
  case $1 in
    --keep) keep=${2:-} && shift ;;
    --only) only=${2:-} && shift ;;
    --) shift && break ;;
    -*) misused "$1 is unknown" ;;
    *) break ;;
  esac
  shift
done
case $word in
  -h | --help | help) usage && exit 0 ;;
  save | verify | restore) [ $# -eq 1 ] || misused "$word takes one path" ;;
  *) misused 'say save, verify or restore' ;;
esac
case $keep in
  '' | [1-9] | [1-9][0-9] | [1-9][0-9][0-9]) [ -z "$keep" ] || [ "$word" = save ] || misused "$word knows no --keep" ;;
  *) misused '--keep takes a number from 1 to 999' ;;
esac
case $only in
  '' | records | redis) [ -z "$only" ] || [ "$word" = restore ] || misused "$word knows no --only" ;;
  *) misused '--only takes records or redis' ;;
esac
scratch=$(mktemp -d)
case $word in
  save) save "$1" "$keep" ;;
  verify)
    [ -d "$1" ] || fail "$1 is no backup"
    check_files "$1"
    ;;
  restore) restore "$1" "$only" ;;
esac
