//! The fold: what is refused, what is answered twice, what is remembered.

mod authorities;
mod members;
mod memory;
mod operators;
mod schedulers;

use model::{
    Desired, Liveness, RequestId, Revision, TaskReport, TaskState, TaskStatus, Timestamp,
    spec::Condition, token::Role,
};

use crate::{
    Applied, Change, Cluster, ClusterImage, Command, Entry, Outcome, Rejection,
    cluster::{
        limits,
        snapshot::{BadImage, IMAGE_VERSION},
    },
    testing::{
        With, World, depend, inventory, mount, publish, service, service_name, single, stack,
        stack_name,
    },
};

#[test]
fn the_same_request_is_answered_as_the_first_time() {
    let mut cluster = Cluster::new();
    let create = Command::CreateToken {
        role: Role::Node,
        secret_hash: [1; 32],
        expires_at: Timestamp(9_000),
    };
    let entry =
        |at, id, command| Entry { at: Timestamp(at), request: Some(RequestId(id)), command };
    let first = cluster.apply(&entry(1, 7, create.clone()));
    assert_eq!(cluster.apply(&entry(2, 7, create.clone())), first);
    assert_eq!(cluster.tokens().len(), 1);
    let other = cluster.apply(&entry(2, 8, create.clone()));
    assert_ne!(other.result, first.result);
    let unknown = Command::RemoveStack { stack: stack_name("s"), volumes: false };
    let refused = cluster.apply(&entry(3, 9, unknown.clone())).result.unwrap_err();
    let again = cluster.apply(&entry(4, 9, unknown)).result.unwrap_err();
    assert_eq!(again.to_string(), refused.to_string());
    assert_eq!(again.is_input_error(), refused.is_input_error());
    // In a cluster of an earlier form, nobody retries for longer than an hour.
    let late = cluster.apply(&entry(limits::REQUEST_MEMORY_MS * 2, 10, create.clone()));
    assert!(late.result.is_ok());
    assert_ne!(
        cluster.apply(&entry(limits::REQUEST_MEMORY_MS * 2, 7, create)).result,
        first.result
    );
}

#[test]
fn answers_are_remembered_up_to_a_limit() {
    let mut cluster = Cluster::new();
    let refuse = |cluster: &mut Cluster, at, id| {
        let command = Command::RevokeToken { token: model::TokenId::new(1) };
        let entry = Entry { at: Timestamp(at), request: Some(RequestId(id)), command };
        assert!(cluster.apply(&entry).result.is_err());
    };
    let kept = |cluster: &Cluster| {
        let requests = ClusterImage::from(cluster).requests.into_iter();
        requests.map(|held| held.request.0).collect::<Vec<_>>()
    };
    let most = limits::MAX_REQUESTS as u128;
    // The later an id, the earlier it was asked: clocks of leaders differ.
    for id in 0..most + 50 {
        refuse(&mut cluster, 10_000 - u64::try_from(id).unwrap(), id);
    }
    let newest: Vec<_> = (0..most - 1).chain([most + 49]).collect();
    assert_eq!(kept(&cluster), newest);
    refuse(&mut cluster, 10_000 + limits::REQUEST_MEMORY_MS - 1, most + 50);
    assert_eq!(kept(&cluster), [0, most + 50]);
    assert_eq!(cluster.revision(), Revision(0), "a refusal is no change");
}

