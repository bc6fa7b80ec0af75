#!/bin/bash
# Makes this Mac a Siso machine that nobody has to watch: a scheduler on macOS, an agent beside the engine in Colima's
# virtual machine, both started by themselves after a power cut.
#
#   deploy/mac-mini/install.sh --name mini-1 [--advertise HOST] [--label k=v]...                    founds a cluster
#   deploy/mac-mini/install.sh --name mini-2 ... --join HOST:PORT --scheduler-token-file FILE       a further scheduler
#   deploy/mac-mini/install.sh --name mini-4 ... --no-scheduler --scheduler HOST:PORT --token-file FILE    only tasks
#
#   --name NAME          the node's name
#   --advertise HOST     the name under which other machines reach this one, such as its Tailscale name [default: NAME]
#   --label k=v          a label of the node; may be given several times
#   --join HOST:PORT     its scheduler joins the one there as a further voter, with the token in --scheduler-token-file;
#                        once it has, the file is needed no more
#   --no-scheduler       only an agent, which joins the scheduler at --scheduler with the token in --token-file
#   --dist DIR           where the programs are: siso-scheduler, sisoctl (macOS) and siso-agent (linux-arm64) [default: .]
#
# Running it again is safe: what is there is brought up to date, a machine that is a member stays one, and further settings
# in /etc/siso/agent.env of the virtual machine stay.
# It asks for the password where macOS needs it (sudo), and changes: Homebrew packages, power settings (pmset),
# /usr/local/bin, /usr/local/var/siso, /Library/LaunchDaemons, and files in the virtual machine.
#
# SISO_COLIMA_CPUS, SISO_COLIMA_MEMORY, SISO_COLIMA_DISK: 8, 14 and 100 unless set. SISO_DESTDIR: for tests.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
export SISO_LOG=${SISO_LOG:-${TMPDIR:-/tmp}/siso-install-$(id -u).log}

# shellcheck source=deploy/lib/say.sh
source "$ROOT/deploy/lib/say.sh"
# shellcheck source=deploy/lib/packages.sh
source "$ROOT/deploy/lib/packages.sh"

DESTDIR=${SISO_DESTDIR:-}
BIN=/usr/local/bin
STATE=/usr/local/var/siso
LOGS=/usr/local/var/log
DAEMONS=/Library/LaunchDaemons
CPUS=${SISO_COLIMA_CPUS:-8}
MEMORY=${SISO_COLIMA_MEMORY:-14}
DISK=${SISO_COLIMA_DISK:-100}
# What macOS itself needs beside the virtual machine.
MAC_MEMORY=2
# A first leadership takes about a second, an agent joins in ten; the rest is for a busy machine.
WAIT_SECONDS=${SISO_WAIT_SECONDS:-60}

NAME='' ADVERTISE='' LABELS='' SCHEDULER='' TOKEN_FILE='' DIST=. WITH_SCHEDULER=yes JOIN='' SCHEDULER_TOKEN_FILE=''
# Whether the scheduler of this Mac has joined or founded its cluster before.
MEMBER=no

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; }

read_arguments() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --no-scheduler) WITH_SCHEDULER=no; shift; continue ;;
      --name | --advertise | --label | --scheduler | --token-file | --join | --scheduler-token-file | --dist)
        [[ $# -gt 1 ]] || die "$1 needs a value" "see --help"
        case $1 in
          --name) NAME=$2 ;;
          --advertise) ADVERTISE=$2 ;;
          --label) LABELS=${LABELS:+$LABELS,}$2 ;;
          --scheduler) SCHEDULER=$2 ;;
          --token-file) TOKEN_FILE=$2 ;;
          --join) JOIN=$2 ;;
          --scheduler-token-file) SCHEDULER_TOKEN_FILE=$2 ;;
          --dist) DIST=$2 ;;
        esac
        shift 2
        ;;
      *) die "unknown argument $1" "see --help" ;;
    esac
  done
  [[ -n $NAME ]] || die "the node needs a name" "--name mini-1"
  [[ $NAME =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ ]] || die "$NAME is no node name" "use a-z, 0-9 and -"
  ADVERTISE=${ADVERTISE:-$NAME}
  [[ -z $JOIN || -n $SCHEDULER_TOKEN_FILE ]] || die "--join needs --scheduler-token-file FILE" \
    "make a token: sisoctl token create --role scheduler > $NAME.token"
  [[ -z $SCHEDULER_TOKEN_FILE || -n $JOIN ]] || die "--scheduler-token-file needs --join HOST:PORT" "see --help"
  if [[ $WITH_SCHEDULER == no ]]; then
    [[ -z $JOIN ]] || die "--join is for a Mac with a scheduler, --no-scheduler for one without" \
      "leave one of them out; an agent alone joins with --scheduler and --token-file"
    [[ -n $SCHEDULER ]] || die "--no-scheduler needs --scheduler HOST:PORT" "see --help"
    [[ -r $TOKEN_FILE ]] || die "the token file ${TOKEN_FILE:-(none)} cannot be read" \
      "make a token: sisoctl token create --role node > $NAME.token"
  else
    [[ -z $SCHEDULER$TOKEN_FILE ]] || die "--scheduler and --token-file are for --no-scheduler" \
      "a further scheduler joins with --join HOST:PORT and --scheduler-token-file FILE"
  fi
  if [[ -n $JOIN ]]; then
    [[ $JOIN =~ ^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}$ ]] ||
      die "$JOIN is no address of a scheduler" "--join mini-1:7400"
    [[ $JOIN != "$ADVERTISE:7400" ]] || die "$JOIN is this Mac itself" "--join takes a scheduler of the cluster that is there already"
  fi
}

