#!/usr/bin/env bash
# Builds the release archive for this machine's platform: target/dist/siso-VERSION-PLATFORM.tar.gz and its SHA-256.
#
#   deploy/release.sh
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/lib/say.sh
source "$ROOT/deploy/lib/say.sh"

PROGRAMS=(siso-scheduler siso-agent sisoctl)

# The names people look for: linux-amd64, linux-arm64, macos-arm64.
platform() {
  local system machine
  case $(uname -s) in Linux) system=linux ;; Darwin) system=macos ;; *) die "no releases are made for $(uname -s)" ;; esac
  case $(uname -m) in x86_64) machine=amd64 ;; arm64 | aarch64) machine=arm64 ;; *) die "no releases are made for $(uname -m)" ;; esac
  printf '%s-%s\n' "$system" "$machine"
}

# The one version of the workspace.
version() { awk -F '"' '/^\[/ { here = $0 } here == "[workspace.package]" && /^version/ { print $2; exit }' Cargo.toml; }

main() {
  local name dist program
  cd "$ROOT"
  name=siso-$(version)-$(platform)
  dist=target/dist
  cargo build --release --locked -p siso-scheduler -p siso-agent -p siso-cli
  rm -rf "${dist:?}/$name"
  mkdir -p "$dist/$name"
  for program in "${PROGRAMS[@]}"; do
    install -m 0755 "target/release/$program" "$dist/$name/$program"
    "$dist/$name/$program" --version
  done
  cp LICENSE README.md CHANGELOG.md "$dist/$name/"
  cp -R deploy/stacks "$dist/$name/stacks"
  tar -C "$dist" -czf "$dist/$name.tar.gz" "$name"
  (cd "$dist" && if have sha256sum; then sha256sum "$name.tar.gz"; else shasum -a 256 "$name.tar.gz"; fi >"$name.tar.gz.sha256")
  say "$dist/$name.tar.gz"
}

main "$@"
