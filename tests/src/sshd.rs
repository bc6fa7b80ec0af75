//! A machine of another name behind a real `sshd`: on this one, in namespaces of its own, where what is
//! installed lands in memory and everything ends with the test.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    ports::own_port,
    wait::{PROMPT, wait_until},
};

const SSHD: &str = "/usr/sbin/sshd";

/// Its own places for what is installed, each above what the machine has; then its `sshd`, in the foreground.
const START: &str = r#"
set -eu
mkdir -p /run/sshd "$HERE/layers"
mount --make-rprivate /
mount -t tmpfs tmpfs "$HERE/layers"
for place in etc usr/local var/lib; do
  mkdir -p "$HERE/layers/$place/upper" "$HERE/layers/$place/work"
  mount -t overlay overlay -o "lowerdir=/$place,upperdir=$HERE/layers/$place/upper,workdir=$HERE/layers/$place/work" "/$place"
done
mkdir -p /usr/local/bin
cp "$HERE"/stand-ins/* /usr/local/bin/
useradd --no-create-home --home-dir / --shell /bin/sh --password '*' guest
exec /usr/sbin/sshd -D -e -f "$HERE/sshd_config"
"#;

/// systemd, as far as it is asked: the agent's unit, its settings, its start.
const SYSTEMCTL: &str = r#"#!/bin/sh
case $1 in
  is-system-running) [ ! -e "HERE/no-systemd" ] && echo running || echo offline ;;
  daemon-reload | enable) test -s /etc/systemd/system/siso-agent.service ;;
  is-active) [ -s HERE/agent.pid ] && ! grep -q '^State:.Z' "/proc/$(cat HERE/agent.pid)/status" ;;
  restart)
    if [ -s HERE/agent.pid ]; then
      kill "$(cat HERE/agent.pid)" && while kill -0 "$(cat HERE/agent.pid)" 2>/dev/null; do sleep 0.1; done
    fi
    set -a
    . /etc/siso/agent.env
    SISO_LISTEN=127.0.0.1:0 SISO_METRICS_LISTEN=127.0.0.1:0
    # A whole machine is behind it; the test gets a part.
    SISO_MEMORY_BUDGET=${SISO_MEMORY_BUDGET:-1GiB}
    set +a
    nohup setsid /usr/local/bin/siso-agent >>HERE/agent.log 2>&1 </dev/null &
    echo $! >HERE/agent.pid
    ;;
esac
"#;

/// A clock that is hours ahead for those who ask.
const DATE: &str = r#"#!/bin/sh
[ ! -e "HERE/clock-ahead" ] || exec /bin/date --date '+3 hours' "$@"
exec /bin/date "$@"
"#;

const JOURNALCTL: &str = "#!/bin/sh\ntail -n 15 HERE/agent.log\n";

const DOCKER: &str = r#"#!/bin/sh
[ ! -e "HERE/no-engine" ] || exit 1
exec /usr/bin/docker "$@"
"#;

/// A user there who is not root.
pub const GUEST: &str = "guest@127.0.0.1";

/// The machine.
#[derive(Debug)]
pub struct Sshd {
    directory: TempDir,
    child: Child,
    port: u16,
}

impl Sshd {
    /// Starts it; the error says what is missing here.
    pub fn start() -> Result<Self, String> {
        for program in [SSHD, "/usr/bin/ssh", "/usr/bin/unshare", "/usr/bin/sudo"] {
            if !Path::new(program).exists() {
                return Err(format!("there is no {program}"));
            }
        }
        let user = Command::new("id").arg("-u").output().map_err(|error| error.to_string())?;
        if user.stdout != b"0\n" {
            return Err("only root can give a machine its own places".to_owned());
        }
        let directory = tempfile::Builder::new().prefix("siso-sshd-").tempdir().expect("tempdir");
        let port = own_port();
        write_files(directory.path(), port);
        let log = File::create(directory.path().join("sshd.log")).expect("a log");
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", START])
            .env("HERE", directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log"))
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut machine = Self { directory, child, port };
        let refused = machine.wait_open();
        refused.map_or(Ok(machine), Err)
    }

    /// Why it does not listen, if it does not: a machine without these rights is none to test on.
    fn wait_open(&mut self) -> Option<String> {
        let (port, log) = (self.port, self.path("sshd.log"));
        wait_until("sshd listens, or says why not", PROMPT, || {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(None);
            }
            let said = fs::read_to_string(&log).unwrap_or_default();
            match self.child.try_wait() {
                Ok(Some(status)) => Ok(Some(format!("sshd ended with {status}: {said}"))),
                _ => Err(said),
            }
        })
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The `ssh` that reaches it, with its flags.
    pub fn ssh(&self) -> String {
        format!("ssh -F {}", self.path("ssh_config").display())
    }

    /// Runs a command there and answers what it prints.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        let config = self.path("ssh_config");
        let output =
            Command::new("ssh").arg("-F").arg(config).args(["root@127.0.0.1", command]).output();
        let output = output.expect("ssh");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// From now on its memory is this, or again what it is; in KiB, all and what is free.
    #[track_caller]
    pub fn set_memory(&self, memory: Option<(u64, u64)>) {
        let file = self.path("meminfo");
        match memory {
            Some((total, free)) => {
                let text = format!("MemTotal: {total} kB\nMemAvailable: {free} kB\n");
                fs::write(&file, text).expect("a file");
                self.run(&format!("mount --bind {} /proc/meminfo", file.display()));
            }
            None => {
                self.run("umount /proc/meminfo");
            }
        }
    }

    /// From now on its guest may become root without a password.
    #[track_caller]
    pub fn trust_guest(&self) {
        let rule = "guest ALL=(ALL) NOPASSWD: ALL";
        self.run(&format!("umask 337; echo '{rule}' >/etc/sudoers.d/guest"));
    }

    /// From now on something is wrong there (`no-engine`, `no-systemd`, `clock-ahead`), or right again.
    pub fn break_something(&self, what: &str, broken: bool) {
        let path = self.path(what);
        if broken {
            fs::write(path, "").expect("a mark");
        } else {
            fs::remove_file(path).expect("the mark");
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // With the first process of its namespace everything in it ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn write_files(directory: &Path, port: u16) {
    let here = directory.display().to_string();
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), text).expect("a file");
    };
    for key in ["host_key", "user_key"] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(directory.join(key))
            .status();
        assert!(made.expect("ssh-keygen").success());
    }
    let public = |key: &str| fs::read_to_string(directory.join(key)).expect("a public key");
    write("authorized_keys", &public("user_key.pub"));
    write("known_hosts", &format!("[127.0.0.1]:{port} {}", public("host_key.pub")));
    write(
        "sshd_config",
        &format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host_key\nPidFile none\nUsePAM no\n\
             AuthorizedKeysFile {here}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n\
             PermitRootLogin prohibit-password\n\
             SetEnv PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        ),
    );
    write(
        "ssh_config",
        &format!(
            "Host *\n  Port {port}\n  IdentityFile {here}/user_key\n  IdentitiesOnly yes\n\
             \n  UserKnownHostsFile {here}/known_hosts\n  StrictHostKeyChecking yes\n  BatchMode yes\n"
        ),
    );
    fs::create_dir(directory.join("stand-ins")).expect("a directory");
    let stand_ins =
        [("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL), ("docker", DOCKER), ("date", DATE)];
    for (name, text) in stand_ins {
        let path = directory.join("stand-ins").join(name);
        fs::write(&path, text.replace("HERE", &here)).expect("a stand-in");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
}
