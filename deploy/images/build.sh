#!/usr/bin/env bash
# Obtains the images of the example stacks and of the tests.
#
#   deploy/images/build.sh [--no-pull] [NAME...]      all of them without a NAME, but for `machine`, which the tests alone need
#
# Names: base test machine postgres vector-demo web stand-in neo4j brain-api ralph-agent claude-code-runtime
#        file-watcher mcp-servers
#
# An image that exists outside this project (the base, PostgreSQL with pgvector, Neo4j) is pulled when a registry
# answers. Without one, and always with --no-pull, it is built from Debian's packages under the same tag, so that stack
# files need no change. What stands in for something else says so in its labels.
#
# An image carries the hash of everything it was built from in the label `siso.content`: what did not change is not
# built again. Removing an image (`docker rmi`) is always safe.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SISO_LOG=${SISO_LOG:-${TMPDIR:-/tmp}/siso-images-$(id -u).log}
# shellcheck source=deploy/lib/say.sh
source "$HERE/../lib/say.sh"
# shellcheck source=deploy/lib/packages.sh
source "$HERE/../lib/packages.sh"
# shellcheck source=deploy/lib/engine.sh
source "$HERE/../lib/engine.sh"
# shellcheck source=deploy/lib/registry.sh
source "$HERE/../lib/registry.sh"

ALL=(base test postgres stand-in vector-demo web neo4j brain-api ralph-agent claude-code-runtime file-watcher mcp-servers)
# Debian 13 packages PostgreSQL together with pgvector.
SUITE=trixie
OFFICIAL_BASE=debian:trixie-slim
LABEL=siso.content

# tag, directory, parent and build arguments of the image $1, in the variables of these names.
describe() {
  tag=siso/$1:1 directory=$HERE/$1 parent=base arguments=()
  case $1 in
    base) parent= ;;
    test | machine | stand-in) ;;
    postgres) tag=pgvector/pgvector:pg16 ;;
    vector-demo | web) parent=stand-in ;;
    neo4j) tag=neo4j:5; service neo4j 7474 7687 ;;
    brain-api) service brain-api 8000 ;;
    ralph-agent) service ralph-agent 8001 ;;
    claude-code-runtime) service claude-code-runtime 8002 ;;
    file-watcher) service file-watcher 8003 ;;
    mcp-servers) service mcp-servers 8004 ;;
    *) die "there is no image called '$1'" "the names are: ${ALL[*]}" ;;
  esac
}

# A service of the team: the common stand-in under its own name and ports.
service() {
  directory=$HERE/service parent=stand-in
  arguments=(--build-arg "NAME=$1" --build-arg "PORT=$2" --build-arg "ALSO=${3:-}")
}

sha256() { if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

label_of() { docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$1" 2>/dev/null || true; }

present() { docker image inspect "$1" >/dev/null 2>&1; }

# The hash of all that goes into the image: its directory, its arguments, its parent.
content_hash() {
  {
    printf '%s\n' "$SUITE" "$tag" "${arguments[@]+"${arguments[@]}"}"
    if [[ -n $parent ]]; then label_of "siso/$parent:1"; fi
    find "$directory" -type f | LC_ALL=C sort | while IFS= read -r file; do
      printf '%s\n' "${file#"$directory"}"
      cat "$file"
    done
  } | sha256
}

# Debian's mirror as this machine's package sources name it; nothing (debootstrap's own choice) when they name none.
debian_mirror() {
  local sources
  sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
  awk '/^[[:space:]]*#/ { next }
       /^(URIs:|deb[[:space:]])/ { for (i = 2; i <= NF; i++) if ($i ~ /^https?:.*\/debian\/?$/) { print $i; exit } }' \
    <<<"$sources"
}

build_base() {
  local root mirror
  if [[ $pull == yes ]] && registry_answers "$OFFICIAL_BASE"; then
    note "pulling $OFFICIAL_BASE"
    quietly "$SISO_LOG" docker build --pull --build-arg "ORIGIN=$OFFICIAL_BASE" --label "$LABEL=$hash" -t "$tag" "$directory"
    return
  fi
  have apt-get || die "no registry answers, and only a Debian-like system can build a base image without one"
  install_packages "makes a Debian base image without a registry" debootstrap debian-archive-keyring
  mirror=$(debian_mirror)
  root=$(mktemp -d "${TMPDIR:-/tmp}/siso-base.XXXXXX")
  # Packages are written as root.
  # shellcheck disable=SC2064  # the directory of now is meant
  trap "as_root rm -rf '$root'" EXIT
  note "debootstrap of Debian $SUITE (about half a minute)"
  quietly "$SISO_LOG" as_root debootstrap --variant=minbase "$SUITE" "$root" ${mirror:+"$mirror"}
  as_root "$directory/slim.sh" "$root"
  as_root tar -C "$root" -c . | docker import - siso/debootstrap:1 >/dev/null
  quietly "$SISO_LOG" docker build --build-arg ORIGIN=siso/debootstrap:1 --label "$LABEL=$hash" -t "$tag" "$directory"
  docker rmi siso/debootstrap:1 >/dev/null 2>&1 || true
  as_root rm -rf "$root"
  trap - EXIT
}

# The network of the host, because the build installs packages and a machine behind a proxy or a VPN often reaches
# its mirror only from there.
build_from_dockerfile() {
  local proxy=
  if have apt-config; then eval "$(apt-config shell proxy Acquire::http::Proxy)"; fi
  quietly "$SISO_LOG" docker build --network host --build-arg "http_proxy=${proxy:-${http_proxy:-}}" \
    "${arguments[@]+"${arguments[@]}"}" --label "$LABEL=$hash" -t "$tag" "$directory"
}

# An image that others publish: the pulled one wins, and stays.
pull_official() {
  case $1 in postgres | neo4j) ;; *) return 1 ;; esac
  [[ $pull == yes ]] || return 1
  if present "$tag" && [[ -z $(label_of "$tag") ]]; then
    note "$tag is here"
    return 0
  fi
  # A stand-in may hold data by now that the official image could not read: it stays until it is removed.
  if present "$tag"; then return 1; fi
  registry_answers "$tag" || return 1
  say "Pulling $tag"
  docker pull "$tag" >&2
}

obtain() {
  local tag directory parent arguments hash
  describe "$1"
  if pull_official "$1"; then return; fi
  if [[ -n $parent ]]; then
    obtain "$parent"
    describe "$1"
  fi
  hash=$(content_hash)
  if [[ $(label_of "$tag") == "$hash" ]]; then return; fi
  say "Building $tag"
  if [[ $1 == base ]]; then build_base; else build_from_dockerfile; fi
  note "$tag: $(docker image inspect --format '{{.Size}}' "$tag" | awk '{ printf "%.0f MB", $1 / 1e6 }'), ${SECONDS} s so far"
}

main() {
  local names=() name
  local given=("$@")
  pull=yes
  while [[ $# -gt 0 ]]; do
    case $1 in
      --no-pull) pull=no ;;
      -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; return ;;
      -*) die "unknown option $1" "see --help" ;;
      *) names+=("$1") ;;
    esac
    shift
  done
  if [[ ${#names[@]} -eq 0 ]]; then names=("${ALL[@]}"); fi
  ensure_engine "$0" "${given[@]+"${given[@]}"}"
  for name in "${names[@]}"; do obtain "$name"; done
  say "Images ready: ${names[*]}"
}

main "$@"
