# shellcheck shell=bash
# Installs what is missing from the distribution's packages. Source say.sh first.

# True when the Debian package is installed.
package_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

# The package lists are fetched at most once per script.
package_lists_fresh=no

refresh_package_lists() {
  [[ $package_lists_fresh == no ]] || return 0
  note "fetching the package lists (apt-get update)"
  quietly "$SISO_LOG" as_root apt-get update || die "apt-get update failed" "check the network and /etc/apt"
  package_lists_fresh=yes
}

# install_packages WHY PACKAGE...: installs those packages that are not there yet, and says why.
install_packages() {
  local why=$1 name
  local missing=()
  shift
  for name in "$@"; do
    package_installed "$name" || missing+=("$name")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  say "Installing ${missing[*]} ($why)"
  refresh_package_lists
  quietly "$SISO_LOG" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}" ||
    die "could not install ${missing[*]}" "apt-get install ${missing[*]} shows the cause"
}

# brew_install WHY FORMULA...: the same on macOS.
brew_install() {
  local why=$1 name
  local missing=()
  shift
  have brew || die "Homebrew is needed to install $* ($why)" "install it from https://brew.sh, then run this again"
  for name in "$@"; do
    brew list --formula "$name" >/dev/null 2>&1 || missing+=("$name")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  say "Installing ${missing[*]} with Homebrew ($why)"
  quietly "$SISO_LOG" brew install "${missing[@]}" || die "could not install ${missing[*]}"
}
