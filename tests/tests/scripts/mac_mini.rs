//! `deploy/mac-mini`: what has not run on a Mac runs at least on something that answers like one.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::units::variables;

const TOKEN: &str = "siso-node-k1-a-secret-nobody-sees";
const SCHEDULER_TOKEN: &str = "siso1.scheduler.k2.1.aa.a-secret-nobody-sees";

/// What every stand-in does first.
const NOTE: &str = "#!/bin/bash\nprintf '%s %s\\n' \"${0##*/}\" \"$*\" >>\"$CALLS\"\n";

/// A Mac made of files: `bin` comes first on the PATH, `root` is where it is installed to, `vm` is the
/// file system of its virtual machine.
struct Mac {
    directory: TempDir,
}

impl Mac {
    fn new() -> Self {
        let mac = Self { directory: tempfile::tempdir().expect("a directory") };
        for folder in
            ["bin", "root", "vm", "home/.colima/_lima/colima", "home/.colima/default", "dist"]
        {
            fs::create_dir_all(mac.path(folder)).expect(folder);
        }
        for program in ["siso-agent", "siso-scheduler"] {
            fs::write(mac.path("dist").join(program), "a program").expect(program);
        }
        mac.program("dist/sisoctl", &format!(
            "case \"$*\" in\n  *'token create'*) echo {TOKEN} ;;\n  *'node ls'*) \
             printf '[\\n{{ \"name\": \"mini-1\",\\n\"id\": \"n1\", \"state\": \"ready\" }}]' ;;\n  *'scheduler ls'*) [[ ! -e $VM/mute ]] && \
             printf '[{{ \"id\": 1, \"address\": \"mini-2.ts.net:7400\",\n\"role\": \"follower\" }}]' \
             ;;\n  *version*) [[ ! -e $VM/refused ]] ;;\nesac\n"
        ));
        for (name, body) in [
            ("uname", "echo Darwin\n"),
            ("id", "case $1 in -u) echo 501 ;; *) echo mini ;; esac\n"),
            ("sysctl", "echo 17179869184\n"),
            ("fdesetup", "echo 'FileVault is Off.'\n"),
            ("sudo", "exec \"$@\"\n"),
            ("pmset", ""),
            ("launchctl", LAUNCHCTL),
            (
                "brew",
                "[[ $1 != list || -e $BREWED ]] || exit 1\n[[ $1 != install ]] || touch \"$BREWED\"\n",
            ),
            ("colima", COLIMA),
        ] {
            mac.program(&format!("bin/{name}"), body);
        }
        mac
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program that notes how it was called and goes on with `body`.
    fn program(&self, name: &str, body: &str) {
        let path = self.path(name);
        fs::write(&path, format!("{NOTE}{body}")).expect("a stand-in");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    fn command(&self, script: &str) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/mac-mini").join(script);
        let path =
            format!("{}:{}", self.path("bin").display(), std::env::var("PATH").expect("PATH"));
        let mut command = Command::new(script);
        command
            .env("PATH", path)
            .env("HOME", self.path("home"))
            .env("CALLS", self.path("calls"))
            .env("BREWED", self.path("brewed"))
            .env("VM", self.path("vm"))
            .env("SISO_DESTDIR", self.path("root"))
            .env("SISO_LOG", self.path("log"))
            .env("SISO_WAIT_SECONDS", "5")
            .env("SISO_ONCE", "1")
            .env("SISO_PAUSE", "0")
            .stdin(Stdio::null());
        command
    }

    fn install(&self, arguments: &[&str]) -> Output {
        let dist = self.path("dist").display().to_string();
        let mut command = self.command("install.sh");
        command.args(arguments).args(["--dist", &dist]);
        command.output().expect("install.sh")
    }

    /// The same with another setting.
    fn install_with(&self, arguments: &[&str], (name, value): (&str, &str)) -> Output {
        let dist = self.path("dist").display().to_string();
        let mut command = self.command("install.sh");
        command.args(arguments).args(["--dist", &dist]).env(name, value);
        command.output().expect("install.sh")
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// Runs once it was started, unless `broken` says how often a start fails. Commands for the virtual machine
/// act on its directory.
const COLIMA: &str = r#"
up=$VM/up
case $1 in
  status) [[ -e $up ]] ;;
  start)
    left=$(cat "$VM/broken" 2>/dev/null || echo 0)
    if [[ $left -gt 0 ]]; then echo $((left - 1)) >"$VM/broken"; exit 1; fi
    if compgen -G "$HOME/.colima/_lima/colima/*.sock" >/dev/null; then exit 1; fi
    touch "$up"
    ;;
  stop) rm -f "$up" ;;
  ssh)
    [[ -e $up ]] || exit 1
    while [[ $1 != -- ]]; do shift; done
    shift 2
    case $1 in
      sh) sh -c "${3//\'\//\'$VM/}" ;;
      test) test "$2" "$VM$3" ;;
    esac
    ;;
