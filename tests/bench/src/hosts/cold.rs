//! No power anywhere, and everything starts again.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    docker::{GLANCE, containers},
    failover::MEMBERS,
    possible,
    siso::Siso,
};
use crate::{
    figure::{Report, Wanted},
    say,
};

const SERVICES: usize = 7;
const ALL: [u32; 3] = [1, 2, 3];
const LIMIT: Duration = Duration::from_mins(3);

fn stack() -> String {
    let service = |number| {
        format!(
            "  s{number}:\n    image: siso/test:1\n    command: [sleep, '1000000']\n    \
             mem_limit: 16m\n    volumes: ['d{number}:/data']\n"
        )
    };
    let services: String = (1..=SERVICES).map(service).collect();
    let volume = |number| format!("  d{number}: {{}}\n");
    let volumes: String = (1..=SERVICES).map(volume).collect();
    format!("name: cold\nservices:\n{services}volumes:\n{volumes}")
}

/// Measures from the first process of the first host to the last of the services running, and to the
/// cluster's being asked and calling all ready.
pub(crate) fn measure(report: &mut Report, rounds: usize) {
    say("no power on three hosts, and back");
    if !possible(report, "cold start") {
        return;
    }
    let mut siso = Siso::up(MEMBERS, &[]);
    siso.cluster.apply(&stack()).expect(0);
    let (mut running, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let cluster = &mut siso.cluster;
        cluster.hosts.power_cut(&ALL);
        let since = Instant::now();
        cluster.hosts.boot(&ALL);
        let run = |cluster: &siso_tests::hosts::Cluster| {
            let up =
                ALL.iter().filter(|host| cluster.hosts.host(**host).engine().answers().is_ok());
            let all = up.flat_map(|host| containers(&cluster.hosts, *host, "siso.stack=cold"));
            all.filter(|(_, runs)| *runs).count()
        };
        while run(cluster) < SERVICES {
            assert!(since.elapsed() < LIMIT, "they do not start");
            thread::sleep(GLANCE);
        }
        running.push(since.elapsed().as_secs_f64());
        let told = |cluster: &siso_tests::hosts::Cluster| {
            let tasks = cluster.tasks("cold").unwrap_or_default();
            tasks.iter().filter(|task| task["ready"] == true).count()
        };
        let whole = |cluster: &siso_tests::hosts::Cluster| {
            ALL.iter().all(|host| cluster.node_state(*host).is_ok_and(|state| state == "ready"))
        };
        while told(cluster) < SERVICES || !whole(cluster) {
            assert!(since.elapsed() < LIMIT, "nobody tells that they run");
            thread::sleep(GLANCE);
        }
        ready.push(since.elapsed().as_secs_f64());
    }
    let what = format!("{SERVICES} services on volumes, all running");
    report.add("cold start", (what, "s"), running, Some(Wanted::AtMost(60.0)));
    report.add(
        "cold start",
        ("the cluster calls all ready", "s"),
        ready,
        Some(Wanted::AtMost(60.0)),
    );
}
