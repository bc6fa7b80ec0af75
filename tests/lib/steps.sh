# shellcheck shell=bash
# Named steps with their times, and a table of them at the end, whatever happened. Source say.sh first.

step_table=()
step_name=
step_began=0

# step NAME COMMAND...: runs the command; its failure ends the script with that step marked.
step() {
  step_name=$1
  step_began=$SECONDS
  shift
  say "$step_name"
  "$@"
  step_table+=("$(printf '%-34s %5d s   passed' "$step_name" "$((SECONDS - step_began))")")
  step_name=
}

# For `trap ... EXIT`: the table, with the step that was running when the script ended.
print_steps() {
  local line
  printf '\n' >&2
  for line in "${step_table[@]+"${step_table[@]}"}"; do printf '%s\n' "$line" >&2; done
  if [[ -n $step_name ]]; then
    printf '%-34s %5d s   FAILED\n' "$step_name" "$((SECONDS - step_began))" >&2
  fi
  printf '%-34s %5d s\n' "in all" "$SECONDS" >&2
}
