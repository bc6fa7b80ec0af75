//! Several machines on one: each with a network namespace, a disk whose power can be cut, a container
//! engine, and whatever is installed on it. Needs root and `dockerd`.
//!
//! **Invariant:** everything made here has a name no other program gives: namespaces that begin with
//! `siso-hosts-`, files below `/var/tmp/siso-hosts`, control groups below `siso-hosts`. That is what a next run may
//! remove when this one is killed, and nothing else. One run at a time holds the lock of the directory.
//!
//! Start at [`Hosts`], and at [`Cluster`], which installs Siso on them.

mod cluster;
mod host;
mod net;
mod process;
mod readers;
mod scribe;
mod tool;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

pub use cluster::{AGENT, Cluster, SCHEDULER, Shape};
pub use host::{ENGINE, Host};
pub use readers::Readers;
use rustix::process::Signal;
pub use scribe::Scribe;

use crate::{
    engine::{Engine, TEST_IMAGE},
    wait::{PROMPT, poll},
};

/// Below every controller, the group of all hosts' containers.
const CGROUP: &str = "siso-hosts";
const CGROUPS: &str = "/sys/fs/cgroup";
/// More would not be a handful, and the machine's two cores are shared by them.
const HOSTS_MAX: u32 = 9;

/// Where hosts are kept: on a disk, which `/tmp` may not be, and with a name that is short enough for
/// sockets.
fn base() -> &'static Path {
    Path::new("/var/tmp/siso-hosts")
}

/// Hosts on one switch; removed when dropped.
#[derive(Debug)]
pub struct Hosts {
    all: Vec<Host>,
    /// They stay when this ends.
    kept: bool,
    lock: File,
}

