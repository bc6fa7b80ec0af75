//! A network that loses a fifth of all packets, with the defaults.

use std::{
    thread,
    time::{Duration, Instant},
};

use siso_tests::hosts::Scribe;

use super::{failover::MEMBERS, possible, siso::Siso};
use crate::{
    figure::{Report, Wanted},
    say,
};

const PERCENT: u32 = 20;
/// Between two looks at the nodes: a state that lasts shorter is not seen.
const GLANCE: Duration = Duration::from_millis(100);

/// Watches for so many minutes.
pub(crate) fn measure(report: &mut Report, minutes: u64) {
    say(&format!("{PERCENT} % of all packets lost, for {minutes} minutes"));
    if !possible(report, "loss") {
        return;
    }
    let siso = Siso::up(MEMBERS, &[]);
    let cluster = &siso.cluster;
    let term = || {
        let terms = (1..=MEMBERS).filter_map(|member| cluster.figure(member, "siso_raft_term"));
        terms.max().expect("a scheduler that tells its term")
    };
    let before = term();
    let scribe = Scribe::of(cluster);
    cluster.hosts.loss(PERCENT);
    let began = Instant::now();
    let (mut down, mut unreachable) = (0.0, 0.0);
    let mut was = vec![String::new(); MEMBERS as usize];
    while began.elapsed() < Duration::from_secs(minutes * 60) {
        for (number, was) in (1..=MEMBERS).zip(&mut was) {
            let Ok(state) = cluster.node_state(number) else { continue };
            if state != *was {
                down += f64::from(u8::from(state == "down"));
                unreachable += f64::from(u8::from(state == "unreachable"));
            }
            *was = state;
        }
        thread::sleep(GLANCE);
    }
    let lossy = Scribe::acknowledged(&scribe);
    cluster.hosts.heal();
    let elections = term().saturating_sub(before);
    scribe.finish(cluster);
    let part = "loss";
    let most = Some(Wanted::AtMost(0.0));
    report.add(
        part,
        (format!("{minutes} min at {PERCENT} %: nodes called down"), ""),
        vec![down],
        most,
    );
    report.add(part, ("the same: called unreachable for a while", ""), vec![unreachable], None);
    let count = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    report.add(part, ("the same: elections", ""), vec![count(elections)], None);
    report.add(part, ("the same: writes acknowledged, none lost", ""), vec![count(lossy)], None);
}
