//! What the log holds whatever its bytes are: called by its own tests and by the guided fuzzer of
//! `tests/fuzz/guided`.

use std::{collections::BTreeMap, sync::OnceLock};

use model::{
    Bytes, Inventory, MilliCpu, NodeName, ServiceName, ServiceSpec, StackName, StackSpec,
    TaskReport, TaskState, TaskStatus, Timestamp, VolumeName,
    spec::{Mount, MountSource, VolumeSpec},
    token::Role,
};
use scheduler_core::{
    Cluster, ClusterImage, Command, Entry, Heartbeats, assignments, cluster::invariants, plan, view,
};

use super::{decode_entry, decode_image, encode_entry, encode_image};

/// Plans in a row; what the first proposes is acted on by the second.
const PLANS: u32 = 3;

/// An entry is refused, or read, written and read again as the same; and whatever it asks, the
/// cluster it is folded into stays one that can be, and can be planned.
///
/// # Panics
///
/// When it is not.
pub fn entry(bytes: &[u8]) -> String {
    let entry = match decode_entry(bytes) {
        Ok(entry) => entry,
        Err(error) => return error.to_string(),
    };
    assert_eq!(decode_entry(&encode_entry(&entry)).as_ref().ok(), Some(&entry));
    let moments = moments();
    // By the entry's time, so that every moment is met.
    let moment = usize::try_from(entry.at.0).unwrap_or(usize::MAX) % moments.len();
    let mut cluster = moments[moment].clone();
    let answer = cluster.apply(&entry);
    lives_on(cluster, entry.at);
    match answer.result {
        Ok(outcome) => format!("{outcome:?}"),
        Err(why) => why.to_string(),
    }
}

/// A snapshot is refused, or read, written and read again as the same; and a cluster that is taken
/// from it can be planned.
///
/// # Panics
///
/// When it is not.
pub fn snapshot(bytes: &[u8]) -> String {
    let image = match decode_image(bytes) {
        Ok(image) => image,
        Err(error) => return error.to_string(),
    };
    assert_eq!(decode_image(&encode_image(&image)).as_ref().ok(), Some(&image));
    let at = image.events.last().map_or(Timestamp(1), |event| event.at);
    // A cluster that cannot be is refused, not taken.
    match Cluster::try_from(image) {
        Ok(cluster) => {
            let answer =
                format!("{} stacks, {} tasks", cluster.stacks().len(), cluster.tasks().len());
            lives_on(cluster, at);
            answer
        }
        Err(error) => error.to_string(),
    }
}

/// Plans are made of it and taken by it, and it is shown and written down; nothing of that may fail.
fn lives_on(mut cluster: Cluster, at: Timestamp) {
    can_be(&cluster, at);
    for _ in 0..PLANS {
        act(&mut cluster, at);
    }
    can_be(&cluster, at);
}

/// What the leader does while it hears of every node.
fn act(cluster: &mut Cluster, at: Timestamp) {
    let mut beats = Heartbeats::new(at);
    for node in cluster.nodes().keys() {
        beats.beat(*node, at);
    }
    let plan = plan(cluster, &beats, at);
    for (node, liveness) in plan.liveness {
        fold(cluster, at, Command::SetLiveness { node, liveness });
    }
    let basis = cluster.revision();
    fold(cluster, at, Command::Plan { basis, changes: plan.changes });
}

fn can_be(cluster: &Cluster, at: Timestamp) {
    assert_eq!(invariants::check(cluster), []);
    let bytes = encode_image(&ClusterImage::from(cluster));
    let image = decode_image(&bytes).expect("what was written is read");
    assert_eq!(Cluster::try_from(image).as_ref(), Ok(cluster));
    for node in cluster.nodes().keys() {
        let _ = assignments(cluster, *node);
    }
    let soft = view::Soft::none(at);
    let _ = view::status(cluster, &soft);
    let _ = (view::nodes(cluster, &soft), view::tasks(cluster, &soft, None));
    let _ = (view::placement(cluster), view::stacks(cluster), view::tokens(cluster, at));
    for stack in cluster.stacks().keys() {
        let _ = (view::history(cluster, stack), view::rollout(cluster, stack));
    }
}