#[test]
fn a_clock_that_steps_makes_nobody_forget_what_was_answered() {
    let mut cluster = Cluster::new();
    let raise = Entry { at: Timestamp(0), request: None, command: Command::RaiseForm { form: 4 } };
    cluster.apply(&raise).result.unwrap();
    let create = |at, id| {
        let command = Command::CreateToken {
            role: Role::Node,
            secret_hash: [1; 32],
            expires_at: Timestamp(u64::MAX),
        };
        Entry { at: Timestamp(at), request: Some(RequestId(id)), command }
    };
    let years = limits::REQUEST_MEMORY_MS * 24 * 365 * 2;
    let first = cluster.apply(&create(years, 1));
    for (id, at) in [(2, years * 2), (3, 0), (4, years)] {
        assert_ne!(cluster.apply(&create(at, id)), first);
        assert_eq!(cluster.apply(&create(at, 1)), first, "{at}");
    }
    assert_eq!(cluster.tokens().len(), 4);
    // Of too many, the one that was answered first is forgotten first, whatever its stamp.
    for id in 0..limits::MAX_REQUESTS as u128 - 3 {
        let command = Command::RevokeToken { token: model::TokenId::new(99) };
        let entry = Entry { at: Timestamp(5), request: Some(RequestId(1_000 + id)), command };
        assert!(cluster.apply(&entry).result.is_err());
    }
    let requests = ClusterImage::from(&cluster).requests;
    assert_eq!(requests.len(), limits::MAX_REQUESTS);
    let kept: Vec<_> = requests.iter().map(|held| held.request.0).take(3).collect();
    assert_eq!(kept, [2, 3, 4]);
}

#[test]
fn a_stack_that_cannot_be_is_refused_in_words() {
    let check = |spec: model::StackSpec, expected: &str| {
        let mut world = World::new(&[("a", 1_000)]);
        let why = world.refused(Command::ApplyStack { spec, basis: None });
        assert_eq!(why.to_string(), expected);
        assert!(why.is_input_error());
    };
    let x = || service("x", 1);
    check(
        stack("s", &[("db", x().with(|s| mount(s, "data")).with(|s| s.replicas = 2))]),
        "service `db` has 2 replicas that write to volume `data`: two copies on the same data \
         destroy it; mount it `read_only`, or keep one replica",
    );
    check(
        stack("s", &[("db", x().with(|s| mount(s, "data")))]).with(|s| s.volumes.clear()),
        "service `db` mounts volume `data`, which the stack does not declare",
    );
    check(
        stack("s", &[("web", x().with(|s| s.replicas = 1_001))]),
        "too many replicas of one service: 1001, the limit is 1000",
    );
    check(
        stack("s", &[("web", x().with(|s| depend(s, "db", Condition::Started)))]),
        "service `web` depends on `db`, which the stack does not have",
    );
    let waits = |on: &str| x().with(|s| depend(s, on, Condition::Started));
    check(
        stack("s", &[("a", waits("b")), ("b", waits("c")), ("c", waits("b")), ("d", x())]),
        "services wait for each other: b -> c -> b",
    );
    check(
        stack("s", &[("web", x().with(|s| publish(s, 80)).with(|s| publish(s, 80)))]),
        "service `web` publishes host port 80 twice",
    );
    check(
        stack("s", &[("web", x().with(|s| s.strict_singleton = true).with(|s| s.replicas = 2))]),
        "service `web` is a strict singleton: it can have only one replica",
    );
}

#[test]
fn a_volume_of_another_stack_is_shared_only_when_that_is_said() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let named = |name: &str, external: bool| {
        stack(name, &[("db", service("x", 1).with(|s| mount(s, "data")))]).with(|s| {
            let volume = s.volumes.get_mut("data").unwrap();
            volume.name = Some("shared".into());
            volume.external = external;
        })
    };
    world.apply(&named("one", false));
    let taken = world.refused(Command::ApplyStack { spec: named("two", false), basis: None });
    let owner = stack_name("one");
    assert_eq!(taken, Rejection::VolumeTaken { volume: "shared".into(), owner });
    world.settle();
    world.apply(&named("two", true));
    world.settle();
    world.expect(&["one/db.1 e1 run running@a", "two/db.1 e1 run running@a"]);
    // The owner goes with its data; the data stays, for somebody else uses it.
    world.ok(Command::RemoveStack { stack: stack_name("one"), volumes: true });
    world.settle();
    assert!(!world.cluster.volumes()["shared"].removing);
}

