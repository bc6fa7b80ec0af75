# shellcheck shell=bash
# Background programs with a pid file and a log, without a service manager. Source say.sh first.
# Linux and macOS; nothing is ended that is not provably the program this pid file was written for.

# The command line of process $1; nothing when there is none.
command_line() {
  if [[ -r /proc/$1/cmdline ]]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  elif [[ ! -d /proc/1 ]]; then
    ps -p "$1" -o command= 2>/dev/null || true
  fi
}

# daemon_pid PIDFILE PROGRAM DATA_DIR: prints the process id while that program runs with that data directory. A process
# id alone proves nothing: after a reboot it belongs to somebody else.
daemon_pid() {
  local pid line
  [[ -s $1 ]] || return 1
  pid=$(cat "$1")
  line=$(command_line "$pid")
  [[ $line == *"$2"* && $line == *"$3"* ]] || return 1
  printf '%s\n' "$pid"
}

# start_daemon PIDFILE LOG COMMAND...: starts the command detached from this terminal, with the memory settings of the
# service units.
start_daemon() {
  local pidfile=$1 log=$2
  shift 2
  if have setsid; then set -- setsid "$@"; fi
  set -- env "MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX:-1}" "$@"
  nohup "$@" >>"$log" 2>&1 </dev/null &
  printf '%s\n' "$!" >"$pidfile"
}

# stop_daemon PIDFILE PROGRAM DATA_DIR SECONDS: SIGTERM, and SIGKILL when that time is over.
stop_daemon() {
  local pid waited=0
  if pid=$(daemon_pid "$1" "$2" "$3"); then
    kill "$pid"
    while daemon_pid "$1" "$2" "$3" >/dev/null; do
      if [[ $waited -ge $4 ]]; then
        warn "$2 did not stop within $4 s and is killed"
        kill -9 "$pid" 2>/dev/null || true
        break
      fi
      sleep 1
      waited=$((waited + 1))
    done
  fi
  rm -f "$1"
}

# True when something listens on port $1 of this machine.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# True when http://127.0.0.1:PORT/healthz answers 200.
answers_healthy() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    read -r -t 3 _ status _ <&3
    [[ $status == 200 ]]
  ) 2>/dev/null
}

# has_ended PIDFILE PROGRAM DATA_DIR: true when that program does not run, and is not about to: until it is, the process is
# still the shell's.
has_ended() {
  ! daemon_pid "$1" "$2" "$3" >/dev/null && ! kill -0 "$(cat "$1" 2>/dev/null)" 2>/dev/null
}

# wait_healthy NAME PORT PIDFILE PROGRAM DATA_DIR LOG SECONDS: returns when it is healthy; ends the script with the end
# of the log when the program stops or the time is over.
wait_healthy() {
  local waited=0
  until answers_healthy "$2"; do
    if has_ended "$3" "$4" "$5"; then
      tail -n 20 "$6" >&2
      die "$1 stopped at once" "the whole log: $6"
    fi
    if [[ $waited -ge $7 ]]; then
      tail -n 20 "$6" >&2
      die "$1 is not healthy after $7 s" "the whole log: $6"
    fi
    sleep 1
    waited=$((waited + 1))
  done
}
