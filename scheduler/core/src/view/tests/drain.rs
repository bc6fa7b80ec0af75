//! What a drain is told to do before it does it.

use super::*;
use crate::Command;

/// On `a`: a database with data, a web server, one behind a host port, and one that is too large for
/// `b`, which has 300 MiB.
fn crowded() -> World {
    let mut world = World::new(&[("a", 2_000)]);
    let services = [
        ("db", service("db:1", 100).with(|s| mount(s, "data"))),
        ("large", service("large:1", 500)),
        ("port", service("port:1", 50).with(|s| publish(s, 80))),
        ("web", service("web:1", 50)),
    ];
    world.apply(&stack("s", &services));
    world.settle();
    world.join("b", 300, &[]);
    world.settle();
    world
}

#[test]
fn a_drain_tells_where_everything_goes_before_anything_stops_and_keeps_its_word() {
    let mut world = crowded();
    let before = world.cluster.clone();
    let told = view::drain_plan(&world.cluster, world.node("a"), world.now).unwrap();
    assert_eq!(world.cluster, before, "nothing is changed");
    let moves: Vec<_> = told
        .moves
        .iter()
        .map(|held| (held.service.as_str(), held.to.as_str(), held.down_because.as_deref()))
        .collect();
    assert_eq!(moves, [("web", "b", None), ("port", "b", Some("it publishes a host port"))]);
    let stays: Vec<_> =
        told.stays.iter().map(|held| (held.service.as_str(), held.reason.as_str())).collect();
    assert_eq!(
        stays,
        [
            ("db", "its volume `data` lives on a: data does not move by itself"),
            ("large", "it fits nowhere else: b: needs 500.0 MiB, 200.0 MiB free, short 300.0 MiB"),
        ]
    );
    assert!(told.stays.iter().all(|held| !held.fixes.is_empty()), "{:#?}", told.stays);
    let b = told.nodes.iter().find(|node| node.name == "b").unwrap();
    assert_eq!((b.reserved_after, b.free_after), (Bytes::mib(100), Bytes::mib(200)));

    let (node, until) = (world.node("a"), world.now.plus_millis(30_000));
    world.ok(Command::DrainNode { node, until });
    world.seconds(60);
    world.expect(&[
        "s/db.1 e1 run running@a",
        "s/large.1 e1 run running@a",
        "s/port.1 e2 run running@b",
        "s/web.1 e2 run running@b",
    ]);
    let left = view::drain_stays(&world.cluster, world.cluster.node(node).unwrap());
    assert_eq!(left, told.stays, "what was told before is what is true in the end");
}

#[test]
fn draining_the_only_node_moves_nothing_and_says_so() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100))]));
    world.settle();
    let told = view::drain_plan(&world.cluster, world.node("a"), world.now).unwrap();
    assert!(told.moves.is_empty());
    assert_eq!(told.stays[0].reason, "there is no other node");
    assert_eq!(told.stays[0].fixes.len(), 1, "{:?}", told.stays[0].fixes);
    let gone = model::NodeId::new(9);
    let refused = view::drain_plan(&world.cluster, gone, world.now);
    assert_eq!(refused, Err(crate::Rejection::UnknownNode(gone)));
}

#[test]
fn of_a_dozen_that_stay_each_is_told_what_would_help() {
    for count in [1, 6, 7, 12] {
        let mut world = World::new(&[("a", 40_000)]);
        for number in 0..count {
            let web = service("web:1", 300 + 7 * number);
            world.apply(&stack(&format!("s{number}"), &[("web", web)]));
        }
        world.settle();
        world.join("b", 200, &[]);
        let told = view::drain_plan(&world.cluster, world.node("a"), world.now).unwrap();
        let machine = |stay: &&model::view::DrainStay| {
            stay.fixes.iter().any(|fix| fix.starts_with("add a node with at least "))
        };
        assert_eq!(told.stays.iter().filter(machine).count(), told.stays.len(), "of {count}");
        assert_eq!(u64::try_from(told.stays.len()), Ok(count));
    }
}