#[test]
fn the_data_of_a_stack_that_is_gone_is_found_again_or_removed_when_that_is_said() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let spec = stack("s", &[("db", service("x", 1).with(|s| mount(s, "data")))]);
    let remove = |volumes| Command::RemoveStack { stack: stack_name("s"), volumes };
    world.apply(&spec);
    world.settle();
    for volumes in [false, true] {
        world.expect(&["s/db.1 e1 run running@a"]);
        world.ok(remove(false));
        world.settle();
        assert!(world.cluster.stack(&stack_name("s")).is_none());
        assert!(matches!(world.refused(remove(false)), Rejection::UnknownStack(_)));
        if volumes {
            assert_eq!(world.ok(remove(true)), Outcome::Done);
            assert!(world.cluster.volumes()["s_data"].removing);
        } else {
            world.apply(&spec);
            world.settle();
        }
    }
}

#[test]
fn a_write_on_an_outdated_view_is_refused() {
    let mut world = World::new(&[("a", 1_000)]);
    let spec = |image: &str| stack("s", &[("web", service(image, 1))]);
    let on = |image: &str, basis| Command::ApplyStack {
        spec: spec(image),
        basis: Some(Revision(basis)),
    };
    assert_eq!(world.ok(on("x:1", 0)), Outcome::Stack(Revision(1)));
    let why = world.refused(on("x:2", 0));
    assert!(!why.is_input_error());
    assert_eq!(world.ok(on("x:2", 1)), Outcome::Stack(Revision(2)));
}

#[test]
fn history_is_kept_and_rolling_back_makes_a_new_revision() {
    let mut world = World::new(&[("a", 1_000)]);
    for number in 1..=25 {
        world.apply(&stack("s", &[("web", service(&format!("x:{number}"), 1))]));
    }
    let name = stack_name("s");
    let back = |to| Command::RollbackStack { stack: stack_name("s"), to };
    assert_eq!(world.cluster.stack(&name).unwrap().history().len(), limits::MAX_HISTORY);
    let forgotten = world.refused(back(Some(Revision(5))));
    assert_eq!(
        forgotten,
        Rejection::UnknownRevision { stack: name.clone(), revision: Revision(5) }
    );
    assert_eq!(world.ok(back(None)), Outcome::Stack(Revision(26)));
    let image = |world: &World| {
        world.cluster.service(&name, &service_name("web")).unwrap().spec.image.clone()
    };
    assert_eq!(image(&world), "x:24");
    assert_eq!(world.ok(back(Some(Revision(10)))), Outcome::Stack(Revision(27)));
    assert_eq!(image(&world), "x:10");
    let rows = crate::view::history(&world.cluster, &name).unwrap();
    assert_eq!((rows[0].cause.as_str(), rows[0].current), ("rollback to 10", true));
    assert_eq!(rows[0].changes[0].fields, ["image"]);
    world.check_snapshot();
}

#[test]
fn a_token_is_used_once_in_time_and_for_its_role() {
    let mut world = World::new(&[]);
    let make = |world: &mut World, role| {
        let expires_at = world.now.plus_millis(1_000);
        let made = world.ok(Command::CreateToken { role, secret_hash: [3; 32], expires_at });
        let Outcome::Token(token) = made else { panic!("{made:?}") };
        token
    };
    let join = |token, hash, name: &str| Command::JoinNode {
        name: model::NodeName::new(name).unwrap(),
        labels: [].into(),
        address: "a:1".into(),
        token,
        secret_hash: [hash; 32],
    };
    let token = make(&mut world, Role::Node);
    assert_eq!(world.refused(join(token, 4, "a")), Rejection::BadToken);
    assert_eq!(world.ok(join(token, 3, "a")), Outcome::Node(model::NodeId::new(1)));
    assert_eq!(world.refused(join(token, 3, "b")), Rejection::BadToken);
    let wrong = make(&mut world, Role::Scheduler);
    assert_eq!(world.refused(join(wrong, 3, "b")), Rejection::BadToken);
    let spare = make(&mut world, Role::Node);
    assert!(matches!(world.refused(join(spare, 3, "a")), Rejection::NodeNameTaken(_)));
    assert_eq!(world.ok(join(spare, 3, "b")), Outcome::Node(model::NodeId::new(2)));
    let late = make(&mut world, Role::Node);
    world.pass(1_000);
    assert_eq!(world.refused(join(late, 3, "c")), Rejection::BadToken);
    let revoked = make(&mut world, Role::Node);
    world.ok(Command::RevokeToken { token: revoked });
    assert_eq!(world.refused(join(revoked, 3, "c")), Rejection::BadToken);
}

