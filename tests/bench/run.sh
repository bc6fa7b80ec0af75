#!/usr/bin/env bash
# Measures Siso beside others on this machine and prints a table; the same goes to a file as JSON.
#
#   tests/bench/run.sh [--only PART]... [--rounds N] [--idle-minutes N] [--json FILE]
#
#   PART   apply writes start idle; and only when asked for: scale failover node-loss loss cold
#
# All of it takes about 15 minutes after the build. Figures of a machine that does other things besides are orders of
# magnitude; ratios within one run are what counts. It needs root: everybody is measured on an engine that is started for
# that, in a network of its own, and ended afterwards.
#
# What it takes out of packages, when it is missing (nothing is installed, no service is started): etcd from this
# distribution, and Compose 2 from Debian 13, which packages it.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SISO_LOG=${SISO_LOG:-${TMPDIR:-/tmp}/siso-bench-$(id -u).log}

# shellcheck source=deploy/lib/say.sh
source "$ROOT/deploy/lib/say.sh"
# shellcheck source=deploy/lib/packages.sh
source "$ROOT/deploy/lib/packages.sh"
# shellcheck source=deploy/lib/engine.sh
source "$ROOT/deploy/lib/engine.sh"
# shellcheck source=deploy/lib/rust.sh
source "$ROOT/deploy/lib/rust.sh"

TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/siso/tools
ETCD=$TOOLS/bin/etcd
COMPOSE=$TOOLS/bin/docker-compose-2
# The Debian release that packages Compose 2, and the keys that vouch for it.
COMPOSE_SUITE=trixie
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# take PACKAGE FILE DESTINATION APT-OPTION...: one file out of a package.
take() {
  local package=$1 file=$2 destination=$3 scratch
  shift 3
  scratch=$(mktemp -d)
  (cd "$scratch" && quietly "$SISO_LOG" apt-get "$@" download "$package" && dpkg-deb -x ./"$package"_*.deb .) ||
    { rm -rf "$scratch"; return 1; }
  install -D -m 0755 "$scratch/$file" "$destination"
  rm -rf "$scratch"
}

ensure_etcd() {
  [[ ! -x $ETCD ]] || return 0
  say "Taking etcd out of the package etcd-server (writes are compared with it; no server is installed)"
  refresh_package_lists
  take etcd-server usr/bin/etcd "$ETCD" || warn "etcd cannot be had here; writes are measured alone"
}

# The lists of the other release are kept apart from those of this machine.
ensure_compose() {
  local lists mirror status=0
  [[ ! -x $COMPOSE ]] || return 0
  if [[ ! -r $KEYRING ]]; then
    warn "Compose 2 is not compared: $KEYRING is missing, and without it Debian's packages cannot be verified"
    return 0
  fi
  say "Taking Compose 2 out of Debian 13's package docker-compose (apply is compared with it; nothing is installed)"
  lists=$(mktemp -d)
  mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
  # Where this machine gets its own packages.
  # shellcheck disable=SC2016 # apt-get expands it
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 1p)
  printf 'deb [signed-by=%s] %s %s main\n' "$KEYRING" "$mirror" "$COMPOSE_SUITE" >"$lists/sources.list"
  local apart=(-o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$lists/lists" -o "Dir::Cache=$lists/cache" -o APT::Sandbox::User=root)
  quietly "$SISO_LOG" apt-get "${apart[@]}" update &&
    take docker-compose usr/libexec/docker/cli-plugins/docker-compose "$COMPOSE" "${apart[@]}" || status=1
  rm -rf "$lists"
  [[ $status -eq 0 ]] || warn "Compose 2 cannot be had here and is not compared"
}

main() {
  local arguments=() json=$ROOT/target/bench.json shown
  case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; return ;;
  esac
  shown="tests/bench/run.sh${*:+ $*}"
  while [[ $# -gt 0 ]]; do
    case $1 in
      --json) [[ $# -gt 1 ]] || die "--json needs a file"; json=$2; shift 2 ;;
      *) arguments+=("$1"); shift ;;
    esac
  done
  [[ $EUID -eq 0 ]] || die "only root can start the engine that everybody is measured on" "sudo $shown"
  cd "$ROOT"
  ensure_engine "$0"
  ensure_rust
  ensure_etcd
  ensure_compose
  "$ROOT/deploy/images/build.sh" test
  say "Building the programs as they are released"
  cargo build --release --locked -p siso-scheduler -p siso-agent -p siso-cli -p siso-bench
  if [[ -x $ETCD ]]; then arguments+=(--etcd "$ETCD"); fi
  if [[ -x $COMPOSE ]]; then arguments+=(--compose "$COMPOSE"); fi
  # A directory of its own: runs of the tests on this machine wait for each other over the usual one.
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  say "Measuring"
  TMPDIR=$scratch "$ROOT/target/release/siso-bench" --json "$json" --shown-as "$shown" "${arguments[@]}"
}

main "$@"
