#!/usr/bin/env bash
# Fuzzes the readers of untrusted or durable bytes, guided by the paths an input takes through them.
#
#   tests/fuzz/run.sh [TARGET]... [--seconds N] [--jobs N]
#
#   TARGET        stackfile config interpolation nodes wire entry snapshot log ledger; all when none is named
#   --seconds N   processor time for each target, not time that passes (default 60)
#   --jobs N      targets at once (default 1)
#
# Needs the usual Rust and a C++ compiler. The targets take turns, at the lowest priority. A target ends early with its
# first finding: a panic, an overflow, a contradiction, more than 5 processor seconds or 512 MB for one input. It goes to
# tests/fuzz/corpus/TARGET, where `cargo test` fails by it until it is mended. The fewest inputs that cover the paths found
# go to tests/fuzz/corpus/TARGET.inputs, 100 KB of them, the smaller ones first; tests/fuzz/spent.tsv keeps what was spent.
# The end is a table on stdout; 1 when there were findings.
# Stopped with Ctrl-C or SIGTERM it keeps what it has.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
# shellcheck source=deploy/lib/say.sh
source "$ROOT/deploy/lib/say.sh"

TARGETS=(stackfile config interpolation nodes wire entry snapshot log ledger)
GUIDED=$HERE/guided
# Everything found, of which the kept corpus is the part that covers the same.
WORK=$GUIDED/target/fuzz
# A turn: short enough that all targets get theirs when the rest of the night is cut off.
TURN=120
# As tests/fuzz/src/lib.rs.
INPUT_BYTES_MAX=16384
# Until an input that never ends is given up: time that passes, of which a busy machine leaves little to the lowest priority.
INPUT_SECONDS_MAX=120
MEMORY_MB_MAX=512

chosen=() seconds=60 jobs=1 stopping=0

arguments() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; exit ;;
      --seconds) seconds=$(number "$@"); shift ;;
      --jobs) jobs=$(number "$@"); shift ;;
      *)
        if [[ " ${TARGETS[*]} " != *" $1 "* ]]; then die "unknown target $1" "see --help"; fi
        chosen+=("$1")
        ;;
    esac
    shift
  done
  if [[ ${#chosen[@]} -eq 0 ]]; then chosen=("${TARGETS[@]}"); fi
}

number() {
  if [[ ! ${2:-} =~ ^[1-9][0-9]{0,6}$ ]]; then die "$1 wants a number from 1" "see --help"; fi
  printf '%s' "$2"
}

# Where a target's first inputs come from besides its corpus; as in the tests of its crate.
seeds() {
  case $1 in
    stackfile | config) printf '%s\n' "$ROOT/stackfile/tests/mistakes" "$ROOT/deploy/stacks" "$WORK/kept/stackfile" ;;
    entry | snapshot) printf '%s\n' "$ROOT/tests/golden" ;;
  esac
}

words() {
  case $1 in
    stackfile | config | nodes) printf '%s' "$HERE/words/stackfile" ;;
    interpolation) printf '%s' "$HERE/words/interpolation" ;;
  esac
}

# The program of a target with the bounds of one input.
fuzzer() {
  local target=$1
  shift
  # An input is slow by the processor time it takes, which the target looks at itself: by the clock any is, now and then.
  nice -n 19 "$WORK/bin/$target" -timeout=$INPUT_SECONDS_MAX -report_slow_units=$INPUT_SECONDS_MAX -rss_limit_mb=$MEMORY_MB_MAX -max_len=$INPUT_BYTES_MAX "$@"
}

# One turn of a target; adds processor seconds, inputs tried, edges covered and findings to its list of turns.
turn() {
  local target=$1 most=$2 log=$WORK/$1.log list corpora=("$WORK/corpus/$1" "$WORK/kept/$1") options=() directory
  while IFS= read -r directory; do
    if [[ -d $directory ]]; then corpora+=("$directory"); fi
  done < <(printf '%s\n' "$HERE/corpus/$target"; seeds "$target")
  list=$(words "$target")
  if [[ -n $list ]]; then options+=("-dict=$list"); fi
  local TIMEFORMAT='%U %S'
  options+=(-max_total_time="$most" -print_final_stats=1 -artifact_prefix="$WORK/found/$target/")
  { time fuzzer "$target" "${options[@]}" "${corpora[@]}" >"$log" 2>&1 </dev/null || true; } 2>"$WORK/$target.time"
  local spent runs edges findings
  spent=$(awk '{ print $1 + $2 }' "$WORK/$target.time")
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  findings=$(find "$WORK/found/$target" -type f | wc -l)
  if [[ -z $runs ]]; then
    warn "$target broke off; its last words are in $log"
    return 1
  fi
  printf '%s\t%s\t%s\t%s\n' "$spent" "$runs" "${edges:-0}" "$findings" >>"$WORK/$target.turns"
}