# The scheduler that the daemon of an earlier run joins through; nothing where there is none.
joined_through() {
  sed -n 's|.*<key>SISO_JOIN</key><string>\(.*\)</string>.*|\1|p' "$DESTDIR$DAEMONS/siso.scheduler.plist" 2>/dev/null || true
}

# A member needs no token any more, and one that has not joined yet must not found a cluster beside the one it was to join.
check_scheduler() {
  local before token=''
  [[ $WITH_SCHEDULER == yes ]] || return 0
  before=$(joined_through)
  if sudo test -e "$DESTDIR$STATE/scheduler/identity"; then
    MEMBER=yes
    [[ -z $JOIN || -n $before ]] || die "the scheduler of this Mac founded a cluster of its own and cannot join another" \
      "sudo launchctl bootout system/siso.scheduler, move $STATE/scheduler away, then run this again"
    # Before it votes it still has to know whom to ask.
    JOIN=${JOIN:-$before}
  elif [[ -n $JOIN ]]; then
    [[ -r $SCHEDULER_TOKEN_FILE ]] || die "the token file $SCHEDULER_TOKEN_FILE cannot be read" \
      "make a token: sisoctl token create --role scheduler > $NAME.token"
    IFS= read -r token <"$SCHEDULER_TOKEN_FILE" || true
    [[ $token == siso1.scheduler.* ]] || die "$SCHEDULER_TOKEN_FILE holds no token for a scheduler" \
      "make one: sisoctl token create --role scheduler > $NAME.token"
  elif [[ -n $before ]]; then
    die "this Mac was to join the scheduler at $before, and has no data of it" \
      "--join $before --scheduler-token-file FILE; to found a cluster instead: sudo rm $DAEMONS/siso.scheduler.plist"
  fi
}

# Everything that could stand in the way, before anything is changed.
check_machine() {
  local memory program
  [[ $(uname -s) == Darwin ]] || die "this is not macOS" "on Linux: sisoctl node add USER@HOST, or deploy/systemd"
  [[ $(id -u) -ne 0 ]] || die "run this as the user whose Colima it shall be, not as root" "it asks for the password where it must"
  memory=$(($(sysctl -n hw.memsize) / 1024 / 1024 / 1024))
  [[ $((MEMORY + MAC_MEMORY)) -le $memory ]] ||
    die "this Mac has $memory GiB: $MEMORY for the virtual machine leave less than $MAC_MEMORY for macOS" \
      "SISO_COLIMA_MEMORY=$((memory - MAC_MEMORY)) $0 ..."
  local needed=(siso-agent)
  if [[ $WITH_SCHEDULER == yes ]]; then needed+=(siso-scheduler sisoctl); fi
  for program in "${needed[@]}"; do
    [[ -r $DIST/$program ]] || die "$DIST/$program is missing" "unpack the release there, or say --dist DIR"
  done
  check_scheduler
}

keep_awake() {
  say "Power: no sleep, start again after a power cut (pmset)"
  sudo pmset -a sleep 0 disksleep 0 powernap 0 autorestart 1 womp 1
  if fdesetup status 2>/dev/null | grep -q 'FileVault is On'; then
    warn "FileVault is on: after a power cut this Mac waits for a password and nothing starts; see docs/mac-mini.md"
  fi
}

install_colima() {
  brew_install "containers need a Linux virtual machine on macOS; Colima runs one" colima docker
  if ! colima status >/dev/null 2>&1; then
    say "Starting Colima: $CPUS CPUs, $MEMORY GiB memory, $DISK GiB disk"
    colima start --cpu "$CPUS" --memory "$MEMORY" --disk "$DISK" >&2 || die "colima did not start" "colima start --verbose"
  fi
}

