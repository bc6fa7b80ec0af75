# shellcheck shell=bash
# Whether an image registry can be reached from here. Source say.sh first.

# A registry that does not answer within this time would make a poor start anyway.
REGISTRY_PROBE_SECONDS=10
registry_verdict=

# bounded SECONDS COMMAND...: ends the command when it takes longer (macOS has no timeout(1)).
bounded() {
  local seconds=$1 command watch status=0
  shift
  "$@" &
  command=$!
  { sleep "$seconds" && kill "$command"; } >/dev/null 2>&1 &
  watch=$!
  wait "$command" || status=$?
  kill "$watch" 2>/dev/null || true
  wait "$watch" 2>/dev/null || true
  return "$status"
}

# registry_answers IMAGE: true when the registry of the image knows it. Asked once per script.
registry_answers() {
  if [[ -z $registry_verdict ]]; then
    if bounded "$REGISTRY_PROBE_SECONDS" docker manifest inspect "$1" >/dev/null 2>&1; then
      registry_verdict=yes
    else
      registry_verdict=no
      note "no image registry answers here: images are built from Debian's packages"
    fi
  fi
  [[ $registry_verdict == yes ]]
}
