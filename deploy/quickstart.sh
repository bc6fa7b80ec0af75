#!/usr/bin/env bash
# From nothing to a running stack on this machine.
#
#   deploy/quickstart.sh                    installs what is missing, builds, starts Siso, applies the first stack
#   deploy/quickstart.sh --down             removes all of it; the data stays
#   deploy/quickstart.sh --down --volumes   removes all of it, the data too
#
# Running it again is safe: what is there and up to date is left alone.
#
# Settings (environment):
#   SISO_HOME           where the cluster's state lives        ~/.local/state/siso
#   SISO_PORT           port of the scheduler                  7400
#   SISO_AGENT_PORT     port of the agent                      7401
#   SISO_METRICS_PORT   /healthz and /metrics: this port for   7480
#                       the scheduler, the next for the agent
#   SISO_WEB_PORT       port of the example's page             8080
#   SISO_COLIMA_MEMORY, SISO_COLIMA_CPUS, SISO_COLIMA_DISK     14, 8, 100 (macOS only)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SISO_HOME=${SISO_HOME:-${XDG_STATE_HOME:-$HOME/.local/state}/siso}
SISO_PORT=${SISO_PORT:-7400}
SISO_AGENT_PORT=${SISO_AGENT_PORT:-7401}
SISO_METRICS_PORT=${SISO_METRICS_PORT:-7480}
AGENT_METRICS_PORT=$((SISO_METRICS_PORT + 1))
export SISO_WEB_PORT=${SISO_WEB_PORT:-8080}
export SISO_LOG=$SISO_HOME/quickstart.log

# shellcheck source=deploy/lib/say.sh
source "$ROOT/deploy/lib/say.sh"
# shellcheck source=deploy/lib/packages.sh
source "$ROOT/deploy/lib/packages.sh"
# shellcheck source=deploy/lib/engine.sh
source "$ROOT/deploy/lib/engine.sh"
# shellcheck source=deploy/lib/rust.sh
source "$ROOT/deploy/lib/rust.sh"
# shellcheck source=deploy/lib/daemon.sh
source "$ROOT/deploy/lib/daemon.sh"

STACK_FILE=$ROOT/deploy/stacks/quickstart.yaml
BIN=$ROOT/target/release
SCHEDULER_DIR=$SISO_HOME/scheduler
AGENT_DIR=$SISO_HOME/agent
CONTEXT_FILE=$SCHEDULER_DIR/admin.yaml
# Says that this directory was made here and may be removed by --down.
MARKER=$SISO_HOME/.made-by-quickstart
CONTEXT=quickstart
CONTEXT_COPY=${XDG_CONFIG_HOME:-$HOME/.config}/siso/contexts/$CONTEXT.yaml
CURRENT=${XDG_CONFIG_HOME:-$HOME/.config}/siso/current
NODE=mini-1
# First leadership and a certificate for the agent take about a second; the rest is for a busy machine.
START_SECONDS=60
STOP_SECONDS=30
# The database initialises its directory in this time; pulling is done before.
APPLY_TIMEOUT=5m

sisoctl() { "$BIN/sisoctl" --context-file "$CONTEXT_FILE" "$@"; }

scheduler_pid() { daemon_pid "$SISO_HOME/scheduler.pid" siso-scheduler "$SCHEDULER_DIR"; }
agent_pid() { daemon_pid "$SISO_HOME/agent.pid" siso-agent "$AGENT_DIR"; }
stop_scheduler() { stop_daemon "$SISO_HOME/scheduler.pid" siso-scheduler "$SCHEDULER_DIR" "$STOP_SECONDS"; }
stop_agent() { stop_daemon "$SISO_HOME/agent.pid" siso-agent "$AGENT_DIR" "$STOP_SECONDS"; }

prepare_home() {
  if [[ -e $SISO_HOME && ! -e $MARKER && -n $(ls -A "$SISO_HOME") ]]; then
    die "$SISO_HOME exists and is not from this script" "set SISO_HOME to another directory"
  fi
  mkdir -p "$SISO_HOME"
  chmod 0700 "$SISO_HOME"
  : >"$MARKER"
}

# need_port PORT VARIABLE: ends the script when another program listens there.
need_port() {
  if port_open "$1"; then die "port $1 is in use by another program" "$2=$(($1 + 1000)) $0"; fi
}

