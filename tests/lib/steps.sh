# shellcheck shell=bash
# Named steps with their times and what they leave of the disk, and a table of them at the end, whatever happened. Source
# say.sh first.

step_table=()
step_name=
step_began=0

# Mebibytes free where the repository is built and where tests keep what they try, the lesser of both.
disk_free() {
  df -Pk . "${TMPDIR:-/tmp}" 2>/dev/null | awk 'NR > 1 && (NR == 2 || $4 < least) { least = $4 } END { printf "%d", least / 1024 }'
}

# step_row NAME SECONDS WORD: a row of the table.
step_row() { printf '%-34s %5d s   %-6s %7d MiB free' "$1" "$2" "$3" "$(disk_free)"; }

# step NAME COMMAND...: runs the command; its failure ends the script with that step marked.
step() {
  step_name=$1
  step_began=$SECONDS
  shift
  say "$step_name"
  "$@"
  step_table+=("$(step_row "$step_name" "$((SECONDS - step_began))" passed)")
  step_name=
}

# For `trap ... EXIT`: the table, with the step that was running when the script ended.
print_steps() {
  local line
  printf '\n' >&2
  for line in "${step_table[@]+"${step_table[@]}"}"; do printf '%s\n' "$line" >&2; done
  if [[ -n $step_name ]]; then
    printf '%s\n' "$(step_row "$step_name" "$((SECONDS - step_began))" FAILED)" >&2
  fi
  printf '%-34s %5d s\n' "in all" "$SECONDS" >&2
}
