#!/bin/sh
# Takes from a fresh Debian tree ($1) what no container reads: package caches, manuals, translations.
set -eu
root=$1
[ -x "$root/usr/bin/dpkg" ] || { echo "not a Debian tree: $root" >&2; exit 1; }
cat >"$root/etc/dpkg/dpkg.cfg.d/90siso" <<'CFG'
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
CFG
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
  "$root"/usr/share/man "$root"/usr/share/info "$root"/usr/share/locale "$root"/var/log/*.log
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
