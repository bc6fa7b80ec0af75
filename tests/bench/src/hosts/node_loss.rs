//! From the moment a host's plug is pulled to its services' running on the others, image present.

use std::{
    thread,
    time::{Duration, Instant},
};

use siso_tests::hosts::Hosts;

use super::{
    docker::{GLANCE, containers, wait_running},
    possible,
    siso::Siso,
    swarm::{SERVICE, Swarm},
};
use crate::{
    figure::{Report, Wanted},
    say,
};

/// The first three lead or follow.
const HOSTS: u32 = 4;
const BYSTANDER: u32 = 4;
/// Two on each host.
const REPLICAS: usize = 8;
const LABEL_SWARM: &str = "com.docker.swarm.service.name=web";
const LABEL_SISO: &str = "siso.stack=web";
const STACK: &str = "
name: web
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    deploy: { replicas: 8 }
";
/// A node is down after two seconds of silence.
const TUNED: [&str; 4] = ["--unreachable-after", "1500ms", "--down-after", "2s"];
const TUNED_HEARTBEAT: Duration = Duration::from_secs(1);
/// Nobody is slower by far.
const LOSS_LIMIT: Duration = Duration::from_mins(3);

/// Somebody who runs the service.
trait Contestant {
    fn hosts(&self) -> &Hosts;
    fn label(&self) -> &'static str;
    fn deploy(&self);
    fn remove(&self);
    fn wait_whole(&self);
    fn leader(&self) -> u32;
}

/// Which host is lost.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// One that neither leads nor follows.
    Bystander,
    /// That of the leader.
    Leader,
}

impl Contestant for Siso {
    fn hosts(&self) -> &Hosts {
        &self.cluster.hosts
    }

    fn label(&self) -> &'static str {
        LABEL_SISO
    }

    fn deploy(&self) {
        self.cluster.apply(STACK).expect(0);
    }

    fn remove(&self) {
        self.cluster.ctl.run(&["stack", "rm", "--yes", "web"]).expect(0);
    }

    fn wait_whole(&self) {
        (1..=HOSTS).for_each(|number| self.cluster.wait_node(number, "ready"));
        super::failover::Store::wait_whole(self);
    }

    fn leader(&self) -> u32 {
        self.cluster.leader()
    }
}

impl Contestant for Swarm {
    fn hosts(&self) -> &Hosts {
        super::failover::Store::hosts(self)
    }

    fn label(&self) -> &'static str {
        debug_assert!(LABEL_SWARM.ends_with(SERVICE), "the service's own label");
        LABEL_SWARM
    }

    fn deploy(&self) {
        Self::deploy(self, REPLICAS);
    }

    fn remove(&self) {
        Self::remove(self);
    }

    fn wait_whole(&self) {
        super::failover::Store::wait_whole(self);
    }

    fn leader(&self) -> u32 {
        super::failover::Store::leader(self)
    }
}

/// One loss: seconds until the first replacement is there, and until all run.
fn lose(of: &impl Contestant, which: Lost) -> (f64, f64) {
    of.wait_whole();
    of.deploy();
    let all: Vec<u32> = (1..=HOSTS).collect();
    let each = wait_running(of.hosts(), &all, of.label(), REPLICAS);
    let lost = match which {
        Lost::Bystander => BYSTANDER,
        Lost::Leader => of.leader(),
    };
    let there_are = all.iter().zip(&each).any(|(host, count)| *host == lost && *count > 0);
    assert!(there_are, "nothing to lose on {lost}: {each:?}");
    let left: Vec<u32> = all.iter().copied().filter(|host| *host != lost).collect();
    let there = || left.iter().flat_map(|host| containers(of.hosts(), *host, of.label()));
    let before: Vec<String> = there().map(|(id, _)| id).collect();
    // Whoever heartbeats does so at any moment.
    thread::sleep(Duration::from_millis(u64::from(rand::random::<u16>() % 1000)));
    let since = Instant::now();
    of.hosts().cut(lost);
    let mut first = None;
    let running = loop {
        let now = there().collect::<Vec<_>>();
        let seen = since.elapsed().as_secs_f64();
        if first.is_none() && now.iter().any(|(id, _)| !before.contains(id)) {
            first = Some(seen);
        }
        if now.iter().filter(|(_, runs)| *runs).count() >= REPLICAS {
            break seen;
        }
        assert!(since.elapsed() < LOSS_LIMIT, "no replacement: {now:?}");
        thread::sleep(GLANCE);
    };
    of.hosts().heal();
    of.wait_whole();
    of.remove();
    wait_running(of.hosts(), &all, of.label(), 0);
    (first.unwrap_or(running), running)
}

fn measure_one(
    report: &mut Report,
    (name, of, which): (&str, &impl Contestant, Lost),
    rounds: usize,
    wanted: (Option<f64>, Option<f64>),
) {
    let times: Vec<(f64, f64)> = (0..rounds)
        .map(|_| {
            let (first, running) = lose(of, which);
            say(&format!("{name}: there after {first:.2} s, all running after {running:.2} s"));
            (first, running)
        })
        .collect();
    let most = |seconds: Option<f64>| seconds.map(Wanted::AtMost);
    let firsts = times.iter().map(|(first, _)| *first).collect();
    report.add("node loss", (format!("{name}: first replacement"), "s"), firsts, most(wanted.0));
    let runs = times.iter().map(|(_, running)| *running).collect();
    report.add("node loss", (format!("{name}: all running"), "s"), runs, most(wanted.1));
}

/// Measures defaults, and both as fast as they can be set.
pub(crate) fn measure(report: &mut Report, rounds: usize) {
    say("a host lost, of four");
    if !possible(report, "node loss") {
        return;
    }
    {
        let siso = Siso::up(HOSTS, &[]);
        let wanted = (Some(10.0), Some(11.0));
        measure_one(report, ("Siso, defaults", &siso, Lost::Bystander), rounds, wanted);
        measure_one(report, ("Siso, defaults, the leader's", &siso, Lost::Leader), rounds, wanted);
    }
    {
        let siso = Siso::up(HOSTS, &TUNED);
        measure_one(
            report,
            ("Siso, grace of 2 s", &siso, Lost::Bystander),
            rounds,
            (None, Some(3.0)),
        );
    }
    {
        let swarm = Swarm::up(HOSTS, None);
        measure_one(report, ("Swarm, defaults", &swarm, Lost::Bystander), rounds, (None, None));
        let name = "Swarm, defaults, the leader's";
        measure_one(report, (name, &swarm, Lost::Leader), rounds, (None, None));
    }
    let swarm = Swarm::up(HOSTS, Some(TUNED_HEARTBEAT));
    let name = "Swarm, heartbeat of 1 s";
    measure_one(report, (name, &swarm, Lost::Bystander), rounds, (None, None));
}
