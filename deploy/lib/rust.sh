# shellcheck shell=bash
# Makes sure that Rust programs can be built here. Source say.sh and packages.sh first.

# cargo itself is the one thing asked of the person: which way to install it is a matter of taste.
ensure_rust() {
  if ! have cargo && [[ -x $HOME/.cargo/bin/cargo ]]; then PATH=$HOME/.cargo/bin:$PATH; fi
  have cargo || die "Rust is needed, and cargo was not found" "install it from https://rustup.rs, then run this again"
  case $(uname -s) in
    Linux) ensure_linux_linker ;;
    Darwin) xcode-select -p >/dev/null 2>&1 || die "the C compiler and linker are missing" "xcode-select --install" ;;
  esac
  note "$(cargo --version)"
}

# Rust links with the system's C compiler, and one dependency (ring, the cryptography) compiles C.
ensure_linux_linker() {
  local probe
  probe=$(mktemp -d)
  if ! have cc || ! printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c -o "$probe/program" - 2>/dev/null; then
    have apt-get || die "a C compiler is needed (cc)" "install gcc and the C library's headers, then run this again"
    install_packages "Rust links its programs with it, and the cryptography library compiles C" gcc libc6-dev
  fi
  rm -rf "$probe"
}