fn fold(cluster: &mut Cluster, at: Timestamp, command: Command) {
    let _ = cluster.apply(&Entry { at, request: None, command });
}

/// A cluster at the moments of its life, in which most commands have something to act on: two
/// machines, of which one has room, and a stack that comes, is replaced, loses a machine and goes.
pub(super) fn moments() -> &'static [Cluster] {
    static MOMENTS: OnceLock<Vec<Cluster>> = OnceLock::new();
    MOMENTS.get_or_init(|| {
        let (at, mut cluster) = (Timestamp(1_000), Cluster::new());
        fold(&mut cluster, at, Command::Found { id: "c".into(), name: "home".into() });
        for (number, memory) in [(1, Bytes::gib(8)), (2, Bytes::gib(1))] {
            join(&mut cluster, at, number, memory);
        }
        let mut moments = vec![cluster.clone()];
        let mut then = |at: u64, commands: &[Command]| {
            for command in commands {
                fold(&mut cluster, Timestamp(at), command.clone());
            }
            act(&mut cluster, Timestamp(at));
            moments.push(cluster.clone());
            cluster.clone()
        };
        let stack = || StackName::new("a").expect("a name");
        let web = ServiceName::new("web").expect("a name");
        let placed = then(2_000, &[Command::ApplyStack { spec: shop(stack(), "v1"), basis: None }]);
        assert!(placed.tasks().values().any(|task| task.node.is_some()), "{placed:?}");
        then(3_000, &running(&placed));
        let replaced =
            then(4_000, &[Command::ApplyStack { spec: shop(stack(), "v2"), basis: None }]);
        then(5_000, &running(&replaced));
        then(6_000, &[Command::Scale { stack: stack(), service: web, replicas: 9 }]);
        let node = *replaced.nodes().keys().last().expect("a node");
        then(7_000, &[Command::SetSchedulable { node, schedulable: false }]);
        then(8_000, &[Command::RemoveStack { stack: stack(), volumes: true }]);
        moments
    })
}

fn join(cluster: &mut Cluster, at: Timestamp, number: u32, memory: Bytes) {
    let (secret_hash, expires_at) = ([7; 32], Timestamp(u64::MAX));
    fold(cluster, at, Command::CreateToken { role: Role::Node, secret_hash, expires_at });
    let token = *cluster.tokens().keys().last().expect("a token");
    let name = NodeName::new(format!("n{number}")).expect("a name");
    let labels = [("disk".to_owned(), "fast".to_owned())].into();
    let address = format!("10.0.0.{number}");
    fold(cluster, at, Command::JoinNode { name, labels, address, token, secret_hash });
    let node = *cluster.nodes().keys().last().expect("a node");
    let cpu = MilliCpu::cores(8);
    let inventory = Inventory { memory, cpu, engine_ready: true, ..Inventory::default() };
    fold(cluster, at, Command::UpdateNode { node, inventory, address: String::new() });
}

/// What the agents say when everything they were given runs.
fn running(cluster: &Cluster) -> Vec<Command> {
    let reports = |node| {
        let tasks = cluster.tasks_on(node).map(|task| {
            let status = TaskStatus { state: TaskState::Running, ..TaskStatus::default() };
            TaskReport { task: task.id, status }
        });
        tasks.collect()
    };
    let nodes = cluster.nodes().keys();
    nodes.map(|&node| Command::ReportTasks { node, reports: reports(node) }).collect()
}

fn shop(name: StackName, image: &str) -> StackSpec {
    let data = VolumeName::new("data").expect("a name");
    let service = |replicas| {
        let mut spec = ServiceSpec::new(image);
        spec.replicas = replicas;
        spec.resources.reserved.memory = Bytes::mib(300);
        spec
    };
    let mut db = service(1);
    let source = MountSource::Volume { name: data.clone(), no_copy: false };
    db.mounts.push(Mount { source, target: "/data".to_owned(), read_only: false });
    let services = [("web", service(3)), ("db-1", db)];
    StackSpec {
        name,
        services: services
            .map(|(name, spec)| (ServiceName::new(name).expect("a name"), spec))
            .into(),
        volumes: [(data, VolumeSpec::default())].into(),
        networks: BTreeMap::new(),
    }
}
