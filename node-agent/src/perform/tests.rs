use std::{fs, os::unix::fs::symlink};

use model::{Desired, NodeId, ServiceName, ServiceSpec, spec::Mount};

use super::*;
use crate::{
    runtime::{ContainerState, fake::FakeEngine},
    testing::{assignment, set},
};

fn task(id: u64, desired: Desired, path: &str) -> Assignment {
    let mut spec = ServiceSpec::new("image");
    let source = MountSource::Bind { path: path.to_owned(), create: false };
    spec.mounts = vec![Mount { source, target: "/x".to_owned(), read_only: false }];
    let service = ServiceName::new(format!("s{id}")).unwrap();
    Assignment { service, desired, ..assignment(id, spec) }
}

#[tokio::test]
async fn before_every_start_the_policy_is_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().canonicalize().unwrap().join(name);
    for name in ["root", "root/sub", "outside", "agent"] {
        fs::create_dir(path(name)).unwrap();
    }
    let policy =
        Policy { bind_roots: vec![path("root")], data_dir: path("agent"), ..Policy::default() };
    let engine = Arc::new(FakeEngine::new().with_image("image"));
    let board = Arc::new(Board::new(model::Inventory::default()));
    let tools = Tools::new(Arc::clone(&engine), policy, ("c1".to_owned(), NodeId::new(1)), board);
    let sub = path("root/sub");
    let assignment = Arc::new(task(1, Desired::Run, sub.to_str().unwrap()));
    let subject =
        |beside| Some(Subject { assignment: Arc::clone(&assignment), beside, ports: Vec::new() });
    let id = assignment.task;
    let made = tools.perform(&Step::Create { task: id }, subject(Vec::new())).await;
    assert!(matches!(made, Outcome::Container { done: Ok(()), .. }), "{made:?}");
    let container = engine.containers().remove(0).id;
    let start = Step::Start { task: id, container: container.clone() };

    let beside = Neighbour { task: TaskId::new(2), path: path("root"), writes: true };
    let nested = tools.perform(&start, subject(vec![beside])).await;
    assert!(matches!(nested, Outcome::Refused(Refusal::BindNested { .. })), "{nested:?}");
    assert_eq!(engine.starts(), []);

    let started = tools.perform(&start, subject(Vec::new())).await;
    assert!(matches!(started, Outcome::Container { done: Ok(()), .. }), "{started:?}");
    engine.exit(&container, 1);

    fs::remove_dir(&sub).unwrap();
    symlink(path("outside"), &sub).unwrap();
    let swapped = tools.perform(&start, subject(Vec::new())).await;
    assert!(matches!(swapped, Outcome::Refused(Refusal::BindLeaves { .. })), "{swapped:?}");
    assert_eq!((engine.starts(), engine.containers()[0].state), (vec![id], ContainerState::Exited));
}

#[tokio::test]
async fn a_port_that_another_program_has_is_found_out() {
    let engine = Arc::new(FakeEngine::new());
    let board = Arc::new(Board::new(model::Inventory::default()));
    let cluster = ("c1".to_owned(), NodeId::new(1));
    let tools = Tools::new(Arc::clone(&engine), Policy::default(), cluster, board);
    let mut assignment = task(1, Desired::Prepare, "/srv");
    assignment.spec = Arc::new(ServiceSpec::new("image"));
    let port = |published| Port {
        host_ip: None,
        published: Some(published),
        target: 80,
        protocol: model::spec::Protocol::Tcp,
    };
    let subject = Subject {
        assignment: Arc::new(assignment),
        beside: Vec::new(),
        ports: vec![port(8080), port(8081)],
    };
    let step = Step::Permit { task: TaskId::new(1) };
    for taken in [false, true, false] {
        engine.set_port_taken(8081, taken);
        match tools.perform(&step, Some(subject.clone())).await {
            Outcome::Permitted(Ok(())) => assert!(!taken),
            Outcome::PortTaken(8081) => assert!(taken),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_fetched_is_remembered_and_what_was_there_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::new().with_image("there").with_remote("fetched", 1));
    let board = Arc::new(Board::new(model::Inventory::default()));
    let cluster = ("c1".to_owned(), NodeId::new(1));
    let fetched = Arc::new(Fetched::load(directory.path()));
    let tools = Tools::new(engine, Policy::default(), cluster, board).remembering(fetched);
    for image in ["there", "fetched", "fetched", "absent"] {
        tools.perform(&Step::Fetch { image: image.to_owned() }, None).await;
    }
    let written = fs::read_to_string(directory.path().join("images")).unwrap();
    assert_eq!(written, "sha256:fetched fetched\n");
}

#[tokio::test]
async fn registries_that_say_nothing_hold_up_no_image_of_another() {
    let silent: Vec<_> = (0..2 * PULLS).map(|number| format!("silent:{number}")).collect();
    let engine = silent.iter().fold(FakeEngine::new(), |engine, image| engine.with_silent(image));
    let board = Arc::new(Board::new(model::Inventory::default()));
    let cluster = ("c1".to_owned(), NodeId::new(1));
    let mut tools =
        Tools::new(Arc::new(engine.with_remote("good", 0)), Policy::default(), cluster, board);
    tools.quiet = Duration::from_millis(1);
    let tools = Arc::new(tools);
    let fetch = |image: &str| {
        let (tools, step) = (Arc::clone(&tools), Step::Fetch { image: image.to_owned() });
        tokio::spawn(async move { tools.perform(&step, None).await })
    };
    let waiting: Vec<_> = silent.iter().map(|image| fetch(image)).collect();
    // Turns are given in the order they are asked for.
    let fetched = timeout(Duration::from_mins(1), fetch("good")).await;
    let fetched = fetched.expect("a turn").unwrap();
    assert!(matches!(fetched, Outcome::Fetched(Ok(()))), "{fetched:?}");
    assert!(waiting.iter().all(|fetching| !fetching.is_finished()));
}

#[test]
fn of_two_that_are_assigned_at_once_the_later_one_sees_the_other() {
    let check = |subject: u64, desired: Desired, seen: &[u64]| {
        let set = set([1, 2, 3].map(|id| task(id, desired, "/srv")).to_vec());
        let found = beside(
            TaskId::new(subject),
            (&set, &Leases::default()),
            &Observed::default(),
            &BTreeMap::new(),
        );
        let found: Vec<u64> = found.iter().map(|other| other.task.raw()).collect();
        assert_eq!(found, seen);
    };
    check(1, Desired::Run, &[]);
    check(2, Desired::Run, &[1]);
    check(3, Desired::Prepare, &[1, 2]);
    check(3, Desired::Stop, &[]);
}