# put SOURCE TARGET MODE: as root, whole or not at all.
put() {
  sudo mkdir -p "$DESTDIR$(dirname "$2")"
  sudo install -m "$3" "$1" "$DESTDIR$2.new"
  sudo mv -f "$DESTDIR$2.new" "$DESTDIR$2"
}

xml() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' <<<"$1"; }

# plist LABEL USER ARGUMENT...: a daemon that launchd keeps running, with the environment in PLIST_ENVIRONMENT.
plist() {
  local label=$1 user=$2 word
  shift 2
  printf '<?xml version="1.0" encoding="UTF-8"?>\n'
  printf '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
  printf '<plist version="1.0">\n<dict>\n  <key>Label</key><string>%s</string>\n' "$label"
  printf '  <key>UserName</key><string>%s</string>\n  <key>ProgramArguments</key>\n  <array>\n' "$(xml "$user")"
  for word in "$@"; do printf '    <string>%s</string>\n' "$(xml "$word")"; done
  printf '  </array>\n  <key>EnvironmentVariables</key>\n  <dict>\n'
  for word in "${PLIST_ENVIRONMENT[@]}"; do
    printf '    <key>%s</key><string>%s</string>\n' "${word%%=*}" "$(xml "${word#*=}")"
  done
  printf '  </dict>\n  <key>RunAtLoad</key><true/>\n  <key>KeepAlive</key><true/>\n'
  # Colima needs its time to stop the virtual machine.
  printf '  <key>ExitTimeOut</key><integer>150</integer>\n  <key>ThrottleInterval</key><integer>5</integer>\n'
  printf '  <key>StandardOutPath</key><string>%s/%s.log</string>\n' "$LOGS" "$label"
  printf '  <key>StandardErrorPath</key><string>%s/%s.log</string>\n</dict>\n</plist>\n' "$LOGS" "$label"
}

runs() { sudo launchctl print "system/$1" >/dev/null 2>&1; }
runs_no_more() { ! runs "$1"; }

# daemon LABEL USER ARGUMENT...: installs the daemon and starts it anew. With KEEP_RUNNING=yes one that runs is left alone.
daemon() {
  local label=$1 file changed=yes
  file=$(mktemp)
  plist "$@" >"$file"
  ! cmp -s "$file" "$DESTDIR$DAEMONS/$label.plist" || changed=no
  put "$file" "$DAEMONS/$label.plist" 0644
  rm -f "$file"
  if runs "$label"; then
    if [[ ${KEEP_RUNNING:-no} == yes ]]; then
      [[ $changed == no ]] || warn "$label has other settings now: they count when this Mac starts the next time"
      return
    fi
    sudo launchctl bootout "system/$label" >/dev/null 2>&1 || true
    # One that still ends is not taken again.
    wait_until "$label ends" "sudo launchctl print system/$label; the log: $LOGS/$label.log" runs_no_more "$label"
  fi
  sudo launchctl bootstrap system "$DESTDIR$DAEMONS/$label.plist" ||
    die "launchd does not take $label" "sudo launchctl print system/$label; the log: $LOGS/$label.log"
}

install_daemons() {
  local user
  user=$(id -un)
  sudo mkdir -p "$DESTDIR$STATE" "$DESTDIR$LOGS"
  put "$HERE/start-colima.sh" "$BIN/siso-start-colima" 0755
  say "Colima starts with the Mac, before anybody logs in (siso.colima)"
  PLIST_ENVIRONMENT=("HOME=$HOME" "SISO_COLIMA_CPUS=$CPUS" "SISO_COLIMA_MEMORY=$MEMORY" "SISO_COLIMA_DISK=$DISK")
  # Started anew it would stop the virtual machine, and every container in it.
  KEEP_RUNNING=yes daemon siso.colima "$user" "$BIN/siso-start-colima"
  [[ $WITH_SCHEDULER == yes ]] || return 0
  put "$DIST/siso-scheduler" "$BIN/siso-scheduler" 0755
  put "$DIST/sisoctl" "$BIN/sisoctl" 0755
  say "The scheduler runs on macOS itself, where a synced write survives a power cut (siso.scheduler)"
  PLIST_ENVIRONMENT=("SISO_DATA_DIR=$STATE/scheduler" "SISO_ADVERTISE=$ADVERTISE:7400")
  if [[ -n $JOIN ]]; then
    # They stay when the token is gone: the same settings are right for the first start and for every other.
    PLIST_ENVIRONMENT+=("SISO_JOIN=$JOIN" "SISO_TOKEN_FILE=$STATE/scheduler.token")
    [[ $MEMBER == yes ]] || put "$SCHEDULER_TOKEN_FILE" "$STATE/scheduler.token" 0600
  fi
  daemon siso.scheduler root "$BIN/siso-scheduler"
}

ctl() { sudo "$DESTDIR$BIN/sisoctl" --context-file "$DESTDIR$STATE/scheduler/admin.yaml" "$@"; }

# wait_until WHAT HINT COMMAND...
wait_until() {
  local what=$1 hint=$2 waited=0
  shift 2
  until "$@" >/dev/null 2>&1; do
    [[ $waited -lt $WAIT_SECONDS ]] || die "$what: not after $WAIT_SECONDS s" "$hint"
    sleep 1
    waited=$((waited + 1))
  done
}

# in_machine FILE MODE: standard input becomes that file in the virtual machine; nothing of it stands in a command line.
in_machine() { colima ssh -- sudo sh -c "umask 077; mkdir -p '${1%/*}'; cat >'$1.new'; chmod $2 '$1.new'; mv -f '$1.new' '$1'"; }

agent_settings() {
  printf 'SISO_DATA_DIR=/var/lib/siso/agent\nSISO_SCHEDULER=%s\nSISO_TOKEN_FILE=/etc/siso/agent.token\n' "$1"
  printf 'SISO_NAME=%s\nSISO_ADVERTISE=%s:7401\n' "$NAME" "$ADVERTISE"
  [[ -z $LABELS ]] || printf 'SISO_LABEL=%s\n' "$LABELS"
  # What a person set there stays.
  [[ -z $2 ]] || grep -Ev "^[[:space:]]*SISO_(DATA_DIR|SCHEDULER|TOKEN_FILE|NAME|ADVERTISE${LABELS:+|LABEL})=" <<<"$2" || true
}

install_agent() {
  local scheduler=$SCHEDULER before
  # The Mac as its virtual machine sees it.
  if [[ $WITH_SCHEDULER == yes ]]; then scheduler=host.lima.internal:7400; fi
  say "The agent runs in the virtual machine, beside the engine"
  in_machine /usr/local/bin/siso-agent 0755 <"$DIST/siso-agent"
  before=$(colima ssh -- sudo sh -c "test ! -e '/etc/siso/agent.env' || cat '/etc/siso/agent.env'")
  agent_settings "$scheduler" "$before" | in_machine /etc/siso/agent.env 0600
  in_machine /etc/systemd/system/siso-agent.service 0644 <"$ROOT/deploy/systemd/siso-agent.service"
  # A member needs no token, and one that is not used is one too many.
  if ! colima ssh -- sudo test -e /var/lib/siso/agent/identity.pem; then
    if [[ $WITH_SCHEDULER == yes ]]; then
      ctl token create --role node -q | in_machine /etc/siso/agent.token 0600
    else
      in_machine /etc/siso/agent.token 0600 <"$TOKEN_FILE"
    fi
  fi
  colima ssh -- sudo systemctl daemon-reload
  colima ssh -- sudo systemctl enable siso-agent
  colima ssh -- sudo systemctl restart siso-agent
}

scheduler_votes() {
  local address="\"address\":\"$ADVERTISE:7400\",\"role\":"
  ctl -o json scheduler ls | tr -d ' \n' | grep -qF -e "$address\"leader\"" -e "$address\"follower\""
}

# The scheduler answers: it has what the token was for.
finish_joining() {
  sudo rm -f "$DESTDIR$STATE/scheduler.token"
  wait_until "the scheduler votes" \
    "the others have to reach $ADVERTISE:7400 (--advertise); look with: sisoctl scheduler ls; the log: $LOGS/siso.scheduler.log" \
    scheduler_votes
  [[ $MEMBER == yes ]] || note "the token is used up: delete $SCHEDULER_TOKEN_FILE"
}

node_is_ready() { ctl -o json node ls | tr -d ' \n' | grep -q "\"name\":\"$NAME\",[^}]*\"state\":\"ready\""; }

main() {
  read_arguments "$@"
  check_machine
  keep_awake
  install_colima
  install_daemons
  if [[ $WITH_SCHEDULER == yes ]]; then
    wait_until "the scheduler answers" "the log: $LOGS/siso.scheduler.log" ctl version
    [[ -z $JOIN ]] || finish_joining
  fi
  install_agent
  if [[ $WITH_SCHEDULER == yes ]]; then
    wait_until "$NAME is ready" "colima ssh -- sudo journalctl -u siso-agent -n 50" node_is_ready
    if [[ -n $JOIN ]]; then
      say "$NAME is ready, its scheduler one of those that sisoctl scheduler ls shows"
      return
    fi
    say "$NAME is ready. On your laptop: copy $STATE/scheduler/admin.yaml over a connection you trust, then"
    note "sisoctl context add home --file admin.yaml && sisoctl context use home && sisoctl status"
  else
    say "the agent of $NAME is started; look with: sisoctl node ls"
  fi
}

main "$@"
