//! From the moment a leader is killed, paused or cut off to the next acknowledged write.
//!
//! After each fault a write is asked of every member, and another one every tenth of a second,
//! whatever became of those before: the first that is acknowledged by any member ends the time. No
//! client's own way of finding another member is in it.

use std::{
    future::Future,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use siso_tests::hosts::Hosts;
use tokio::{
    runtime::Runtime,
    time::{interval, timeout},
};

use super::{etcd::Etcd, percentile, possible, siso::Siso, swarm::Swarm};
use crate::{
    figure::{Report, Wanted},
    say,
};

/// Members of each cluster, and hosts.
pub(super) const MEMBERS: u32 = 3;
/// A write that takes longer is forgotten.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Between two writes asked of a member.
const AGAIN: Duration = Duration::from_millis(100);
/// After everything is as before a fault, until the next one.
const CALM: Duration = Duration::from_secs(1);
/// Swarm takes ten times as long as the others: it has this share of the faults.
const SWARM_SHARE: usize = 5;

/// What is done to a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Kill,
    Pause,
    Partition,
}

const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Pause, Fault::Partition];

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Pause => "SIGSTOP",
            Self::Partition => "partition",
        }
    }

    fn happen(self, hosts: &Hosts, leader: u32, unit: &str) {
        match self {
            Self::Kill => hosts.host(leader).kill(unit),
            Self::Pause => hosts.host(leader).pause(unit),
            Self::Partition => hosts.partition(&[leader]),
        }
    }

    fn mend(self, hosts: &Hosts, leader: u32, unit: &str) {
        match self {
            Self::Kill => hosts.host(leader).start(unit),
            Self::Pause => hosts.host(leader).resume(unit),
            Self::Partition => hosts.heal(),
        }
    }
}

/// A replicated store on hosts.
pub(super) trait Store {
    fn name(&self) -> &'static str;
    fn hosts(&self) -> &Hosts;
    /// What is killed, paused or cut off.
    fn unit(&self) -> &'static str;
    /// The host of the leader, once there is one.
    fn leader(&self) -> u32;
    /// One write, asked of the member on a host.
    fn write(&self, member: u32) -> impl Future<Output = Result<(), String>> + Send;
    /// Waits until every member takes part.
    fn wait_whole(&self);
}

/// The time to the next acknowledged write, in seconds.
async fn next_write<S: Store + Sync>(store: &S, since: Instant) -> f64 {
    let mut asked = FuturesUnordered::new();
    let mut again = interval(AGAIN);
    loop {
        tokio::select! {
            _ = again.tick() => {
                asked.extend((1..=MEMBERS).map(|member| timeout(WRITE_LIMIT, store.write(member))));
            }
            Some(answer) = asked.next() => {
                if matches!(answer, Ok(Ok(()))) {
                    return since.elapsed().as_secs_f64();
                }
            }
        }
    }
}

fn suffer<S: Store + Sync>(store: &S, runtime: &Runtime, faults: usize) -> Vec<(Fault, f64)> {
    let mut times = Vec::new();
    for fault in FAULTS.into_iter().cycle().take(faults) {
        store.wait_whole();
        thread::sleep(CALM);
        let leader = store.leader();
        let since = Instant::now();
        fault.happen(store.hosts(), leader, store.unit());
        let took = runtime.block_on(next_write(store, since));
        fault.mend(store.hosts(), leader, store.unit());
        times.push((fault, took));
        say(&format!("{}: {} of host {leader}: {took:.2} s", store.name(), fault.name()));
    }
    times
}

fn tell<S: Store>(report: &mut Report, store: &S, times: &[(Fault, f64)], wanted: bool) {
    let goal = |seconds: f64| wanted.then_some(Wanted::AtMost(seconds));
    let name = store.name();
    let all: Vec<f64> = times.iter().map(|(_, took)| *took).collect();
    let late = percentile(&all, 99);
    let what = format!("{name}: {} leaders lost, next write", all.len());
    report.add("failover", (what, "s"), all, goal(1.5));
    report.add(
        "failover",
        (format!("{name}: the same, 99th percentile"), "s"),
        vec![late],
        goal(4.0),
    );
    for fault in FAULTS {
        let those = times.iter().filter(|(of, _)| *of == fault).map(|(_, took)| *took);
        let what = format!("{name}: {}", fault.name());
        report.add("failover", (what, "s"), those.collect(), None);
    }
}

/// A runtime whose threads are where this one is: on the switch of the hosts.
pub(super) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// Measures all three.
pub(crate) fn measure(report: &mut Report, faults: usize, etcd: Option<&Path>) {
    say("leaders lost, on three hosts");
    if !possible(report, "failover") {
        return;
    }
    {
        let siso = Siso::up(MEMBERS, &[]);
        let runtime = runtime();
        siso.connect(&runtime);
        let times = suffer(&siso, &runtime, faults);
        tell(report, &siso, &times, true);
    }
    if let Some(program) = etcd {
        let runtime = {
            let etcd = Etcd::up(program);
            let runtime = runtime();
            etcd.connect(&runtime);
            let times = suffer(&etcd, &runtime, faults);
            tell(report, &etcd, &times, false);
            runtime
        };
        drop(runtime);
    } else {
        report.remark("etcd: not measured, its program was not given");
    }
    let swarm = Swarm::up(MEMBERS, None);
    let runtime = runtime();
    let times = suffer(&swarm, &runtime, faults.div_ceil(SWARM_SHARE).max(FAULTS.len()));
    tell(report, &swarm, &times, false);
}