#[test]
fn a_node_that_lost_everything_may_come_again_under_its_name_when_nothing_waits_for_it() {
    let mut world = World::new(&[("a", 1_000)]);
    let node = world.node("a");
    world.ok(Command::SetLiveness { node, liveness: Liveness::Down });
    assert_eq!(world.join("a", 1_000, &[]), model::NodeId::new(2));
    assert!(world.cluster.node(node).is_none());
}

fn running(world: &World) -> (model::TaskId, model::NodeId) {
    let task = world.cluster.tasks().values().next().unwrap();
    (task.id, task.node.unwrap())
}

fn report(task: model::TaskId, state: TaskState, sequence: u64) -> TaskReport {
    TaskReport { task, status: TaskStatus { state, sequence, ..TaskStatus::default() } }
}

#[test]
fn a_node_speaks_only_of_its_own_tasks_and_never_backwards() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&stack("s", &[("web", service("x", 1))]));
    world.settle();
    let (task, node) = running(&world);
    let other = world.node("b");
    let say = |node, reports| Command::ReportTasks { node, reports };
    let foreign = world.run(say(other, vec![report(task, TaskState::Failed, 99)]));
    assert_eq!(foreign.result, Err(Rejection::NotItsTask { node: other, task }));
    assert_eq!(
        world.ok(say(node, vec![report(task, TaskState::Starting, 99)])),
        Outcome::Unchanged
    );
    assert_eq!(world.ok(say(node, vec![report(task, TaskState::Lost, 99)])), Outcome::Unchanged);
    assert_eq!(world.cluster.task(task).unwrap().status.state, TaskState::Running);
    let long = "x".repeat(limits::MAX_MESSAGE * 2);
    let mut failed = report(task, TaskState::Failed, 100);
    failed.status.failure = Some(model::task::Failure::new(model::task::Cause::Exited, long));
    world.ok(say(node, vec![failed]));
    let kept = world.cluster.task(task).unwrap().status.failure.clone().unwrap().message;
    assert_eq!(kept.chars().count(), limits::MAX_MESSAGE + 1);
    assert_eq!(
        world.ok(say(node, vec![report(task, TaskState::Running, 200)])),
        Outcome::Unchanged
    );
}

#[test]
fn changes_that_no_longer_hold_are_refused_alone() {
    let mut world = World::new(&[("a", 100)]);
    world.apply(&stack("s", &[("one", service("x", 80)), ("two", service("x", 10))]));
    let planned = crate::plan(&world.cluster, &world.beats, world.now);
    // Meanwhile the node shrinks: only the large one no longer fits.
    let node = world.node("a");
    world.ok(Command::UpdateNode { node, inventory: inventory(50), address: "a".into() });
    let Outcome::Planned { refused } =
        world.ok(Command::Plan { basis: planned.basis, changes: planned.changes.clone() })
    else {
        panic!("not a plan")
    };
    assert!(refused[0].contains("needs 80.0 MiB, 50.0 MiB free"), "{refused:?}");
    let placed = world.cluster.tasks().values().filter(|task| task.node.is_some()).count();
    assert_eq!(placed, 1);
    let stale = world.refused(Command::Plan { basis: planned.basis, changes: planned.changes });
    assert!(matches!(stale, Rejection::StalePlan { .. }));
}

