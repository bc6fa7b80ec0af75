# shellcheck shell=bash
# Words to the person: plain lines on stderr, so that stdout stays free for what a script produces.
# Sourced by every script of deploy/ and tests/.

# One line of progress.
say() { printf '==> %s\n' "$*" >&2; }

# A detail that belongs to the line of progress before it.
note() { printf '    %s\n' "$*" >&2; }

# Something is weaker than it could be; the work goes on.
warn() { printf 'warning: %s\n' "$*" >&2; }

# Ends the script: what went wrong, then (second argument, optional) what to do about it.
die() {
  printf 'error: %s\n' "$1" >&2
  if [[ $# -gt 1 ]]; then printf '\nhint: %s\n' "$2" >&2; fi
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly, or through sudo for everybody else.
as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "this step needs root: $*" "run the script as root, or install sudo"
  fi
}

# Runs a noisy command; its output goes to the log file $1 and is shown only when the command fails.
quietly() {
  local log=$1
  shift
  if "$@" >>"$log" 2>&1 </dev/null; then return 0; fi
  printf 'error: this command failed: %s\n' "$*" >&2
  tail -n 40 "$log" >&2
  note "the whole log: $log"
  return 1
}