esac
"#;

/// What was started runs until it is told to end; the virtual machine ends with the daemon that holds it. A scheduler that
/// is started notes how private its token lies, and becomes a member, unless it is `refused`.
const LAUNCHCTL: &str = r#"
label=${2#system/}
case $1 in
  print) [[ -e $VM/daemon-$label ]]; exit ;;
  bootout)
    rm "$VM/daemon-$label" || exit 1
    [[ $label != siso.colima ]] || rm -f "$VM/up"
    exit
    ;;
esac
label=$(basename "$3" .plist)
[[ ! -e $VM/daemon-$label ]] || exit 37
touch "$VM/daemon-$label"
[[ $label == siso.scheduler ]] || exit 0
state=$SISO_DESTDIR/usr/local/var/siso
if [[ -e $state/scheduler.token ]]; then
  stat -c %a "$state/scheduler.token" >"$VM/token-seen"
  cat "$state/scheduler.token" >>"$VM/token-seen"
fi
if [[ ! -e $VM/refused ]]; then mkdir -p "$state/scheduler"; touch "$state/scheduler/identity"; fi
"#;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_mac_is_made_a_machine_nobody_has_to_watch_and_again_changes_nothing_it_should_not() {
    let mac = Mac::new();
    let arguments =
        ["--name", "mini-1", "--advertise", "mini-1.ts.net", "--label", "role=database"];
    let installed = mac.install(&arguments);
    assert!(installed.status.success(), "{}", told(&installed));
    let calls = mac.calls();
    for call in [
        "pmset -a sleep 0 disksleep 0 powernap 0 autorestart 1 womp 1",
        "brew install colima docker",
        "colima start --cpu 8 --memory 14 --disk 100",
        "siso.colima.plist",
        "siso.scheduler.plist",
        "colima ssh -- sudo systemctl enable siso-agent",
        "colima ssh -- sudo systemctl restart siso-agent",
    ] {
        assert!(calls.contains(call), "{call}: {calls}");
    }
    assert!(!calls.contains(TOKEN), "the token stands in a command line: {calls}");
    let plist = mac.read("root/Library/LaunchDaemons/siso.scheduler.plist");
    for words in [
        "<string>/usr/local/bin/siso-scheduler</string>",
        "<key>SISO_ADVERTISE</key><string>mini-1.ts.net:7400</string>",
        "<key>UserName</key><string>root</string>",
        "<key>KeepAlive</key><true/>",
    ] {
        assert!(plist.contains(words), "{words}: {plist}");
    }
    let plist = mac.read("root/Library/LaunchDaemons/siso.colima.plist");
    assert!(plist.contains("<key>UserName</key><string>mini</string>"), "{plist}");
    assert!(plist.contains("<key>SISO_COLIMA_MEMORY</key><string>14</string>"), "{plist}");
    let settings = mac.read("vm/etc/siso/agent.env");
    for line in [
        "SISO_NAME=mini-1",
        "SISO_SCHEDULER=host.lima.internal:7400",
        "SISO_ADVERTISE=mini-1.ts.net:7401",
        "SISO_LABEL=role=database",
    ] {
        assert!(settings.lines().any(|found| found == line), "{line}: {settings}");
    }
    assert_eq!(mac.read("vm/etc/siso/agent.token").trim(), TOKEN);
    let mode =
        fs::metadata(mac.path("vm/etc/siso/agent.token")).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(mac.read("vm/etc/systemd/system/siso-agent.service").contains("ExecStart="));
    assert_eq!(mac.read("vm/usr/local/bin/siso-agent"), "a program");

    // A member stays one: no new token, and what runs is not started twice.
    fs::create_dir_all(mac.path("vm/var/lib/siso/agent")).expect("its directory");
    fs::write(mac.path("vm/var/lib/siso/agent/identity.pem"), "").expect("its identity");
    fs::remove_file(mac.path("calls")).expect("the calls");
    let own = "# Ours.\nSISO_RESERVE_MEMORY=1GiB\n";
    fs::write(mac.path("vm/etc/siso/agent.env"), format!("{settings}{own}")).expect("settings");
    let again = mac.install(&arguments);
    assert!(again.status.success(), "{}", told(&again));
    assert_eq!(mac.read("vm/etc/siso/agent.env"), format!("{settings}{own}"), "what was set stays");
    let calls = mac.calls();
    for call in ["token create", "brew install", "colima start", "bootout system/siso.colima"] {
        assert!(!calls.contains(call), "{call}: {calls}");
    }
    assert!(mac.path("vm/up").exists(), "the virtual machine runs on, and what is in it");
    assert!(
        calls.contains("bootout system/siso.scheduler"),
        "the scheduler is the new one: {calls}"
    );

    // Other settings of the machine are for its next start.
    let larger = mac.install_with(&arguments, ("SISO_COLIMA_CPUS", "6"));
    assert!(
        told(&larger).contains("count when this Mac starts the next time"),
        "{}",
        told(&larger)
    );
    assert!(larger.status.success() && mac.path("vm/up").exists(), "{}", told(&larger));
}

