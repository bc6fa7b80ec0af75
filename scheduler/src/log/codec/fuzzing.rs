//! What the log holds whatever its bytes are: called by its own tests and by the guided fuzzer of
//! `tests/fuzz/guided`.

use std::{collections::BTreeMap, sync::OnceLock};

use model::{
    Bytes, Inventory, MilliCpu, NodeName, ServiceName, ServiceSpec, StackName, StackSpec,
    Timestamp, token::Role,
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
    let mut cluster = home().clone();
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

/// A cluster in which most commands have something to act on: two machines, of which one has room,
/// and the tasks of a stack on them.
fn home() -> &'static Cluster {
    static HOME: OnceLock<Cluster> = OnceLock::new();
    HOME.get_or_init(|| {
        let (at, mut cluster) = (Timestamp(1_000), Cluster::new());
        let secret_hash = [7; 32];
        fold(&mut cluster, at, Command::Found { id: "c".into(), name: "home".into() });
        let expires_at = Timestamp(u64::MAX);
        for (number, memory) in [(1, Bytes::gib(8)), (2, Bytes::gib(1))] {
            let token = Command::CreateToken { role: Role::Node, secret_hash, expires_at };
            fold(&mut cluster, at, token);
            let token = *cluster.tokens().keys().last().expect("a token");
            let name = NodeName::new(format!("n{number}")).expect("a name");
            let labels = [("disk".to_owned(), "fast".to_owned())].into();
            let address = format!("10.0.0.{number}");
            fold(&mut cluster, at, Command::JoinNode { name, labels, address, token, secret_hash });
            let node = *cluster.nodes().keys().last().expect("a node");
            let cpu = MilliCpu::cores(8);
            let inventory = Inventory { memory, cpu, engine_ready: true, ..Inventory::default() };
            let update = Command::UpdateNode { node, inventory, address: String::new() };
            fold(&mut cluster, at, update);
        }
        fold(&mut cluster, at, Command::ApplyStack { spec: shop(), basis: None });
        act(&mut cluster, at);
        assert!(cluster.tasks().values().any(|task| task.node.is_some()), "{cluster:?}");
        cluster
    })
}

fn shop() -> StackSpec {
    let service = |replicas| {
        let mut spec = ServiceSpec::new("image");
        spec.replicas = replicas;
        spec.resources.reserved.memory = Bytes::mib(300);
        spec
    };
    let services = [("web", 3), ("db-1", 1)];
    StackSpec {
        name: StackName::new("a").expect("a name"),
        services: services
            .map(|(name, replicas)| (ServiceName::new(name).expect("a name"), service(replicas)))
            .into(),
        volumes: BTreeMap::new(),
        networks: BTreeMap::new(),
    }
}
