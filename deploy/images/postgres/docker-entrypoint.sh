#!/bin/bash
# Starts PostgreSQL the way the official image does: POSTGRES_PASSWORD (or _FILE), POSTGRES_USER, POSTGRES_DB,
# POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD, PGDATA, /docker-entrypoint-initdb.d, `postgres -c name=value`.
#
# The first start may be killed at any moment. The cluster is therefore made in a directory of its own inside PGDATA
# and moved up when it is complete, PG_VERSION last: a directory with PG_VERSION holds a whole cluster, and one with
# only the unfinished directory has never served anybody and is made again.
set -euo pipefail

UNFINISHED=$PGDATA/.initialising

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The value of $1, or the content of the file that $1_FILE names.
from_file() {
  local file=$1_FILE
  if [[ -n ${!file:-} ]]; then
    [[ -z ${!1:-} ]] || fail "both $1 and $file are set: give one"
    printf -v "$1" '%s' "$(<"${!file}")"
    export "${1?}"
  fi
}

prepare_directories() {
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  if [[ $(id -u) -eq 0 ]]; then
    find "$PGDATA" \! -user postgres -exec chown postgres {} +
    install -d -o postgres -g postgres -m 2775 /var/run/postgresql
  fi
}

check_environment() {
  if [[ -z ${POSTGRES_PASSWORD:-} && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
    fail "the database is empty and no password is given: set POSTGRES_PASSWORD"
  fi
  if [[ -n $(find "$PGDATA" -mindepth 1 -maxdepth 1 \! -name .initialising \! -name lost+found) && ! -d $UNFINISHED ]]; then
    fail "$PGDATA is neither empty nor a database cluster: nothing is touched"
  fi
}

make_cluster() {
  local arguments=()
  rm -rf "$UNFINISHED"
  # What an interrupted move left behind: never part of a cluster that served.
  find "$PGDATA" -mindepth 1 \! -path "$PGDATA/lost+found*" -delete
  mkdir "$UNFINISHED"
  if [[ -n ${POSTGRES_INITDB_ARGS:-} ]]; then read -r -a arguments <<<"$POSTGRES_INITDB_ARGS"; fi
  # initdb reads the password from a file, so that it never stands in the process list.
  initdb --pgdata "$UNFINISHED" --username "$POSTGRES_USER" --auth-host scram-sha-256 --auth-local trust \
    --pwfile <(printf '%s\n' "${POSTGRES_PASSWORD:-}") "${arguments[@]}"
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$UNFINISHED/pg_hba.conf"
  printf "\nlisten_addresses = '*'\n" >>"$UNFINISHED/postgresql.conf"
}

# run_sql DATABASE ARGUMENT...: psql that stops at the first error.
run_sql() { psql --no-psqlrc -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$@"; }

# Databases and scripts of the first start, on a server that only this container can reach.
fill_cluster() {
  local file
  pg_ctl --pgdata "$UNFINISHED" -o "-c listen_addresses=''" --wait --silent start
  if [[ $POSTGRES_DB != postgres ]]; then
    run_sql postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
  fi
  for file in /docker-entrypoint-initdb.d/*; do
    [[ -e $file ]] || continue
    printf 'running %s\n' "$file"
    case $file in
      *.sh) if [[ -x $file ]]; then "$file"; else bash "$file"; fi ;;
      *.sql) run_sql "$POSTGRES_DB" --file "$file" ;;
      *.sql.gz) gunzip --stdout "$file" | run_sql "$POSTGRES_DB" ;;
      *) printf 'not a script: %s\n' "$file" ;;
    esac
  done
  pg_ctl --pgdata "$UNFINISHED" --mode fast --wait --silent stop
}

publish_cluster() {
  rm -f "$UNFINISHED/postmaster.opts"
  find "$UNFINISHED" -mindepth 1 -maxdepth 1 \! -name PG_VERSION -exec mv -t "$PGDATA" {} +
  sync
  mv "$UNFINISHED/PG_VERSION" "$PGDATA/PG_VERSION"
  sync
}

main() {
  if [[ ${1:-} == -* ]]; then set -- postgres "$@"; fi
  if [[ ${1:-} != postgres ]]; then exec "$@"; fi
  if [[ $(id -u) -eq 0 ]]; then
    prepare_directories
    exec setpriv --reuid postgres --regid postgres --init-groups "${BASH_SOURCE[0]}" "$@"
  fi
  if [[ ! -s $PGDATA/PG_VERSION ]]; then
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER
    from_file POSTGRES_DB
    export POSTGRES_USER=${POSTGRES_USER:-postgres}
    export POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
    check_environment
    make_cluster
    fill_cluster
    publish_cluster
    printf 'the database cluster is ready\n'
  fi
  if [[ -d $UNFINISHED ]]; then rmdir "$UNFINISHED"; fi
  exec "$@"
}

main "$@"
