#!/bin/bash
# Keeps Colima's virtual machine and the engine in it running. launchd starts this at boot and again when it ends.
#
# After a power cut Colima and Lima find pid files and sockets of processes that are gone, and refuse to start; and the
# engine in the machine may wait for somebody to ask it something. So: clear what is stale, start, ask, look; when that
# fails, stop by force and try again after a while that doubles; when it succeeds, go on looking.
#
# Settings (environment): SISO_COLIMA_CPUS, SISO_COLIMA_MEMORY (GiB), SISO_COLIMA_DISK (GiB), SISO_COLIMA_PROFILE.
# For tests: SISO_PAUSE (seconds of the first wait), SISO_LOOK (seconds between looks), SISO_ONCE (ends when it runs).
set -uo pipefail

PROFILE=${SISO_COLIMA_PROFILE:-default}
PAUSE=${SISO_PAUSE:-5}
LONGEST_PAUSE=300
LOOK=${SISO_LOOK:-30}
# So many looks in a row must fail before a machine that ran is started anew: one may be a Mac that just woke.
PATIENCE=3
# A machine that takes longer to start hangs; the first start, which downloads an image, is done by install.sh.
START_SECONDS=600
ASK_SECONDS=30

COLIMA_HOME=${COLIMA_HOME:-$HOME/.colima}
if [[ $PROFILE == default ]]; then INSTANCE=colima; else INSTANCE=colima-$PROFILE; fi

# launchd gives a short PATH, without Homebrew's directories.
export PATH=$PATH:/opt/homebrew/bin:/usr/local/bin

say() { printf '%s %s\n' "$(date '+%Y-%m-%dT%H:%M:%S')" "$*"; }

# bounded SECONDS COMMAND...: ends the command when it takes longer (macOS has no timeout(1)).
bounded() {
  local seconds=$1 command watch status=0
  shift
  "$@" &
  command=$!
  { sleep "$seconds" && kill -9 "$command"; } >/dev/null 2>&1 &
  watch=$!
  wait "$command" || status=$?
  # The sleep is a child of the watch: both go, or one of them would outlive this script.
  pkill -P "$watch" 2>/dev/null
  kill "$watch" 2>/dev/null
  wait "$watch" 2>/dev/null
  return "$status"
}

# True when process $1 is one of ours: process ids come back, after a power cut to somebody else.
is_ours() {
  local line
  line=$(ps -p "$1" -o command= 2>/dev/null) || return 1
  [[ $line == *lima* || $line == *colima* ]]
}

# Removes pid files whose process is gone, and then the sockets nobody can be behind.
clear_stale() {
  local file pid alive=no
  for file in "$COLIMA_HOME/_lima/$INSTANCE"/*.pid "$COLIMA_HOME/$PROFILE"/daemon/*.pid; do
    [[ -e $file ]] || continue
    pid=$(tr -dc '0-9' <"$file")
    if [[ -n $pid ]] && is_ours "$pid"; then
      alive=yes
    else
      say "removing $file: process ${pid:-none} is gone"
      rm -f "$file"
    fi
  done
  [[ $alive == no ]] || return 0
  for file in "$COLIMA_HOME/_lima/$INSTANCE"/*.sock "$COLIMA_HOME/$PROFILE"/*.sock; do
    [[ -S $file || -e $file ]] || continue
    say "removing $file: nobody is behind it"
    rm -f "$file"
  done
}

start() {
  bounded "$START_SECONDS" colima start --profile "$PROFILE" --cpu "${SISO_COLIMA_CPUS:-8}" \
    --memory "${SISO_COLIMA_MEMORY:-14}" --disk "${SISO_COLIMA_DISK:-100}"
}

# An engine that is started by its socket only starts when somebody asks it something.
poke() { bounded "$ASK_SECONDS" colima ssh --profile "$PROFILE" -- sudo docker version >/dev/null 2>&1; }

runs() {
  bounded "$ASK_SECONDS" colima status --profile "$PROFILE" >/dev/null 2>&1 && poke
}

# Keeps the machine awake on behalf of launchd's stop: what runs in the virtual machine is stopped in order.
stop() {
  say "stopping"
  bounded 120 colima stop --profile "$PROFILE"
  exit 0
}
trap stop TERM INT

main() {
  local pause=$PAUSE misses
  while true; do
    clear_stale
    if runs || { start && { poke || poke; } && runs; }; then
      say "Colima runs and its engine answers"
      [[ -z ${SISO_ONCE:-} ]] || return 0
      pause=$PAUSE misses=0
      while [[ $misses -lt $PATIENCE ]]; do
        # In the background, so that a signal is heard at once.
        sleep "$LOOK" &
        wait $!
        if runs; then misses=0; else misses=$((misses + 1)); fi
      done
      say "the engine did not answer $PATIENCE times: starting anew"
    fi
    say "stopping by force, next try in $pause s"
    bounded 120 colima stop --force --profile "$PROFILE" >/dev/null 2>&1
    sleep "$pause" &
    wait $!
    pause=$((pause * 2))
    [[ $pause -le $LONGEST_PAUSE ]] || pause=$LONGEST_PAUSE
  done
}

main
