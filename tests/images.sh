#!/usr/bin/env bash
# What the PostgreSQL image promises: its first start may be killed at any moment, it stops in time, its data stays, and
# it touches no directory that is not its own. Needs an engine and the image; tests/run.sh provides both.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/lib/say.sh
source "$ROOT/deploy/lib/say.sh"

IMAGE=pgvector/pgvector:pg16
NAME=siso-image-test-$$
DATA=/var/lib/postgresql/data
# A first start takes 2 s here; a busy machine gets the rest.
PATIENCE_SECONDS=120
# A fast shutdown writes what is dirty: well below the stack files' grace.
STOP_SECONDS=30

start() {
  docker run --detach --init --name "$NAME" --network "$NAME" --volume "$NAME:$DATA" --env POSTGRES_PASSWORD=secret \
    --env POSTGRES_USER=brain --env POSTGRES_DB=memories "$IMAGE" postgres -c shared_buffers=64MB >/dev/null
}

sql() { docker exec --env PGPASSWORD=secret "$NAME" psql --no-psqlrc -h 127.0.0.1 -U brain -d memories -tAc "$1"; }

# until_true WHAT COMMAND...: asks again until the command succeeds.
until_true() {
  local what=$1 began=$SECONDS
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS - began > PATIENCE_SECONDS)); then
      docker logs --tail 20 "$NAME" >&2
      die "not within $PATIENCE_SECONDS s: $what"
    fi
    sleep 0.05
  done
}

logged() { docker logs "$NAME" 2>&1 | grep -qF "$1"; }
accepts() { docker exec "$NAME" pg_isready -h 127.0.0.1 -U brain -d memories; }

clean() {
  docker rm --force "$NAME" >/dev/null 2>&1 || true
  docker volume rm "$NAME" >/dev/null 2>&1 || true
}

# A network of its own: the engine's default bridge may be switched off, or gone.
with_network() {
  docker network create "$NAME" >/dev/null
  trap 'clean; docker network rm "$NAME" >/dev/null 2>&1 || true' EXIT
}

expect() {
  [[ $2 == "$3" ]] || die "$1: expected '$2', got '$3'"
  note "$1"
}

# What the log shows in the course of a first start, in this order.
STAGES=('creating subdirectories ... ok' 'running bootstrap script ... ok' 'post-bootstrap initialization ... ok'
  'You can now start' 'database system is ready' 'CREATE DATABASE' 'database cluster is ready')

a_first_start_killed_at_any_stage_is_made_whole_by_the_next() {
  local stage
  for stage in "${STAGES[@]}"; do
    clean
    start
    until_true "the log says '$stage'" logged "$stage"
    docker kill "$NAME" >/dev/null
    docker rm "$NAME" >/dev/null
    start
    until_true "the database accepts connections" accepts
    expect "a first start killed at '$stage' is made whole by the next" 1 "$(sql 'SELECT 1')"
    expect "  and leaves nothing unfinished behind" 0 "$(docker exec "$NAME" sh -c "ls -A $DATA | grep -c initialising || true")"
  done
}

vectors_are_searched_by_distance() {
  sql 'CREATE EXTENSION vector' >/dev/null
  sql 'CREATE TABLE kept (v vector(3))' >/dev/null
  sql "INSERT INTO kept VALUES ('[1,2,3]'), ('[9,9,9]')" >/dev/null
  expect "vectors are searched by distance" '[1,2,3]' "$(sql "SELECT v FROM kept ORDER BY v <-> '[1,2,4]' LIMIT 1")"
}

the_arguments_reach_the_server() {
  expect "the arguments reach the server" 64MB "$(sql 'SHOW shared_buffers')"
}

a_stop_is_clean_and_the_data_stays() {
  docker stop --time "$STOP_SECONDS" "$NAME" >/dev/null
  expect "a stop ends the server by itself, not by force" 0 "$(docker inspect --format '{{.State.ExitCode}}' "$NAME")"
  docker rm "$NAME" >/dev/null
  start
  until_true "the database accepts connections" accepts
  expect "the data is there for a new container" 2 "$(sql 'SELECT count(*) FROM kept')"
}

a_directory_of_somebody_else_is_refused() {
  clean
  docker run --rm --network none --volume "$NAME:$DATA" --entrypoint sh "$IMAGE" -c "echo precious >$DATA/letter"
  start
  expect "a directory of somebody else is refused" 1 "$(docker wait "$NAME")"
  expect "and what lies in it stays" precious \
    "$(docker run --rm --network none --volume "$NAME:$DATA" --entrypoint cat "$IMAGE" "$DATA/letter")"
}

if [[ -z $(docker image inspect --format '{{index .Config.Labels "siso.content"}}' "$IMAGE") ]]; then
  say "Skipped: $IMAGE is the official image here, not the one built from deploy/images/postgres"
  exit 0
fi
with_network
a_first_start_killed_at_any_stage_is_made_whole_by_the_next
vectors_are_searched_by_distance
the_arguments_reach_the_server
a_stop_is_clean_and_the_data_stays
a_directory_of_somebody_else_is_refused