impl Hosts {
    /// What this machine lacks, if anything.
    pub fn possible() -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can make hosts with networks and disks of their own".to_owned());
        }
        for (program, argument) in [
            ("ip", "-Version"),
            ("bridge", "-Version"),
            ("iptables", "--version"),
            ("nsenter", "--version"),
            ("dockerd", "--version"),
            ("python3", "--version"),
        ] {
            tool::run(program, &[argument])?;
        }
        Engine::of_this_machine().map(drop)
    }

    /// Makes `count` hosts and starts them, each with an engine that has the test image. What an
    /// earlier run left is removed first. The calling thread, and what it starts from now on, is on
    /// the same switch afterwards.
    #[track_caller]
    pub fn up(count: u32) -> Self {
        Self::up_under(lock(), count)
    }

    #[track_caller]
    fn up_under(lock: File, count: u32) -> Self {
        assert!((1..=HOSTS_MAX).contains(&count), "1 to {HOSTS_MAX} hosts");
        sweep();
        let origin = Engine::with_test_image().expect("the machine's engine");
        let image = origin
            .send("GET", &format!("/images/{TEST_IMAGE}/get"), "application/json", b"")
            .expect("the test image");
        fs::write(base().join("init.sh"), include_str!("init.sh")).expect("the first program");
        tool::must("chmod", &["755", &base().join("init.sh").display().to_string()]);
        net::make();
        let made = (1..=count).map(|number| {
            net::add_host(number);
            Host::new(base(), number)
        });
        let mut hosts = Self { all: made.collect(), kept: false, lock };
        for host in &mut hosts.all {
            host.boot();
            host.install_engine();
        }
        for host in &hosts.all {
            host.wait_engine();
            let load = host.engine().send("POST", "/images/load", "application/x-tar", &image.body);
            load.expect("the test image is loaded");
            assert!(host.engine().has_image(TEST_IMAGE), "{TEST_IMAGE} on {}", host.name());
            // What is there from the beginning shall outlive a power cut.
            host.sync();
        }
        net::enter();
        hosts
    }

    /// Those an earlier run kept; `None` when there are none. The calling thread is on their switch
    /// afterwards.
    pub fn existing() -> Option<Self> {
        let lock = lock();
        let numbers = fs::read_dir(base()).ok()?.flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        if numbers.is_empty() {
            return None;
        }
        net::enter();
        let all = numbers.into_iter().map(|number| Host::existing(base(), number)).collect();
        Some(Self { all, kept: true, lock })
    }

    /// Lets them stay when this ends, until the next run.
    fn keep(&mut self) {
        self.kept = true;
    }

    /// Removes them; what is left all the same.
    pub fn down(mut self) -> Vec<String> {
        sweep();
        self.kept = true;
        remains()
    }

    /// Does what a run does that finds these, left by one that was killed.
    #[track_caller]
    #[must_use]
    pub fn killed_and_up(mut self, count: u32) -> Self {
        self.kept = true;
        let lock = self.lock.try_clone().expect("the lock, held on");
        drop(self);
        Self::up_under(lock, count)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.all.len()).expect("a handful")
    }

    /// The host of this number, from 1.
    #[track_caller]
    pub fn host(&self, number: u32) -> &Host {
        &self.all[self.place(number)]
    }

    /// The same, to be started or stopped.
    #[track_caller]
    pub fn host_mut(&mut self, number: u32) -> &mut Host {
        let place = self.place(number);
        &mut self.all[place]
    }

    #[track_caller]
    fn place(&self, number: u32) -> usize {
        let found = self.all.iter().position(|host| host.number() == number);
        found.unwrap_or_else(|| panic!("there is no host {number}"))
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Host> {
        self.all.iter()
    }

    /// Cuts the power of these at once.
    #[track_caller]
    pub fn power_cut(&mut self, numbers: &[u32]) {
        let chosen = self.all.iter_mut().filter(|host| numbers.contains(&host.number()));
        Host::cut_together(&mut chosen.collect::<Vec<_>>());
    }

    /// Starts these again.
    #[track_caller]
    pub fn boot(&mut self, numbers: &[u32]) {
        for number in numbers {
            self.host_mut(*number).boot();
        }
    }

    /// Pulls the plug of a host: it hears and is heard by nobody.
    #[track_caller]
    pub fn cut(&self, number: u32) {
        net::plug(self.host(number).number(), false);
    }

    /// Parts these hosts from all others; the operator reaches both sides.
    #[track_caller]
    pub fn partition(&self, group: &[u32]) {
        for one in self.all().map(Host::number) {
            for other in self.all().map(Host::number) {
                if group.contains(&one) != group.contains(&other) {
                    net::deafen(one, other);
                }
            }
        }
    }

    /// What `from` sends no longer arrives at any of `to`; the other direction works.
    #[track_caller]
    pub fn one_way(&self, from: u32, to: &[u32]) {
        for &to in to {
            net::deafen(self.host(to).number(), self.host(from).number());
        }
    }

    /// Every host loses so many percent of the packets sent to it.
    #[track_caller]
    pub fn loss(&self, percent: u32) {
        for host in self.all() {
            net::lose(host.number(), percent);
        }
    }

    /// Takes back everything that was done to the links.
    #[track_caller]
    pub fn heal(&self) {
        for host in self.all() {
            net::heal(host.number());
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if !self.kept {
            sweep();
        }
    }
}

/// One run at a time.
#[track_caller]
fn lock() -> File {
    fs::create_dir_all(base()).expect("the directory of the hosts");
    let path = base().join("lock");
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    let lock = opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if lock.try_lock().is_err() {
        let _ = writeln!(io::stderr(), "waiting for another run with hosts on this machine");
        lock.lock().expect("the lock of the hosts");
    }
    lock
}

/// Removes every host there is, whoever made it. Runs in drops: what does not work is left to the next
/// run.
fn sweep() {
    let spaces = net::existing();
    let hosts = |name: &&String| {
        name.strip_prefix(net::PREFIX).is_some_and(|rest| rest.parse::<u32>().is_ok())
    };
    for space in spaces.iter().filter(hosts) {
        let gone = poll(PROMPT, || {
            let listed = tool::run("ip", &["netns", "pids", space])?;
            let processes: Vec<u32> =
                listed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            for process in &processes {
                process::signal(*process, Signal::KILL);
            }
            if processes.is_empty() { Ok(()) } else { Err(listed) }
        });
        if let Err(left) = gone {
            let _ = writeln!(io::stderr(), "{space} is not empty: {left}");
        }
    }
    for space in &spaces {
        let _ = net::remove(space);
    }
    for group in groups() {
        remove_groups(&group);
    }
    for entry in fs::read_dir(base()).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = if path.is_dir() {
            let image = path.join("disk.img").display().to_string();
            let used = tool::run("losetup", &["-n", "-O", "NAME", "-j", &image]);
            for device in used.unwrap_or_default().split_whitespace() {
                let _ = tool::run("losetup", &["-d", device]);
            }
            fs::remove_dir_all(&path)
        } else if path.file_name().is_some_and(|name| name == "lock") {
            Ok(())
        } else {
            fs::remove_file(&path)
        };
    }
}

/// What there is of hosts on this machine, whoever made them: namespaces, groups and files.
fn remains() -> Vec<String> {
    let mut found = net::existing();
    let groups = groups().into_iter().filter(|group| group.exists());
    let files = fs::read_dir(base()).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = files.filter(|path| !path.ends_with("lock"));
    found.extend(groups.chain(files).map(|path| path.display().to_string()));
    found
}

/// The group of all hosts, of each controller or of all together.
fn groups() -> Vec<PathBuf> {
    let controllers = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let controllers = controllers.map(|controller| controller.path());
    controllers.chain([PathBuf::from(CGROUPS)]).map(|path| path.join(CGROUP)).collect()
}

/// A group is removed by removing its directory, once those below are gone.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path());
        }
    }
    // Not on every machine, and not of every controller.
    let _ = fs::remove_dir(group);
}

/// Files of the operator.
fn operator() -> PathBuf {
    base().join("operator")
}