check_ports() {
  if ! scheduler_pid >/dev/null; then
    need_port "$SISO_PORT" SISO_PORT
    need_port "$SISO_METRICS_PORT" SISO_METRICS_PORT
  fi
  if ! agent_pid >/dev/null; then
    need_port "$SISO_AGENT_PORT" SISO_AGENT_PORT
    need_port "$AGENT_METRICS_PORT" SISO_METRICS_PORT
  fi
  # The page of an earlier run may hold its port; it is replaced or kept by apply.
  if [[ -z $(own_containers --filter "publish=$SISO_WEB_PORT") ]]; then need_port "$SISO_WEB_PORT" SISO_WEB_PORT; fi
}

build() {
  say "Building siso-scheduler, siso-agent and sisoctl (cargo build --release)"
  (cd "$ROOT" && cargo build --release --locked -p siso-scheduler -p siso-agent -p siso-cli)
}

# A program that was built again since it was started is started again; its containers stay.
start_scheduler() {
  if scheduler_pid >/dev/null && [[ $BIN/siso-scheduler -nt $SISO_HOME/scheduler.pid ]]; then stop_scheduler; fi
  if ! scheduler_pid >/dev/null; then
    say "Starting the scheduler on port $SISO_PORT"
    start_daemon "$SISO_HOME/scheduler.pid" "$SISO_HOME/scheduler.log" \
      "$BIN/siso-scheduler" --data-dir "$SCHEDULER_DIR" --cluster-name quickstart \
      --listen "127.0.0.1:$SISO_PORT" --advertise "127.0.0.1:$SISO_PORT" \
      --metrics-listen "127.0.0.1:$SISO_METRICS_PORT"
  fi
  wait_healthy "the scheduler" "$SISO_METRICS_PORT" "$SISO_HOME/scheduler.pid" siso-scheduler "$SCHEDULER_DIR" \
    "$SISO_HOME/scheduler.log" "$START_SECONDS"
  use_context
}

# Commands are for this cluster from now on, until it is removed.
use_context() {
  local before
  before=$(cat "$CURRENT" 2>/dev/null || true)
  "$BIN/sisoctl" context add "$CONTEXT" --file "$CONTEXT_FILE" >/dev/null
  "$BIN/sisoctl" context use "$CONTEXT" >/dev/null
  [[ -n $before && $before != "$CONTEXT" ]] || return 0
  printf '%s\n' "$before" >"$SISO_HOME/context-before"
  warn "sisoctl asks this cluster now, not '$before': sisoctl context use $before (--down does that, too)"
}

start_agent() {
  if agent_pid >/dev/null && [[ $BIN/siso-agent -nt $SISO_HOME/agent.pid ]]; then stop_agent; fi
  if ! agent_pid >/dev/null; then
    say "Starting the agent of node $NODE on port $SISO_AGENT_PORT"
    (umask 077 && sisoctl token create --role node >"$SISO_HOME/agent.token")
    start_daemon "$SISO_HOME/agent.pid" "$SISO_HOME/agent.log" \
      "$BIN/siso-agent" --data-dir "$AGENT_DIR" --name "$NODE" \
      --scheduler "127.0.0.1:$SISO_PORT" --token-file "$SISO_HOME/agent.token" \
      --listen "127.0.0.1:$SISO_AGENT_PORT" --advertise "127.0.0.1:$SISO_AGENT_PORT" \
      --metrics-listen "127.0.0.1:$AGENT_METRICS_PORT" --docker-host "$(engine_endpoint)"
  fi
  wait_healthy "the agent" "$AGENT_METRICS_PORT" "$SISO_HOME/agent.pid" siso-agent "$AGENT_DIR" \
    "$SISO_HOME/agent.log" "$START_SECONDS"
}

apply_stack() {
  say "Applying ${STACK_FILE#"$ROOT/"}"
  sisoctl apply --yes --timeout "$APPLY_TIMEOUT" "$STACK_FILE" >&2
}

farewell() {
  say "Ready after $SECONDS s"
  sisoctl placement
  cat <<END

The page:      http://localhost:$SISO_WEB_PORT/
Logs, state:   $SISO_HOME
Remove it:     deploy/quickstart.sh --down

Try next:
  target/release/sisoctl ps
  target/release/sisoctl explain quickstart/postgres
  target/release/sisoctl exec quickstart/postgres -- psql -U siso -c 'SELECT count(*) FROM memories'
END
}

