//! What the loss of each node would leave without a place.

use model::view::LossRow;

use super::*;
use crate::{Cluster, view};

fn losses(cluster: &Cluster) -> Vec<LossRow> {
    let (rows, unknown) = view::losses(cluster);
    assert_eq!(unknown, 0);
    rows
}

fn row(node: &str, homeless: &[&str], mib: u64, bound: &[&str], cure: Option<u64>) -> LossRow {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    LossRow {
        node: node.to_owned(),
        homeless: owned(homeless),
        memory: Bytes::mib(mib),
        bound: owned(bound),
        cure: cure.map(Bytes::mib),
    }
}

#[test]
fn of_machines_that_can_stand_in_for_each_other_none_is_named() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&stack("s", &[("web", service("x", 100).with(|s| s.replicas = 4))]));
    world.settle();
    assert_eq!(losses(&world.cluster), []);
    let none = World::new(&[("a", 1_000)]);
    assert_eq!(losses(&none.cluster), []);
}

#[test]
fn what_would_have_no_place_is_named_with_the_least_machine_that_would_do() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack(
        "s",
        &[
            ("db", service("db", 200).with(|s| mount(s, "data"))),
            ("large", service("x", 500)),
            ("small", service("x", 250)),
        ],
    ));
    world.settle();
    world.join("b", 400, &[]);
    // With 500 MiB more the large one goes there, and the small one to b.
    assert_eq!(losses(&world.cluster), [row("a", &["s/large.1"], 500, &["s/db.1"], Some(500))]);
    let a = world.node("a");
    world.dark.insert(a);
    world.seconds(60);
    assert_eq!(losses(&world.cluster), [row("b", &["s/small.1"], 250, &[], Some(250))]);
}

#[test]
fn the_only_machine_takes_everything_with_it_and_its_like_would_do() {
    let mut world = World::new(&[("a", 1_000)]);
    let services = [("one", service("x", 300)), ("two", service("x", 500))];
    world.apply(&stack("s", &services));
    world.settle();
    assert_eq!(losses(&world.cluster), [row("a", &["s/one.1", "s/two.1"], 800, &[], Some(800))]);
}

#[test]
fn a_replica_that_is_being_replaced_needs_one_place() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100).with(|s| publish(s, 80)))]));
    world.settle();
    // Its image is never there, so the old version serves on.
    world.apply(&stack("s", &[("web", service("none:2", 200).with(|s| publish(s, 80)))]));
    world.seconds(30);
    assert_eq!(world.cluster.tasks().len(), 2);
    assert_eq!(losses(&world.cluster), [row("a", &["s/web.1"], 200, &[], Some(200))]);
}

#[test]
fn a_cure_has_the_labels_that_are_asked_for_and_there_is_none_for_what_asks_for_one_machine() {
    let on = |text: &str| {
        let wanted = vec![text.parse().unwrap()];
        service("x", 300).with(|s| s.placement.constraints = wanted)
    };
    let mut world = World::new(&[("a", 100)]);
    world.join("b", 1_000, &[("role", "database")]);
    world.apply(&stack("s", &[("db", on("node.labels.role == database"))]));
    world.settle();
    assert_eq!(losses(&world.cluster), [row("b", &["s/db.1"], 300, &[], Some(300))]);
    world.apply(&stack("u", &[("arm", on("node.platform.arch == arm64"))]));
    world.settle();
    let bound = ["s/db.1", "u/arm.1"];
    assert_eq!(losses(&world.cluster), [row("b", &bound, 600, &[], Some(600))]);
    world.ok(Command::RemoveStack { stack: stack_name("u"), volumes: false });
    world.settle();
    world.apply(&stack("t", &[("here", on("node.hostname == b"))]));
    world.settle();
    let both = row("b", &["s/db.1", "t/here.1"], 600, &[], None);
    assert_eq!(losses(&world.cluster), [both]);
}

#[test]
fn a_cure_is_of_a_kind_that_the_image_has_a_variant_for() {
    let mut world = World::new(&[("a", 1_000), ("z", 2_000)]);
    world.arch("z", "amd64");
    world.apply(&stack("s", &[("web", service("intel:1", 300))]));
    world.settle();
    world.expect(&["s/web.1 e2 run running@z"]);
    assert_eq!(losses(&world.cluster), [row("z", &["s/web.1"], 300, &[], Some(300))]);
}

#[test]
fn of_a_large_cluster_it_is_said_how_much_was_not_looked_at() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000), ("c", 1_000)]);
    world.apply(&stack("s", &[("web", service("x", 600).with(|s| s.replicas = 3))]));
    world.settle();
    let (rows, unknown) = view::losses::losses_within(&world.cluster, 18);
    let named: Vec<_> = rows.iter().map(|row| row.node.as_str()).collect();
    assert_eq!((named, unknown), (vec!["a", "b"], 1));
    // Of a node with nothing on it there is nothing to look at.
    world.join("d", 1_000, &[]);
    let (_, unknown) = view::losses::losses_within(&world.cluster, 0);
    assert_eq!(unknown, 3);
}
