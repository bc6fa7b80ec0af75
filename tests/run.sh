#!/usr/bin/env bash
# Installs what the tests need and passes them all, those on a real container engine included.
#
#   tests/run.sh
#
# What it installs, when it is missing: the Docker Engine (tests run containers), a C compiler (Rust links with it),
# ShellCheck (the scripts), promtool (the text of /metrics), cargo-deny (licences, sources, who may use which crate),
# strace, e2fsprogs, python3 and faketime (system calls, disks and clocks that fail on request, on Linux), iproute2 and
# iptables (hosts with networks of their own), systemd (its verifier reads the units), openssh-server and sudo (a machine to
# be added, where no service manager would start it for the network), QEMU (a machine that is frozen and woken).
# It ends at the first step that fails, and always with a table of the steps, their times and what they leave of the disk.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export SISO_LOG=${SISO_LOG:-${TMPDIR:-/tmp}/siso-tests-$(id -u).log}

# shellcheck source=deploy/lib/say.sh
source "$ROOT/deploy/lib/say.sh"
# shellcheck source=deploy/lib/packages.sh
source "$ROOT/deploy/lib/packages.sh"
# shellcheck source=deploy/lib/engine.sh
source "$ROOT/deploy/lib/engine.sh"
# shellcheck source=deploy/lib/rust.sh
source "$ROOT/deploy/lib/rust.sh"
# shellcheck source=tests/lib/tools.sh
source "$ROOT/tests/lib/tools.sh"
# shellcheck source=tests/lib/steps.sh
source "$ROOT/tests/lib/steps.sh"

# What building everything and testing it takes of the disk, in mebibytes.
ROOM=9000

# The images of containers.
TEST_IMAGES=(test postgres vector-demo web)

# The images the tests run: those of containers, and that of the virtual machine where one can be emulated.
test_images() {
  "$ROOT/deploy/images/build.sh" "${TEST_IMAGES[@]}"
  ! have qemu-system-x86_64 || "$ROOT/deploy/images/build.sh" machine
}

install_what_is_missing() {
  ensure_engine "$0"
  ensure_rust
  ensure_test_tools
}

# Every shell script of the repository, by its name or its first line.
shell_scripts() {
  git ls-files | while IFS= read -r file; do
    [[ -f $file ]] || continue
    case $file in
      *.sh) printf '%s\n' "$file" ;;
      *) if LC_ALL=C head -c 64 "$file" | grep -qaE '^#!.*[/ ](ba)?sh$'; then printf '%s\n' "$file"; fi ;;
    esac
  done
}

check_shell_scripts() {
  local scripts=() file
  while IFS= read -r file; do scripts+=("$file"); done < <(shell_scripts)
  shellcheck --external-sources "${scripts[@]}"
  note "${#scripts[@]} scripts"
}

# A workspace of its own, which the commands for the main one do not see.
check_fuzz_targets() {
  cargo fmt --manifest-path tests/fuzz/guided/Cargo.toml --check
  cargo clippy --manifest-path tests/fuzz/guided/Cargo.toml --no-default-features --target-dir target --locked -- -D warnings
}

check_dependencies() {
  cargo deny --locked check bans licenses sources
  # The list of known weaknesses is a repository elsewhere. Without it nothing can be said about them.
  if quietly_fetched; then
    cargo deny --locked check advisories
  else
    warn "advisories were not checked: their database cannot be reached from here"
  fi
}

quietly_fetched() { cargo deny fetch db >>"$SISO_LOG" 2>&1 </dev/null; }

main() {
  case ${1:-} in
    '') ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; return ;;
    *) die "unknown argument $1" "see --help" ;;
  esac
  cd "$ROOT"
  trap print_steps EXIT
  local free
  free=$(disk_free)
  ((free >= ROOM)) || warn "$free MiB are free, and building and testing takes up to $ROOM: it may end for want of room"
  step "install what is missing" install_what_is_missing
  step "format" cargo fmt --all --check
  step "shell scripts" check_shell_scripts
  step "dependencies" check_dependencies
  step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
  step "fuzz targets" check_fuzz_targets
  step "documentation" env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked
  step "images" test_images
  step "PostgreSQL's image" "$ROOT/tests/images.sh"
  step "programs of an earlier version" "$ROOT/tests/earlier.sh"
  step "programs" cargo build --workspace --bins --locked
  # One test opens 10,000 connections, and says so when it may not.
  if ulimit -Sn 20000 2>/dev/null; then export SISO_REQUIRE_FILES=1; fi
  # With these a test that misses its engine or its tool fails instead of skipping itself. A second engine, to be
  # killed, hosts with networks of their own, a disk, to be cut off from its power, and a machine behind sshd only root
  # can have; system calls fail on request on Linux only, and memory runs out on request in control groups of version 1.
  local linux=0 sshd=0 groups=0 emulated=0
  if [[ $(uname -s) == Linux ]]; then linux=1; fi
  if [[ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]]; then groups=1; fi
  if [[ -x /usr/sbin/sshd ]]; then sshd=1; fi
  if have qemu-system-x86_64; then emulated=1; fi
  step "tests" env SISO_REQUIRE_ENGINE=1 SISO_REQUIRE_PROMTOOL=1 SISO_REQUIRE_OWN_ENGINE=$((EUID == 0)) \
    SISO_REQUIRE_STRACE=$linux SISO_REQUIRE_OWN_DISK=$((linux && EUID == 0)) \
    SISO_REQUIRE_HOSTS=$((linux && EUID == 0)) SISO_REQUIRE_FAKETIME=$linux \
    SISO_REQUIRE_MEMORY_GROUP=$((groups && EUID == 0)) SISO_REQUIRE_SSHD=$((linux && sshd && EUID == 0)) \
    SISO_REQUIRE_SYSTEMD=$linux SISO_REQUIRE_EARLIER=1 SISO_REQUIRE_VM=$((emulated && EUID == 0)) \
    cargo test --workspace --locked
}

main "$@"