up() {
  prepare_home
  say "Checking what this machine has"
  ensure_engine "$0" "${arguments[@]+"${arguments[@]}"}"
  ensure_rust
  check_ports
  build
  "$ROOT/deploy/images/build.sh" postgres vector-demo web
  start_scheduler
  start_agent
  apply_stack
  farewell
}

# The identity of this cluster, as its containers and volumes carry it.
own_cluster() { sed -n 's/^cluster: *//p' "$CONTEXT_FILE" 2>/dev/null | tr -d "\"'" || true; }

own_containers() {
  local cluster
  cluster=$(own_cluster)
  [[ -n $cluster ]] || return 0
  docker ps --all --quiet --filter "label=siso.cluster=$cluster" "$@"
}

own_things() { docker "$1" ls --quiet --filter "label=siso.cluster=$2"; }

# What the cluster itself could not remove any more, because it does not run. The data only when asked to.
sweep() {
  local cluster id
  cluster=$(own_cluster)
  [[ -n $cluster ]] && engine_answers || return 0
  for id in $(own_containers); do
    note "removing container $(docker inspect --format '{{.Name}}' "$id")"
    docker stop --time "$STOP_SECONDS" "$id" >/dev/null
    docker rm "$id" >/dev/null
  done
  for id in $(own_things network "$cluster"); do docker network rm "$id" >/dev/null; done
  # An earlier quickstart was another cluster; the data it left was used by this one.
  for id in $({ own_things volume "$cluster"; docker volume ls --quiet --filter label=siso.stack=quickstart; } | sort -u); do
    if [[ $volumes == yes ]]; then
      note "removing volume $id"
      docker volume rm "$id" >/dev/null
    else
      note "the data stays: docker volume rm $id removes it"
    fi
  done
}

remove_stacks() {
  local stack stacks
  local options=(--yes)
  if [[ $volumes == yes ]]; then options+=(--volumes); fi
  scheduler_pid >/dev/null && agent_pid >/dev/null || return 0
  # The stacks' names out of JSON, without a tool for JSON; no match means no stacks.
  stacks=$(sisoctl stack ls --output json | grep -o '"stack": *"[^"]*"' | cut -d '"' -f 4 || true)
  for stack in $stacks; do
    say "Removing stack $stack"
    # What it says of volumes is for clusters that stay.
    sisoctl stack rm "$stack" "${options[@]}" --quiet >&2 ||
      warn "the cluster did not remove $stack; its containers are removed directly"
  done
}

down() {
  local before
  if [[ ! -e $MARKER ]]; then
    say "Nothing to remove: $SISO_HOME is not from this script"
    return
  fi
  if [[ -x $BIN/sisoctl && -e $CONTEXT_FILE ]]; then remove_stacks; fi
  say "Stopping the agent and the scheduler"
  stop_agent
  stop_scheduler
  sweep
  before=$(cat "$SISO_HOME/context-before" 2>/dev/null || true)
  rm -rf "$SISO_HOME"
  rm -f "$CONTEXT_COPY"
  forget_current_context "$before"
  say "Removed. The Docker Engine and the images stay."
}

# What named the context that is gone, and the directories when nothing else is in them. The one before, $1, is the
# current one again.
forget_current_context() {
  local contexts=${CONTEXT_COPY%/*}
  if [[ -f $CURRENT && $(cat "$CURRENT") == "$CONTEXT" ]]; then
    rm -f "$CURRENT"
    if [[ -n $1 && -e $contexts/$1.yaml && -x $BIN/sisoctl ]]; then "$BIN/sisoctl" context use "$1" >&2; fi
  fi
  rm -f "${CONTEXT_COPY%.yaml}.schedulers"
  rmdir "$contexts" "${contexts%/*}" 2>/dev/null || true
}

main() {
  local action=up
  arguments=("$@")
  volumes=no
  while [[ $# -gt 0 ]]; do
    case $1 in
      --down) action=down ;;
      --volumes) volumes=yes ;;
      -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; return ;;
      *) die "unknown argument $1" "see --help" ;;
    esac
    shift
  done
  if [[ $action == up && $volumes == yes ]]; then die "--volumes belongs to --down" "see --help"; fi
  "$action"
}

main "$@"