#[test]
fn desired_moves_only_forward_and_nothing_running_is_forgotten() {
    let mut world = World::new(&[("a", 100)]);
    world.apply(&stack("s", &[("one", service("x", 80))]));
    world.settle();
    let (task, _) = running(&world);
    for change in [
        Change::SetDesired { task, desired: Desired::Prepare },
        Change::SetDesired { task, desired: Desired::Run },
        Change::Forget { task },
        Change::MarkLost { task, down_since: None },
        Change::ForgetStack { stack: stack_name("s") },
    ] {
        let command = single(&world, change);
        let Applied { result, .. } = world.run(command);
        let Ok(Outcome::Planned { refused }) = result else { panic!("{result:?}") };
        assert_eq!(refused.len(), 1);
    }
}

#[test]
fn a_snapshot_that_cannot_be_is_refused() {
    let mut world = World::new(&[("a", 100)]);
    world.apply(&stack("s", &[("one", service("x", 80))]));
    world.settle();
    world.check_snapshot();
    let image = || ClusterImage::from(&world.cluster);
    let refused = |image: ClusterImage| Cluster::try_from(image).unwrap_err();
    let found = IMAGE_VERSION + 1;
    assert_eq!(refused(ClusterImage { version: found, ..image() }), BadImage::Version { found });
    assert!(matches!(refused(ClusterImage { specs: vec![], ..image() }), BadImage::NoSpec { .. }));
    assert!(matches!(refused(ClusterImage { nodes: vec![], ..image() }), BadImage::Invalid(_)));
    let twice = [image().tasks, image().tasks].concat();
    assert!(matches!(refused(ClusterImage { tasks: twice, ..image() }), BadImage::Twice(_)));
    let next_task = model::TaskId::new(1);
    assert!(matches!(refused(ClusterImage { next_task, ..image() }), BadImage::Invalid(_)));
}

#[test]
fn events_are_kept_up_to_a_limit() {
    let mut world = World::new(&[("a", 100)]);
    let node = world.node("a");
    for _ in 0..limits::MAX_EVENTS {
        for liveness in [Liveness::Unreachable, Liveness::Ready] {
            let command = Command::SetLiveness { node, liveness };
            let entry = Entry { at: world.now, request: None, command };
            assert!(world.cluster.apply(&entry).result.is_ok());
        }
    }
    assert_eq!(world.cluster.events().len(), limits::MAX_EVENTS);
    let last = world.cluster.revision();
    assert_eq!(crate::view::events(&world.cluster, Revision(last.0 - 3)).len(), 3);
}

#[test]
fn an_agent_whose_engine_never_answered_takes_no_memory_from_its_node() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("web", 600))]));
    world.settle();
    let node = world.node("a");
    // After a restart without a ledger, while the engine is still starting.
    let inventory = model::Inventory::default();
    world.ok(Command::UpdateNode { node, inventory, address: "a".into() });
    let held = &world.cluster.node(node).unwrap().inventory;
    assert_eq!((held.engine_ready, held.allocatable().memory), (false, model::Bytes::mib(1_000)));
}

#[test]
fn a_task_is_not_let_run_when_the_loss_of_its_predecessor_was_refused() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&stack("s", &[("web", service("web", 100).with(|s| publish(s, 80)))]));
    world.settle();
    let node = world.node("a");
    let down = Liveness::Down;
    world.ok(Command::SetLiveness { node, liveness: down });
    let mut beats = crate::Heartbeats::new(world.now);
    beats.beat(world.node("b"), world.now);
    let planned = crate::plan(&world.cluster, &beats, world.now);
    // By the time the plan is taken, the node is back. What is left of the plan breaks no rule.
    world.ok(Command::SetLiveness { node, liveness: Liveness::Ready });
    let (basis, changes) = (planned.basis, planned.changes);
    let taken = world.ok(Command::Plan { basis, changes });
    let Outcome::Planned { refused } = taken else { panic!("{taken:?}") };
    assert_eq!(refused, ["t1 is on n1, which is there", "t2 may not run beside t1"]);
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);
}