# What the turns of a target come to: processor seconds, inputs, edges, findings.
sum() {
  awk -F '\t' '{ spent += $1; runs += $2; if ($3 > edges) edges = $3; found = $4 }
    END { printf "%d\t%d\t%d\t%d\n", spent, runs, edges, found }' "$WORK/$1.turns"
}

left() { sum "$1" | awk -v seconds="$seconds" '{ left = seconds - $1; print ($4 > 0 || left < 1) ? 0 : int(left) }'; }

# What keeps inputs in one file, and takes them out of it.
corpus() { (cd "$ROOT" && cargo run --quiet --package siso-fuzz --bin corpus -- "$@"); }

prepare() {
  local target
  rm -rf "$WORK/kept"
  for target in "${TARGETS[@]}"; do
    mkdir -p "$WORK/kept/$target"
    # A target that is new has none yet.
    if [[ -e $HERE/corpus/$target.inputs ]]; then corpus unpack "$HERE/corpus/$target.inputs" "$WORK/kept/$target"; fi
  done
  for target in "${chosen[@]}"; do
    mkdir -p "$WORK/corpus/$target" "$WORK/found/$target"
    : >"$WORK/$target.turns"
  done
}

# Turns until every target has had its time, `jobs` of them at once.
campaign() {
  local target most busy=1
  while [[ $busy -eq 1 && $stopping -eq 0 ]]; do
    busy=0
    for target in "${chosen[@]}"; do
      most=$(left "$target")
      if [[ $most -eq 0 || $stopping -eq 1 ]]; then continue; fi
      busy=1
      while [[ $(jobs -rp | wc -l) -ge $jobs ]]; do wait -n || true; done
      if [[ $stopping -eq 1 ]]; then break; fi
      turn "$target" "$((most < TURN ? most : TURN))" &
    done
    while [[ -n $(jobs -rp) ]]; do wait || true; done
  done
}

stop() {
  stopping=1
  say "stopping"
  local turn
  for turn in $(jobs -rp); do pkill -TERM -P "$turn" || true; done
}

# Keeps the fewest inputs that together cover the paths found, and every input that was a finding. The next campaign begins
# with the same few: read anew at the start of every turn, all that was ever found would take the whole of it.
keep() {
  local target=$1 fresh=$WORK/fresh/$1 file corpora=("$WORK/corpus/$1" "$WORK/kept/$1")
  for file in "$WORK/found/$target"/*; do
    if [[ -f $file ]]; then
      mkdir -p "$HERE/corpus/$target"
      mv "$file" "$HERE/corpus/$target/"
    fi
  done
  rm -rf "$fresh"
  mkdir -p "$fresh"
  if ! fuzzer "$target" -set_cover_merge=1 -use_counters=0 -artifact_prefix="$WORK/$target.merge-" \
    "$fresh" "${corpora[@]}" >"$WORK/$target.merge.log" 2>&1 </dev/null; then
    warn "$target: the corpus stays as it was; see $WORK/$target.merge.log"
  elif ! corpus pack "$HERE/corpus/$target.inputs" "$fresh"; then
    warn "$target: the corpus stays as it was"
  else
    rm -rf "${WORK:?}/corpus/$target"
    mv "$fresh" "$WORK/corpus/$target"
  fi
}

report() {
  local target commit spent runs edges findings found=0
  commit=$(git -C "$ROOT" rev-parse --short HEAD)
  if [[ ! -f $HERE/spent.tsv ]]; then printf 'target\tcommit\tseconds\tinputs\tedges\tfindings\n' >"$HERE/spent.tsv"; fi
  printf '%-14s %10s %14s %8s %9s\n' target seconds inputs edges findings
  for target in "${chosen[@]}"; do
    IFS=$'\t' read -r spent runs edges findings < <(sum "$target")
    if [[ $runs -eq 0 ]]; then continue; fi
    printf '%-14s %10s %14s %8s %9s\n' "$target" "$spent" "$runs" "$edges" "$findings"
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$target" "$commit" "$spent" "$runs" "$edges" "$findings" >>"$HERE/spent.tsv"
    found=$((found + findings))
  done
  if [[ $found -gt 0 ]]; then note "findings are in tests/fuzz/corpus/TARGET; their messages in $WORK/TARGET.log"; fi
  return $((found > 0))
}

main() {
  arguments "$@"
  say "building the targets"
  (cd "$GUIDED" && cargo build --release --locked)
  # Copies, so that a build beside a campaign does not pull its programs away.
  mkdir -p "$WORK/bin"
  local host target
  host=$(rustc -vV | sed -n 's/^host: //p')
  for target in "${TARGETS[@]}"; do cp -f "$GUIDED/target/$host/release/$target" "$WORK/bin/"; done
  prepare
  trap stop INT TERM
  say "fuzzing ${chosen[*]}: $seconds processor seconds each"
  campaign
  trap - INT TERM
  say "keeping what covers the paths found"
  for target in "${chosen[@]}"; do keep "$target"; done
  report
}

main "$@"