#[test]
fn a_mac_that_only_runs_tasks_gets_no_scheduler() {
    let mac = Mac::new();
    let token = mac.path("a.token").display().to_string();
    let arguments = [
        "--name",
        "mini-2",
        "--no-scheduler",
        "--scheduler",
        "mini-1:7400",
        "--token-file",
        &token,
    ];
    let refused = mac.install(&arguments);
    assert!(
        !refused.status.success() && told(&refused).contains("sisoctl token create"),
        "{}",
        told(&refused)
    );
    assert_eq!(mac.calls(), "", "nothing was changed");
    fs::write(&token, TOKEN).expect("the token");
    let installed = mac.install(&arguments);
    assert!(installed.status.success(), "{}", told(&installed));
    assert!(!mac.path("root/Library/LaunchDaemons/siso.scheduler.plist").exists());
    assert!(mac.read("vm/etc/siso/agent.env").contains("SISO_SCHEDULER=mini-1:7400\n"));
    assert_eq!(mac.read("vm/etc/siso/agent.token"), TOKEN);
}

const SCHEDULER_PLIST: &str = "root/Library/LaunchDaemons/siso.scheduler.plist";
/// Where the token lies for as long as the scheduler may need it.
const LAID_TOKEN: &str = "root/usr/local/var/siso/scheduler.token";

/// A Mac beside another one, with a token in a file, and how its scheduler is told to join.
fn joining() -> (Mac, Vec<String>) {
    let mac = Mac::new();
    let sisoctl = mac.read("dist/sisoctl").replace("mini-1", "mini-2");
    fs::write(mac.path("dist/sisoctl"), sisoctl).expect("a sisoctl that knows this one");
    let token = mac.path("mini-2.token");
    fs::write(&token, format!("{SCHEDULER_TOKEN}\n")).expect("the token");
    let words =
        ["--name", "mini-2", "--advertise", "mini-2.ts.net", "--join", "mini-1.ts.net:7400"];
    let mut arguments: Vec<String> = words.map(str::to_owned).to_vec();
    arguments.extend(["--scheduler-token-file".to_owned(), token.display().to_string()]);
    (mac, arguments)
}

