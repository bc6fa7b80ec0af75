//! Machines get labels and go.

use std::collections::{BTreeMap, BTreeSet};

use model::NodeId;

use super::*;

fn label(node: NodeId, set: &[(&str, &str)], remove: &[&str]) -> Command {
    Command::LabelNode {
        node,
        set: set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        remove: remove.iter().map(|key| (*key).to_owned()).collect(),
    }
}

#[test]
fn labels_are_set_and_taken_away_and_the_rest_stays() {
    let mut world = World::new(&[]);
    let node = world.join("a", 1_000, &[("role", "web"), ("zone", "1")]);
    let check = |world: &mut World, set: &[_], remove: &[_], outcome, labels: &[(&str, &str)]| {
        assert_eq!(world.ok(label(node, set, remove)), outcome);
        let expected: BTreeMap<String, String> =
            labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(world.cluster.node(node).unwrap().labels, expected);
    };
    let (done, same) = (Outcome::Done, Outcome::Unchanged);
    check(&mut world, &[("role", "db")], &[], done.clone(), &[("role", "db"), ("zone", "1")]);
    check(&mut world, &[("role", "db")], &["disk"], same, &[("role", "db"), ("zone", "1")]);
    check(&mut world, &[("disk", "ssd")], &["zone", "role"], done, &[("disk", "ssd")]);
    assert_eq!(
        world.warned("labelled"),
        ["node a has the labels role=db, zone=1", "node a has the labels disk=ssd"]
    );
    world.check_snapshot();
    let many: Vec<String> = (0..=limits::MAX_LABELS).map(|n| format!("l{n}")).collect();
    let set = many.iter().map(|key| (key.clone(), "x".to_owned())).collect();
    let why = world.refused(Command::LabelNode { node, set, remove: BTreeSet::new() });
    assert_eq!(why.to_string(), "too many labels of a node: 66, the limit is 64");
    assert!(why.is_input_error());
    let gone = NodeId::new(9);
    assert_eq!(world.refused(label(gone, &[], &["x"])), Rejection::UnknownNode(gone));
}

#[test]
fn a_label_gives_a_waiting_task_its_place_and_one_taken_away_moves_nothing() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let spec = service("db", 100)
        .with(|s| s.placement.constraints = vec!["node.labels.role == database".parse().unwrap()]);
    world.apply(&stack("s", &[("db", spec)]));
    world.settle();
    world.expect(&["s/db.1 e1 prepare pending"]);
    let node = world.node("b");
    world.ok(label(node, &[("role", "database")], &[]));
    world.settle();
    world.expect(&["s/db.1 e1 run running@b"]);
    world.ok(label(node, &[], &["role"]));
    world.settle();
    world.expect(&["s/db.1 e1 run running@b"]);
}

fn rm(node: NodeId, tasks: bool, volumes: bool) -> Command {
    Command::RemoveNode { node, tasks, volumes, down_since: None }
}

/// Two machines; on `a` a task with data and one without.
fn furnished() -> (World, NodeId) {
    let mut world = World::new(&[("a", 1_000)]);
    let db = service("db", 100).with(|s| mount(s, "data"));
    world.apply(&stack("s", &[("db", db), ("web", service("web", 100))]));
    world.settle();
    world.join("b", 1_000, &[]);
    world.expect(&["s/db.1 e1 run running@a", "s/web.1 e1 run running@a"]);
    let node = world.node("a");
    (world, node)
}

#[test]
fn an_empty_node_is_removed_and_its_id_is_never_used_again() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let node = world.node("a");
    assert_eq!(world.ok(rm(node, false, false)), Outcome::Done);
    assert!(world.cluster.node(node).is_none());
    assert_eq!(world.refused(rm(node, true, true)), Rejection::UnknownNode(node));
    let late = Command::UpdateNode { node, inventory: inventory(1), address: "a".into() };
    assert_eq!(world.refused(late), Rejection::UnknownNode(node));
    assert_eq!(world.join("a", 1_000, &[]), NodeId::new(3));
    world.check_snapshot();
    world.settle();
}

#[test]
fn a_node_that_is_there_is_not_removed_with_its_tasks_whatever_is_said() {
    let (mut world, node) = furnished();
    for (tasks, volumes, told) in [
        (false, false, "node `a` still has 2 tasks (s/db.1, s/web.1) and 1 volume (s_data)"),
        (true, false, "node `a` still has 2 tasks (s/db.1, s/web.1) and 1 volume (s_data)"),
        (true, true, "node `a` still has 2 tasks (s/db.1, s/web.1)"),
    ] {
        let why = world.refused(rm(node, tasks, volumes));
        assert_eq!(why.to_string(), told);
        assert!(!why.is_input_error());
    }
    let unreachable = Liveness::Unreachable;
    world.ok(Command::SetLiveness { node, liveness: unreachable });
    assert!(matches!(
        world.refused(rm(node, true, true)),
        Rejection::NodeHolds { down: false, .. }
    ));
}

#[test]
fn what_is_given_up_with_a_node_that_is_down_is_named_and_begins_anew_elsewhere() {
    let (mut world, node) = furnished();
    world.dark.insert(node);
    world.settle();
    world.expect(&[
        "s/db.1 e1 run running@a",
        "s/web.1 e1 stop lost@a",
        "s/web.1 e2 run running@b",
    ]);
    // What was replaced already is no reason to wait.
    for (tasks, volumes, told) in [
        (false, false, "node `a` still has 1 task (s/db.1) and 1 volume (s_data)"),
        (true, false, "node `a` still has 1 volume (s_data)"),
        (false, true, "node `a` still has 1 task (s/db.1)"),
    ] {
        assert_eq!(world.refused(rm(node, tasks, volumes)).to_string(), told);
    }
    world.ok(rm(node, true, true));
    assert_eq!(
        world.warned("given-up"),
        ["task s/db.1 was given up with node a", "volume s_data was given up with node a"]
    );
    world.settle();
    world.expect(&["s/db.1 e2 run running@b", "s/web.1 e2 run running@b"]);
    assert_eq!(world.cluster.volumes()["s_data"].home, world.node("b"));
    world.check_snapshot();
}

#[test]
fn volumes_without_tasks_keep_a_node_until_they_may_be_forgotten() {
    let (mut world, node) = furnished();
    world.ok(Command::RemoveStack { stack: stack_name("s"), volumes: false });
    world.settle();
    let why = world.refused(rm(node, false, false));
    assert_eq!(why.to_string(), "node `a` still has 1 volume (s_data)");
    world.ok(rm(node, false, true));
    assert!(world.cluster.volumes().is_empty());
    world.check_snapshot();
}

#[test]
fn a_removed_stack_is_forgotten_with_the_node_that_could_not_confirm_its_end() {
    let (mut world, node) = furnished();
    world.dark.insert(node);
    world.settle();
    world.ok(Command::RemoveStack { stack: stack_name("s"), volumes: true });
    world.settle();
    assert!(world.cluster.stack(&stack_name("s")).is_some());
    world.ok(rm(node, true, true));
    world.settle();
    assert!(world.cluster.stack(&stack_name("s")).is_none());
    assert!(world.cluster.volumes().is_empty());
}
