# shellcheck shell=bash
# Installs the tools that only the tests need. Source say.sh, packages.sh and engine.sh first.

# Tools that no package manager keeps for us live here, outside the repository, and survive `cargo clean`.
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/siso/tools
CARGO_DENY_VERSION=0.20.2

ensure_shellcheck() {
  have shellcheck && return
  if [[ $(uname -s) == Darwin ]]; then
    brew_install "checks the shell scripts" shellcheck
  else
    install_packages "checks the shell scripts" shellcheck
  fi
}

# promtool comes with Prometheus. Only the program is taken out of the package: installing it would start a server.
ensure_promtool() {
  local scratch
  have promtool && return
  if [[ $(uname -s) == Darwin ]]; then
    brew_install "promtool checks the text of /metrics" prometheus
    return
  fi
  have apt-get || die "promtool was not found" "install Prometheus' promtool, then run this again"
  say "Taking promtool out of the package prometheus (it checks the text of /metrics; no server is installed)"
  refresh_package_lists
  scratch=$(mktemp -d)
  (cd "$scratch" && quietly "$SISO_LOG" apt-get download prometheus && dpkg-deb -x prometheus_*.deb .)
  install -D -m 0755 "$scratch/usr/bin/promtool" "$TOOLS/bin/promtool"
  rm -rf "$scratch"
}

# Built without optimisation: it runs for a second, and this way it builds in a quarter of the time.
ensure_cargo_deny() {
  have cargo-deny && return
  say "Building cargo-deny $CARGO_DENY_VERSION (checks licences, sources and who may use which crate; about 2 minutes)"
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 \
    CARGO_PROFILE_RELEASE_DEBUG=0 quietly "$SISO_LOG" \
    cargo install --locked --version "$CARGO_DENY_VERSION" --root "$TOOLS" cargo-deny
}

# Faults of system calls, disks and clocks: strace makes calls fail, an ext4 file system in a file loses its power by an
# ioctl, libfaketime gives a process a clock that is wrong.
ensure_fault_tools() {
  local missing=()
  [[ $(uname -s) == Linux ]] || return 0
  have strace || missing+=(strace)
  have mkfs.ext4 || missing+=(e2fsprogs)
  have python3 || missing+=(python3)
  have faketime || missing+=(faketime)
  ((${#missing[@]} == 0)) || install_packages "system calls, disks and clocks that fail on request" "${missing[@]}"
}

# Hosts on one machine: namespaces joined by a switch, rules that drop packets, clocks that are wrong.
ensure_host_tools() {
  local missing=()
  [[ $(uname -s) == Linux ]] || return 0
  have ip || missing+=(iproute2)
  have iptables || missing+=(iptables)
  have faketime || missing+=(faketime)
  ((${#missing[@]} == 0)) || install_packages "hosts with networks and clocks of their own" "${missing[@]}"
}

# A virtual machine that can be frozen. Without a hypervisor's help any machine can emulate one; only that of these
# processors is.
ensure_emulator() {
  [[ $(uname -s) == Linux && $(uname -m) == x86_64 ]] || return 0
  have qemu-system-x86_64 || install_packages "a virtual machine that is frozen and woken" qemu-system-x86
}

# The units are read by systemd's own verifier. It comes with systemd itself, which is not started by being installed.
ensure_systemd_analyze() {
  [[ $(uname -s) == Linux ]] || return 0
  have systemd-analyze || install_packages "reads the units of deploy/systemd" systemd
}

# A real sshd and sudo, for `node add`. Where a service manager runs, installing it would open this machine to its network; there
# it is for the person to decide, and the tests that want it say that they are skipped.
ensure_sshd() {
  [[ $(uname -s) == Linux ]] || return 0
  have sudo || install_packages "node add becomes root there by it" sudo
  [[ ! -x /usr/sbin/sshd ]] || return 0
  if systemd_runs; then
    note "no sshd here: 'node add' is not tested (apt-get install openssh-server would start one)"
    return
  fi
  install_packages "node add is tested against a real sshd" openssh-server openssh-client
}

ensure_test_tools() {
  mkdir -p "$TOOLS/bin"
  PATH=$TOOLS/bin:$PATH
  ensure_shellcheck
  ensure_promtool
  ensure_fault_tools
  ensure_host_tools
  ensure_systemd_analyze
  ensure_sshd
  ensure_emulator
  ensure_cargo_deny
}
