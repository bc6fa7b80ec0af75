#!/usr/bin/env bash
# Builds the programs of an earlier version, from the history of this repository, for tests that upgrade from it.
#
#   tests/earlier.sh
#
# They land in target/earlier, beside the file `commit`, which says of which one they are. What they need from elsewhere is
# what this version needs, so that is built once for both.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/lib/say.sh
source "$ROOT/deploy/lib/say.sh"

# The last one whose log has form 4: what has been added to the log since is refused until all are of this version.
EARLIER=c394def
PROGRAMS=(siso-scheduler siso-agent sisoctl)

main() {
  cd "$ROOT"
  local there=target/earlier
  if [[ $(cat "$there/commit" 2>/dev/null) == "$EARLIER" ]]; then
    note "the programs of $EARLIER are there"
    return
  fi
  git cat-file -e "$EARLIER^{commit}" 2>/dev/null ||
    die "commit $EARLIER is not in this clone" "fetch the history: git fetch --unshallow"
  rm -rf "$there"
  mkdir -p "$there/source"
  git archive "$EARLIER" | tar -x -C "$there/source"
  # As in this version's profile, or what both share would be built twice.
  (
    cd "$there/source"
    CARGO_TARGET_DIR=$ROOT/target cargo build --locked -p siso-scheduler -p siso-agent -p siso-cli --bins \
      --config profile.dev.package.h2.debug-assertions=false \
      --config 'profile.dev.build-override.debug="line-tables-only"'
  )
  local program
  for program in "${PROGRAMS[@]}"; do
    # What stays there under this name is not to be taken for this version's.
    mv "target/debug/$program" "$there/"
    rm -f "target/debug/$program.d"
  done
  rm -rf "$there/source"
  printf '%s\n' "$EARLIER" >"$there/commit"
}

main
