//! A virtual machine with an engine and an agent of its own, which can be frozen from outside as a Mac does
//! with its own when it sleeps: no clock in it goes on but the hardware's.
//!
//! It is emulated (QEMU without a hypervisor), so everything in it takes ten times as long. What its
//! containers print comes out of a serial line, past its network and past everything under test.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    engine::{Engine, TEST_IMAGE},
    programs::program,
    wait::{PATIENT, wait_until},
};

const QEMU: &str = "qemu-system-x86_64";
/// Made by `deploy/images/build.sh machine`.
const IMAGE: &str = "siso/machine:1";
/// The machine that emulates it, as it is called in it.
pub const OUTSIDE: &str = "10.0.2.2";
/// Generous for what happens in it, while other tests take the processors it is emulated on.
pub const EMULATED: Duration = Duration::from_mins(6);
/// Room for the image, an agent of the development profile and a few containers.
const DISK: &str = "1500M";
/// Gives what is in the image to the directory `$0`.
const UNPACK: &str = "id=$(docker create siso/machine:1) && docker export \"$id\" | tar -x -C \"$0\" && docker rm \"$id\"";

/// The machine; it ends when this is dropped.
#[derive(Debug)]
pub struct Vm {
    directory: TempDir,
    child: Child,
    orders: BufReader<UnixStream>,
}

/// What a strict singleton in it printed: since the machine's start by its own clock, in hundredths of a second.
pub type Beat = u64;

impl Vm {
    /// What this machine lacks, if anything.
    pub fn possible() -> Result<Engine, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can unpack the file system of a machine".to_owned());
        }
        for (tool, argument) in [(QEMU, "--version"), ("mke2fs", "-V"), ("docker", "--version")] {
            let found = Command::new(tool).arg(argument).output();
            found.map_err(|error| format!("{tool} is needed ({error})"))?;
        }
        let engine = Engine::with_test_image()?;
        let built = engine.has_image(IMAGE);
        built.then_some(engine).ok_or_else(|| format!("{IMAGE}: deploy/images/build.sh machine"))
    }

    /// Starts one whose agent has these flags and this token, and waits until its engine answers. One that is
    /// `blind` cannot read the hardware's clock.
    #[track_caller]
    pub fn start(engine: &Engine, flags: &[&str], token: &str, blind: bool) -> Self {
        // On a disk, which `/tmp` may not be.
        let directory = tempfile::Builder::new().prefix("siso-vm-").tempdir_in("/var/tmp");
        let directory = directory.expect("a directory");
        let path = |name: &str| directory.path().join(name);
        make_disk(directory.path(), engine, (flags, token, blind));
        let child = Command::new(QEMU)
            .args(["-machine", "pc,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024"])
            .args(["-nodefaults", "-display", "none", "-rtc", "clock=host"])
            .arg("-kernel")
            .arg(path("vmlinuz"))
            .args(["-append", "console=ttyS0 quiet panic=1 root=/dev/nvme0n1 rw init=/siso/init"])
            .arg("-drive")
            .arg(format!("file={},format=raw,if=none,id=disk,cache=unsafe", path("disk").display()))
            .args(["-device", "nvme,drive=disk,serial=disk"])
            .args(["-netdev", "user,id=net,restrict=off", "-device", "virtio-net-pci,netdev=net"])
            .arg("-serial")
            .arg(format!("file:{}", path("told").display()))
            .arg("-serial")
            .arg(format!("file:{}", path("log").display()))
            .arg("-qmp")
            .arg(format!("unix:{},server,nowait", path("orders").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("qemu.log")).expect("a log"))
            .spawn()
            .expect("an emulator");
        let orders = wait_until("the emulator takes orders", PATIENT, || {
            UnixStream::connect(path("orders")).map_err(|error| error.to_string())
        });
        let mut vm = Self { directory, child, orders: BufReader::new(orders) };
        vm.hear();
        vm.order("qmp_capabilities", "{}");
        wait_until("the machine's engine answers", EMULATED, || {
            if vm.told().contains("up\n") { Ok(()) } else { Err(vm.story()) }
        });
        vm
    }

    /// One line of the emulator's.
    #[track_caller]
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.orders.read_line(&mut line).expect("the emulator answers");
        line
    }

    #[track_caller]
    fn order(&mut self, what: &str, arguments: &str) {
        let order = format!("{{\"execute\": \"{what}\", \"arguments\": {arguments}}}\n");
        self.orders.get_mut().write_all(order.as_bytes()).expect("the emulator listens");
        loop {
            let heard = self.hear();
            assert!(!heard.contains("\"error\"") && !heard.is_empty(), "{order}{heard}");
            // Events may come before the answer.
            if heard.contains("\"return\"") {
                return;
            }
        }
    }

    /// Everything in it stands still, and its clocks with it.
    #[track_caller]
    pub fn freeze(&mut self) {
        self.order("stop", "{}");
    }

    /// It goes on as if nothing had been.
    #[track_caller]
    pub fn thaw(&mut self) {
        self.order("cont", "{}");
    }

    /// Plugs its network in, or out.
    #[track_caller]
    pub fn plug(&mut self, plugged: bool) {
        self.order("set_link", &format!("{{\"name\": \"net\", \"up\": {plugged}}}"));
    }

    fn told(&self) -> String {
        let bytes = fs::read(self.directory.path().join("told")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// What its containers printed so far, in order.
    pub fn beats(&self) -> Vec<Beat> {
        let told = self.told();
        // The last line may not be whole yet.
        let whole = told.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let beat = |line: &str| line.strip_prefix("beat ")?.replace('.', "").parse().ok();
        whole.lines().filter_map(beat).collect()
    }

    /// How often a container in it was started so far.
    pub fn began(&self) -> usize {
        self.told().lines().filter(|line| line.starts_with("began ")).count()
    }

    /// How many of those starts are over.
    pub fn ended(&self) -> usize {
        self.told().lines().filter(|line| line.starts_with("ended ")).count()
    }

    /// What engine and agent in it wrote so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.directory.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it said last, for messages.
    pub fn story(&self) -> String {
        const SHOWN_LINES: usize = 120;
        let shown = |name: &str| {
            let text = fs::read(self.directory.path().join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
        };
        let named =
            ["told", "log", "qemu.log"].map(|name| format!("--- {name}\n{}\n", shown(name)));
        named.concat()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn make_disk(directory: &Path, engine: &Engine, (flags, token, blind): (&[&str], &str, bool)) {
    let root = directory.join("root");
    let own = root.join("siso");
    fs::create_dir(&root).expect("a directory");
    must(Command::new("sh").args(["-c", UNPACK]).arg(&root));
    fs::create_dir(&own).expect("a directory");
    let image = engine.send("GET", &format!("/images/{TEST_IMAGE}/get"), "application/json", b"");
    let agent = own.join("siso-agent");
    fs::copy(program("siso-agent"), &agent).expect("the agent");
    let flags = flags.join("\n");
    let files: [(PathBuf, &[u8]); 4] = [
        (own.join("init"), include_bytes!("init.sh")),
        (own.join("image.tar"), &image.expect("the test image").body),
        (own.join("flags"), flags.as_bytes()),
        (own.join("token"), token.as_bytes()),
    ];
    for (path, content) in files {
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("its mode");
    }
    if blind {
        fs::write(own.join("blind"), "").expect("a mark");
    }
    fs::copy(root.join("boot/vmlinuz"), directory.join("vmlinuz")).expect("the kernel");
    let disk = directory.join("disk");
    must(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(&disk).arg(DISK));
    fs::remove_dir_all(&root).expect("what is on the disk now");
}

#[track_caller]
fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