fn install(mac: &Mac, arguments: &[String]) -> Output {
    mac.install(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_second_macs_scheduler_joins_the_first_and_its_token_is_gone_when_it_has() {
    let (mac, arguments) = joining();
    let installed = install(&mac, &arguments);
    assert!(installed.status.success(), "{}", told(&installed));
    assert_eq!(mac.read("vm/token-seen"), format!("600\n{SCHEDULER_TOKEN}\n"));
    assert!(!mac.path(LAID_TOKEN).exists(), "the token is kept: {}", told(&installed));
    assert!(told(&installed).contains("the token is used up"), "{}", told(&installed));
    let calls = mac.calls();
    assert!(!calls.contains(SCHEDULER_TOKEN), "the token stands in a command line: {calls}");
    assert!(calls.contains("scheduler ls"), "nobody looked whether it votes: {calls}");
    let joins = |plist: &str| {
        for words in [
            "<key>SISO_JOIN</key><string>mini-1.ts.net:7400</string>",
            "<key>SISO_TOKEN_FILE</key><string>/usr/local/var/siso/scheduler.token</string>",
            "<key>SISO_ADVERTISE</key><string>mini-2.ts.net:7400</string>",
        ] {
            assert!(plist.contains(words), "{words}: {plist}");
        }
    };
    let plist = mac.read(SCHEDULER_PLIST);
    joins(&plist);
    let (known, keys) = (variables("siso-scheduler"), plist.split("<key>SISO_").skip(1));
    for key in keys.map(|rest| rest.split('<').next().expect("a key")) {
        assert!(known.contains(&format!("SISO_{key}=")), "the scheduler does not read SISO_{key}");
    }
    // Its agent asks its own scheduler, which got its token for it.
    assert!(mac.read("vm/etc/siso/agent.env").contains("SISO_SCHEDULER=host.lima.internal:7400\n"));
    assert_eq!(mac.read("vm/etc/siso/agent.token").trim(), TOKEN);

    // Again, with a token that is no more, and without a word of joining: a member stays one, and can be
    // told later too where the others are.
    fs::remove_file(mac.path("mini-2.token")).expect("the token");
    fs::remove_file(mac.path("vm/token-seen")).expect("what was seen");
    for again in [arguments.as_slice(), &arguments[..4]] {
        let again = install(&mac, again);
        assert!(again.status.success(), "{}", told(&again));
        joins(&mac.read(SCHEDULER_PLIST));
        assert!(!mac.path("vm/token-seen").exists() && !mac.path(LAID_TOKEN).exists());
    }
}

#[test]
fn a_scheduler_that_could_not_join_yet_keeps_its_token_and_founds_nothing() {
    let (mac, arguments) = joining();
    fs::write(mac.path("vm/refused"), "").expect("it is refused");
    let refused = install(&mac, &arguments);
    assert!(!refused.status.success(), "{}", told(&refused));
    assert!(told(&refused).contains("the scheduler answers: not after"), "{}", told(&refused));
    let mode = fs::metadata(mac.path(LAID_TOKEN)).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fs::remove_file(mac.path("calls")).expect("the calls");
    let alone = install(&mac, &arguments[..4]);
    assert!(!alone.status.success(), "{}", told(&alone));
    assert!(told(&alone).contains("was to join the scheduler at mini-1.ts.net:7400"));
    assert!(!mac.calls().contains("launchctl"), "{}", mac.calls());

    fs::remove_file(mac.path("vm/refused")).expect("it is let in");
    let again = install(&mac, &arguments);
    assert!(again.status.success(), "{}", told(&again));
    assert!(!mac.path(LAID_TOKEN).exists());
}

#[test]
fn a_scheduler_that_has_joined_and_does_not_vote_is_told_of() {
    let (mac, arguments) = joining();
    fs::write(mac.path("vm/mute"), "").expect("nobody says that it votes");
    let silent = install(&mac, &arguments);
    assert!(!silent.status.success(), "{}", told(&silent));
    assert!(told(&silent).contains("the others have to reach mini-2.ts.net:7400"));
    assert!(!mac.path(LAID_TOKEN).exists(), "it has joined: {}", told(&silent));
}

#[test]
fn a_mac_that_founded_a_cluster_joins_no_other() {
    let (mac, arguments) = joining();
    let founded = mac.install(&["--name", "mini-2"]);
    assert!(founded.status.success(), "{}", told(&founded));
    let plist = mac.read(SCHEDULER_PLIST);
    let refused = install(&mac, &arguments);
    assert!(!refused.status.success(), "{}", told(&refused));
    assert!(told(&refused).contains("founded a cluster of its own"), "{}", told(&refused));
    assert_eq!(mac.read(SCHEDULER_PLIST), plist, "nothing was changed");
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_changed() {
    let check = |change: &dyn Fn(&Mac), arguments: &[&str], words: &[&str]| {
        let mac = Mac::new();
        change(&mac);
        let refused = mac.install(arguments);
        assert!(!refused.status.success(), "{}", told(&refused));
        for word in words {
            assert!(told(&refused).contains(word), "{word}: {}", told(&refused));
        }
        for call in ["pmset", "brew", "colima", "launchctl"] {
            assert!(!mac.calls().contains(call), "{call}: {}", mac.calls());
        }
    };
    let named = ["--name", "mini-1"];
    check(&|_| (), &[], &["needs a name"]);
    check(&|_| (), &["--name", "Mini 1"], &["no node name"]);
    check(&|_| (), &["--name", "mini-1", "--label"], &["unknown argument"]);
    check(&|_| (), &["--nmae", "x"], &["unknown argument --nmae"]);
    check(&|_| (), &["--name", "mini-1", "--no-scheduler"], &["--scheduler HOST:PORT"]);
    let with = |more: &[&'static str]| [&named, more].concat();
    let (join, file) = (["--join", "mini-2:7400"], ["--scheduler-token-file", "/dev/null"]);
    check(&|_| (), &with(&join), &["--join needs --scheduler-token-file", "--role scheduler"]);
    check(&|_| (), &with(&file), &["--scheduler-token-file needs --join"]);
    check(
        &|_| (),
        &with(&[join[0], join[1], file[0], file[1], "--no-scheduler"]),
        &["--join is for a Mac with a scheduler", "leave one of them out"],
    );
    check(&|_| (), &with(&["--scheduler", "mini-2:7400"]), &["are for --no-scheduler", "--join"]);
    check(&|_| (), &with(&["--join", "mini-2", file[0], file[1]]), &["mini-2 is no address"]);
    check(&|_| (), &with(&["--join", "mini-1:7400", file[0], file[1]]), &["is this Mac itself"]);
    check(&|_| (), &with(&[join[0], join[1], file[0], file[1]]), &["no token for a scheduler"]);
    let lost = [join[0], join[1], file[0], "/nowhere"];
    check(&|_| (), &with(&lost), &["/nowhere cannot be read", "--role scheduler"]);
    check(
        &|mac| mac.program("bin/uname", "echo Linux\n"),
        &named,
        &["not macOS", "sisoctl node add"],
    );
    check(&|mac| mac.program("bin/id", "echo 0\n"), &named, &["not as root"]);
    let small = |mac: &Mac| mac.program("bin/sysctl", "echo 8589934592\n");
    check(&small, &named, &["this Mac has 8 GiB", "SISO_COLIMA_MEMORY=6"]);
    let lost = |mac: &Mac| fs::remove_file(mac.path("dist/siso-agent")).expect("it was there");
    check(&lost, &named, &["siso-agent is missing", "--dist"]);
}

#[test]
fn an_encrypted_disk_is_warned_of() {
    let mac = Mac::new();
    mac.program("bin/fdesetup", "echo 'FileVault is On.'\n");
    let installed = mac.install(&["--name", "mini-1"]);
    assert!(installed.status.success(), "{}", told(&installed));
    assert!(
        told(&installed).contains("FileVault is on: after a power cut"),
        "{}",
        told(&installed)
    );
}

/// A process whose command line names Lima; ends when it is dropped.
struct Lima(Child);

impl Drop for Lima {
    fn drop(&mut self) {
        // Both fail once it has ended, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn after_a_power_cut_stale_files_go_and_the_engine_is_asked_until_it_answers() {
    let mac = Mac::new();
    let lima = mac.path("home/.colima/_lima/colima");
    // Of a process that is gone, of one that belongs to somebody else now, and no number at all.
    fs::write(lima.join("ha.pid"), "4194303").expect("a pid file");
    fs::write(lima.join("vz.pid"), std::process::id().to_string()).expect("a pid file");
    fs::write(lima.join("qemu.pid"), "").expect("a pid file");
    fs::write(lima.join("ha.sock"), "").expect("a socket");
    fs::write(mac.path("home/.colima/default/docker.sock"), "").expect("a socket");
    fs::write(mac.path("vm/broken"), "2").expect("how often it fails");
    let started = mac.command("start-colima.sh").output().expect("start-colima.sh");
    assert!(started.status.success(), "{}", told(&started));
    assert_eq!(fs::read_dir(&lima).expect("the directory").count(), 0, "{}", told(&started));
    assert!(!mac.path("home/.colima/default/docker.sock").exists());
    let calls = mac.calls();
    assert_eq!(
        calls.matches("colima start --profile default --cpu 8 --memory 14 --disk 100").count(),
        3,
        "{calls}"
    );
    assert_eq!(calls.matches("colima stop --force").count(), 2, "{calls}");
    assert!(calls.contains("colima ssh --profile default -- sudo docker version"), "{calls}");
}

#[test]
fn what_runs_already_is_left_alone() {
    let mac = Mac::new();
    let program = mac.path("limactl");
    fs::copy("/bin/sleep", &program).expect("a program");
    let lima = Lima(Command::new(&program).arg("600").spawn().expect("it runs"));
    let directory = mac.path("home/.colima/_lima/colima");
    fs::write(directory.join("ha.pid"), lima.0.id().to_string()).expect("a pid file");
    fs::write(directory.join("ha.sock"), "").expect("a socket");
    fs::write(mac.path("vm/up"), "").expect("it is up");
    let looked = mac.command("start-colima.sh").output().expect("start-colima.sh");
    assert!(looked.status.success(), "{}", told(&looked));
    assert!(directory.join("ha.pid").exists() && directory.join("ha.sock").exists());
    assert!(!mac.calls().contains("colima start"), "{}", mac.calls());
}
