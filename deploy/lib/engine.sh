# shellcheck shell=bash
# Makes sure that a Docker Engine answers on this machine. Source say.sh and packages.sh first.
#
#   ensure_engine        installs and starts an engine when none answers
#   engine_endpoint      prints the endpoint the docker client uses, as siso-agent --docker-host wants it

# Where a dockerd started without a service manager leaves its trace.
ENGINE_PIDFILE=/run/siso-dockerd.pid
ENGINE_LOG=/var/log/siso-dockerd.log
# A first start creates the storage directory and the bridge: 2 s here, more on a slow disk.
ENGINE_START_SECONDS=60

engine_answers() { have docker && docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# True when an engine runs but this user may not speak to it.
engine_denies_us() {
  local answer
  have docker || return 1
  answer=$(docker version 2>&1 >/dev/null || true)
  [[ $answer == *'permission denied'* ]]
}

engine_endpoint() {
  if [[ -n ${DOCKER_HOST:-} ]]; then
    printf '%s\n' "$DOCKER_HOST"
  else
    docker context inspect --format '{{.Endpoints.docker.Host}}'
  fi
}

wait_for_engine() {
  local waited=0
  until engine_answers; do
    [[ $waited -lt $ENGINE_START_SECONDS ]] || return 1
    engine_denies_us && return 0
    sleep 1
    waited=$((waited + 1))
  done
}

systemd_runs() { [[ -d /run/systemd/system ]]; }

# True when process $1 is a dockerd (a pidfile may outlive its process, and process ids come back).
is_dockerd() { [[ -r /proc/$1/comm && $(cat "/proc/$1/comm") == dockerd ]]; }

# Without a service manager (a container, a bare virtual machine) dockerd is started by hand and lives on after us.
start_engine_by_hand() {
  local left_behind=/var/run/docker.pid
  say "Starting the Docker Engine by hand: no systemd runs here (log: $ENGINE_LOG)"
  # A killed dockerd leaves its pid file, and the next one refuses to start when that number is in use again.
  if [[ -s $left_behind ]] && ! is_dockerd "$(cat "$left_behind")"; then as_root rm -f "$left_behind"; fi
  as_root sh -c "nohup setsid dockerd >>'$ENGINE_LOG' 2>&1 </dev/null & echo \$! >'$ENGINE_PIDFILE'"
}

start_engine() {
  if systemd_runs; then
    say "Starting the Docker Engine (systemctl enable --now docker)"
    as_root systemctl enable --now docker >/dev/null 2>&1 || true
  else
    start_engine_by_hand
  fi
  if ! wait_for_engine; then
    if [[ -r $ENGINE_LOG ]]; then tail -n 20 "$ENGINE_LOG" >&2; fi
    die "the Docker Engine did not answer within $ENGINE_START_SECONDS s" \
      "see $ENGINE_LOG or 'journalctl -u docker'"
  fi
}

# An engine that we bring lets containers run on while it is restarted or upgraded. Somebody's own settings stay.
keep_containers_over_engine_restarts() {
  local settings=/etc/docker/daemon.json
  [[ ! -e $settings ]] || return 0
  as_root mkdir -p "${settings%/*}"
  printf '{ "live-restore": true }\n' | as_root tee "$settings" >/dev/null
}

ensure_linux_engine() {
  if ! have dockerd; then
    have apt-get || die "no Docker Engine, and this is not a Debian-like system" \
      "install the Docker Engine your distribution's way, then run this again"
    keep_containers_over_engine_restarts
    install_packages "Siso runs its services in the Docker Engine, and none answers here" \
      docker.io iptables ca-certificates
  fi
  # From Debian 13 on the client is a package of its own.
  have docker || install_packages "the command that speaks to the engine" docker-cli
  engine_answers || engine_denies_us || start_engine
}

ensure_mac_engine() {
  brew_install "containers need a Linux virtual machine on macOS; Colima runs one" colima docker
  if ! colima status >/dev/null 2>&1; then
    say "Starting Colima: ${SISO_COLIMA_CPUS:-8} CPUs, ${SISO_COLIMA_MEMORY:-14} GiB memory, ${SISO_COLIMA_DISK:-100} GiB disk"
    note "the virtual machine's memory is what Siso can hand out; SISO_COLIMA_MEMORY changes it"
    colima start --cpu "${SISO_COLIMA_CPUS:-8}" --memory "${SISO_COLIMA_MEMORY:-14}" \
      --disk "${SISO_COLIMA_DISK:-100}" >&2 || die "colima did not start" "colima start --verbose"
  fi
  wait_for_engine || die "Colima runs, but its engine does not answer" "colima restart"
}

# An engine that runs but denies us: join its group, and start the caller's script once more inside it, because a
# login that is older than the membership does not have it. $1 is the script, the rest its arguments.
enter_docker_group() {
  local command user
  user=$(id -un)
  [[ -z ${SISO_IN_DOCKER_GROUP:-} ]] || die "still no right to use the Docker Engine" "log out and in, then run this again"
  if [[ " $(id -Gn "$user") " != *' docker '* ]]; then
    say "Adding $user to the group docker (the right to use the engine's socket; it counts from the next login)"
    as_root usermod -aG docker "$user"
  fi
  printf -v command '%q ' "$@"
  exec sg docker -c "SISO_IN_DOCKER_GROUP=1 $command"
}

# ensure_engine SCRIPT ARG...: afterwards `docker` works for this user. The arguments name the running script, see
# enter_docker_group.
ensure_engine() {
  if ! engine_answers; then
    [[ -z ${DOCKER_HOST:-} ]] || die "the Docker Engine at DOCKER_HOST ($DOCKER_HOST) does not answer" \
      "start it, or unset DOCKER_HOST to use an engine of this machine"
    case $(uname -s) in
      Linux) ensure_linux_engine ;;
      Darwin) ensure_mac_engine ;;
      *) die "no Docker Engine, and no way known to install one on $(uname -s)" ;;
    esac
  fi
  if engine_denies_us; then enter_docker_group "$@"; fi
  engine_answers || die "the Docker Engine does not answer" "docker version"
  note "Docker Engine $(docker version --format '{{.Server.Version}}') at $(engine_endpoint)"
}
