#!/usr/bin/env bash
# The first process of a test host: mounts its disk and serves its units, as a service manager does.
#
#   init.sh DIRECTORY NAME
#
# DIRECTORY holds disk.img; units/NAME, a program to be run for ever; held/NAME, when it shall not be; and receives
# pids/NAME and logs/NAME. Runs in mount, process and host name spaces of its own; when it ends, so does all it started.
set -euo pipefail

directory=$1

# As in the service units of deploy/systemd.
RESTART_AFTER=2
# Between two looks at what is wanted, in seconds.
GLANCE=0.05

# What others of this machine have mounted would be kept from being unmounted for as long as this host lives.
let_go_of_others() {
  local at
  while read -r _ _ _ _ at _; do
    case $at in
      /var/lib/docker/* | /run/* | /tmp/* | /var/tmp/*) umount -l "$at" 2>/dev/null || true ;;
    esac
  done </proc/self/mountinfo
}

let_go_of_others
hostname "$2"
mkdir -p "$directory"/{disk,outside,held,pids,logs}
# Process ids as others see them are told by the machine's own /proc.
mount --bind /proc "$directory/outside"
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -o loop "$directory/disk.img" "$directory/disk"

declare -A running=() not_before=()
# Nobody writes to it: reading from it is a wait that starts no program.
mkfifo "$directory/never.$$"
exec 3<>"$directory/never.$$"
rm "$directory/never.$$"

: >"$directory/pids/booted"
while :; do
  for unit in "$directory"/units/*; do
    [[ -x $unit ]] || continue
    name=${unit##*/}
    process=${running[$name]:-}
    if [[ -n $process ]] && kill -0 "$process" 2>/dev/null; then continue; fi
    if [[ -n $process ]]; then
      unset "running[$name]"
      not_before[$name]=$((SECONDS + RESTART_AFTER))
    fi
    if [[ -e $directory/held/$name ]]; then
      # Whoever lets it run again wants it at once.
      unset "not_before[$name]"
      continue
    fi
    if ((SECONDS < ${not_before[$name]:-0})); then continue; fi
    "$unit" >>"$directory/logs/$name" 2>&1 3>&- </dev/null &
    running[$name]=$!
  done
  read -r -t "$GLANCE" -u 3 _ || true
done
