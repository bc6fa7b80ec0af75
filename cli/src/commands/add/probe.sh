#!/bin/sh
# Looks at a machine that is to become a node; changes nothing. One `key value` a line.
set -u
say() { printf '%s %s\n' "$1" "$2"; }
say os "$(uname -s)"
say arch "$(uname -m)"
say host "$(uname -n)"
if [ "$(id -u)" = 0 ]; then
  as_root() { "$@"; }
  say root self
elif sudo -n true 2>/dev/null; then
  as_root() { sudo -n "$@"; }
  say root sudo
else
  as_root() { "$@"; }
  say root none
fi
# What its agent was told so far, a line of it a line; what it is told to keep its data in counts below.
settings=/etc/siso/agent.env
if as_root test -e "$settings"; then
  if as_root sed 's/^/setting /' "$settings" 2>/dev/null; then told=yes; else told=unreadable; fi
  printf '\ntold %s\n' "$told"
fi
data=$(as_root sed -n 's/^[[:space:]]*SISO_DATA_DIR=//p' "$settings" 2>/dev/null | tail -n 1 | tr -d "\"'")
if version=$(as_root docker version --format '{{.Server.Version}}' 2>/dev/null) && [ -n "$version" ]; then
  say engine "$version"
elif command -v docker >/dev/null 2>&1; then
  say engine silent
else
  say engine absent
fi
if [ -r /proc/meminfo ]; then
  awk '$1 == "MemTotal:" { print "total", $2 } $1 == "MemAvailable:" { print "available", $2 }' /proc/meminfo
fi
say clock "$(date +%s)"
say services "$(systemctl is-system-running 2>/dev/null || true)"
identity=${data:-/var/lib/siso/agent}/identity.pem
if as_root test -e "$identity"; then
  say member yes
  # The first one is its own, which says of which cluster it is.
  as_root sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/{s/^/certificate /p;/END CERTIFICATE/q}' "$identity" 2>/dev/null
else
  say member no
fi
