//! Views for tests, complete and ordinary; each test changes what it is about.

pub(crate) mod cluster;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use model::{
    Bytes, MilliCpu,
    view::{
        AutomaticRow, AutomaticView, ChangeAction, DrainMove, DrainStay, DrainView, FieldChange,
        MemorySource, NodeCpus, NodeDisk, NodeMemory, NodeRow, OutlookView, PlacedTask,
        PlacementNode, PlanNode, PlanView, RebalanceMove, RebalanceView, ReplicaPlacement,
        ServiceChange, TaskRow, Verdict,
    },
};

use crate::output::{Look, Out};

/// What a command wrote.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The same when it may hold anything.
    pub(crate) fn text_lossy(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Streams to read back: the `Out`, its standard output, its standard error.
pub(crate) fn streams(look: Look) -> (Out, Sink, Sink) {
    let (stdout, stderr) = (Sink::default(), Sink::default());
    (Out::new(look, Box::new(stdout.clone()), Box::new(stderr.clone())), stdout, stderr)
}

/// The first replica of a service of stack `shop` that reserves so many MiB, as `placement` shows it.
pub(crate) fn placed_task(service: &str, mib: u64) -> PlacedTask {
    PlacedTask {
        task: "t1".to_owned(),
        stack: "shop".to_owned(),
        service: service.to_owned(),
        replica: 1,
        memory: Bytes::mib(mib),
        reason: None,
        succession: None,
        generic: BTreeMap::new(),
    }
}

/// A machine of so many GiB with these services and the MiB they reserve, as `placement` shows it.
pub(crate) fn placed_on(name: &str, gib: u64, tasks: &[(&str, u64)]) -> PlacementNode {
    let tasks: Vec<_> = tasks.iter().map(|(service, mib)| placed_task(service, *mib)).collect();
    let reserved = tasks.iter().map(|task| task.memory).sum();
    PlacementNode {
        name: name.to_owned(),
        allocatable: Bytes::gib(gib),
        reserved,
        free: Bytes::gib(gib).saturating_sub(reserved),
        tasks,
        generic: BTreeMap::new(),
    }
}

/// A healthy task of stack `shop` on `mini-1`.
pub(crate) fn task(service: &str, replica: u32) -> TaskRow {
    TaskRow {
        stack: "shop".to_owned(),
        service: service.to_owned(),
        replica,
        task: format!("t-{service}-{replica}"),
        node: Some("mini-1".to_owned()),
        desired: "run".to_owned(),
        state: "running".to_owned(),
        health: Some("healthy".to_owned()),
        image: "pgvector/pgvector:pg16".to_owned(),
        memory_reservation: Bytes::mib(512),
        memory_limit: Bytes::gib(2),
        memory_used: Some(Bytes::mib(300)),
        cpus: MilliCpu(500),
        container: Some("4f1c".to_owned()),
        started_at: Some("2026-03-01T11:57:00Z".to_owned()),
        restarts: 0,
        epoch: 1,
        error: None,
        revision: 1,
        ready: true,
        pull: None,
        waiting_for: None,
        succession: None,
    }
}

/// A ready machine of 14 GiB.
pub(crate) fn node(name: &str) -> NodeRow {
    NodeRow {
        name: name.to_owned(),
        id: "n1".to_owned(),
        state: "ready".to_owned(),
        schedulable: true,
        labels: BTreeMap::from([("role".to_owned(), "database".to_owned())]),
        address: "10.0.0.1:7401".to_owned(),
        arch: "arm64".to_owned(),
        engine: "docker 27.3.1".to_owned(),
        version: "0.1.0".to_owned(),
        memory: NodeMemory {
            capacity: Bytes::gib(14),
            reserve: Bytes::mib(512),
            allocatable: Bytes::mib(13 * 1024 + 512),
            reserved: Bytes::gib(6),
            limits: Bytes::gib(16),
            used: Some(Bytes::gib(3)),
        },
        cpus: NodeCpus { capacity: MilliCpu(8000), reserved: MilliCpu(2500) },
        tasks: 4,
        disk: NodeDisk { capacity: Bytes::gib(100), free: Bytes::gib(61) },
        engine_ready: true,
        drain_until: None,
        generic: BTreeMap::new(),
    }
}

/// A verdict of a machine that has too little memory.
pub(crate) fn short(node: &str) -> Verdict {
    Verdict {
        node: node.to_owned(),
        fits: false,
        reason: "needs 2.0 GiB, 1.3 GiB free, short 716.8 MiB".to_owned(),
        resource: Some("memory".to_owned()),
        needed: Some(Bytes::gib(2).0),
        free: Some(1_395_864_371),
        short: Some(751_619_277),
        score: None,
    }
}

/// A replica that has its place.
pub(crate) fn placed(service: &str, replica: u32) -> ReplicaPlacement {
    ReplicaPlacement {
        stack: "shop".to_owned(),
        origin: None,
        service: service.to_owned(),
        replica,
        node: Some("mini-1".to_owned()),
        memory: Bytes::mib(512),
        memory_basis: Some(MemorySource::Reservation),
        cpus: MilliCpu(500),
        verdicts: vec![Verdict {
            node: "mini-1".to_owned(),
            fits: true,
            reason: "fits, 7.5 GiB free afterwards".to_owned(),
            resource: None,
            needed: None,
            free: None,
            short: None,
            score: Some(vec![0, 1, 0, 0, 7680 << 20, 1]),
        }],
        fixes: Vec::new(),
        succession: None,
        generic: BTreeMap::new(),
        misfits: BTreeMap::new(),
    }
}

/// A replica that has none.
pub(crate) fn unplaced(service: &str, replica: u32) -> ReplicaPlacement {
    ReplicaPlacement {
        node: None,
        memory: Bytes::gib(2),
        verdicts: vec![short("mini-1"), short("mini-2")],
        fixes: vec![format!("lower the memory reservation of {service} to 1.3 GiB")],
        ..placed(service, replica)
    }
}

/// A plan with everything in it.
pub(crate) fn plan() -> PlanView {
    let change = |action, service: &str, fields: &[&str]| ServiceChange {
        action,
        service: service.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        values: Vec::new(),
    };
    let value = |field: &str, old: Option<&str>, new: Option<&str>| FieldChange {
        field: field.to_owned(),
        what: "changed".to_owned(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
    };
    let values = vec![
        value("image", Some("web:1"), Some("web:2")),
        value("environment.BACKEND", None, None),
        value("user", None, Some("1000")),
    ];
    PlanView {
        stack: "shop".to_owned(),
        revision: 4,
        changes: vec![
            change(ChangeAction::Create, "neo4j", &[]),
            change(ChangeAction::Keep, "postgres", &[]),
            change(ChangeAction::Remove, "old", &[]),
            change(ChangeAction::Update, "api", &["deploy.replicas"]),
            ServiceChange {
                values,
                ..change(ChangeAction::Replace, "web", &["image", "environment", "user"])
            },
        ],
        placements: vec![placed("postgres", 1), placed("web", 1), unplaced("neo4j", 1)],
        nodes: vec![PlanNode {
            name: "mini-1".to_owned(),
            allocatable: Bytes::gib(14),
            reserved_before: Bytes::gib(6),
            reserved_after: Bytes::gib(7),
            free_after: Bytes::gib(7),
            tasks: vec!["shop/postgres.1".to_owned(), "shop/web.1".to_owned()],
        }],
        unplaced: 1,
        warnings: vec!["web names no memory: 256.0 MiB is assumed".to_owned()],
        outlook: Some(OutlookView {
            optimal: true,
            off: Bytes::ZERO,
            short: Some("1.3 GiB short on role=database".to_owned()),
        }),
    }
}

/// A drain with everything in it.
pub(crate) fn draining() -> DrainView {
    let moves = |service: &str, down_because: Option<&str>| DrainMove {
        task: format!("t-{service}-1"),
        stack: "shop".to_owned(),
        service: service.to_owned(),
        replica: 1,
        memory: Bytes::mib(512),
        to: "mini-2".to_owned(),
        down_because: down_because.map(str::to_owned),
    };
    DrainView {
        node: "mini-1".to_owned(),
        moves: vec![moves("web", None), moves("proxy", Some("it publishes a host port"))],
        stays: vec![stay("postgres")],
        nodes: plan().nodes,
    }
}

/// Two moves, one of which interrupts, with everything in it.
pub(crate) fn rebalancing() -> RebalanceView {
    let moves = |service: &str, how: &str| RebalanceMove {
        stack: "shop".to_owned(),
        service: service.to_owned(),
        replica: 1,
        task: format!("t-{service}-1"),
        from: "mini-1".to_owned(),
        to: "mini-2".to_owned(),
        memory: Bytes::mib(512),
        how: how.to_owned(),
    };
    RebalanceView {
        moves: vec![moves("web", "start-first"), moves("proxy", "stop-first")],
        nodes: plan().nodes,
        left: vec![stay("postgres")],
        fewest: true,
        unplaced_before: 1,
        unplaced_after: 0,
        gains: vec!["mini-1 becomes empty".to_owned(), "4.0 GiB free on mini-1".to_owned()],
        warnings: vec![
            "shop/proxy.1 is down for a moment while it moves: it publishes a host port".to_owned(),
        ],
    }
}

/// An automatic mode that moved twice within the hour; the second move failed.
pub(crate) fn automatic() -> AutomaticView {
    let row = |service: &str, at: &str, error: Option<&str>| AutomaticRow {
        stack: "shop".to_owned(),
        service: service.to_owned(),
        replica: 1,
        from: "mini-1".to_owned(),
        to: "mini-2".to_owned(),
        at: at.to_owned(),
        reason: "so that shop/db.1 has room".to_owned(),
        state: if error.is_some() { "failed" } else { "moved" }.to_owned(),
        error: error.map(str::to_owned),
    };
    let why = "replica 1 (task t9): its node is down";
    AutomaticView {
        on: true,
        since: Some("2026-03-01T11:00:00Z".to_owned()),
        moves: vec![
            row("api", "2026-03-01T11:50:00Z", Some(why)),
            row("web", "2026-03-01T11:40:00Z", None),
        ],
        moves_last_hour: 2,
        most_per_hour: 10,
        paused: Some(format!("the move of shop/api.1 from mini-1 to mini-2 was given up: {why}")),
    }
}

/// A task that cannot leave.
pub(crate) fn stay(service: &str) -> DrainStay {
    DrainStay {
        task: format!("t-{service}-1"),
        stack: "shop".to_owned(),
        service: service.to_owned(),
        replica: 1,
        memory: Bytes::gib(2),
        reason: "its volume `data` lives on mini-1: data does not move by itself".to_owned(),
        fixes: vec![
            "keep mini-1 and let it take work again: sisoctl node uncordon mini-1".to_owned(),
        ],
    }
}
