//! What would be, were something else so.

use model::{ImaginedNode, MilliCpu, NodeName, StackSpec, view::WhatIfView};

use super::*;
use crate::{
    Rejection,
    view::{Supposition, what_if},
};

fn imagined(name: &str, mib: u64, labels: &[(&str, &str)]) -> Supposition {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Supposition::Add(ImaginedNode {
        name: NodeName::new(name).unwrap(),
        memory: Bytes::mib(mib),
        cpus: MilliCpu::cores(8),
        labels: labels.collect(),
        arch: None,
        generic: model::Generic::NONE,
    })
}

/// On `a`: a database with data, a web server, one that must be alone, and one that is too large for
/// `b`, which has 300 MiB.
fn crowded() -> World {
    let mut world = World::new(&[("a", 2_000)]);
    let services = [
        ("alone", service("alone:1", 60).with(|s| s.strict_singleton = true)),
        ("db", service("db:1", 100).with(|s| mount(s, "data"))),
        ("large", service("large:1", 500)),
        ("web", service("web:1", 50)),
    ];
    world.apply(&stack("s", &services));
    world.settle();
    world.join("b", 300, &[]);
    world.settle();
    world
}

fn ask(world: &World, suppositions: &[Supposition]) -> WhatIfView {
    let before = world.cluster.clone();
    let found = what_if(&world.cluster, suppositions, world.now).unwrap();
    assert_eq!(world.cluster, before, "nothing is changed");
    found
}

fn moves(found: &WhatIfView) -> Vec<String> {
    let node = |node: &Option<String>| node.clone().unwrap_or_else(|| "-".to_owned());
    let placements = found.placements.iter();
    placements
        .map(|p| format!("{}.{} {} {}", p.service, p.replica, node(&p.origin), node(&p.node)))
        .collect()
}

#[test]
fn a_machine_of_no_named_architecture_is_of_any() {
    let on = |wanted: &str| {
        service("x:1", 500).with(|s| s.placement.constraints = vec![wanted.parse().unwrap()])
    };
    let mut world = World::new(&[("a", 100)]);
    let services =
        [("arm", on("node.platform.arch == arm64")), ("other", on("node.platform.arch != arm64"))];
    world.apply(&stack("s", &services));
    world.settle();
    let found = ask(&world, &[imagined("b", 2_000, &[])]);
    assert_eq!(moves(&found), ["arm.1 - b", "other.1 - b"]);
}

#[test]
fn what_a_lost_node_leaves_without_a_place_is_what_comes_of_its_loss() {
    let mut world = crowded();
    let a = world.node("a");
    let found = ask(&world, &[Supposition::Lose(a)]);
    assert_eq!(moves(&found), ["alone.1 a b", "db.1 a -", "large.1 a -", "web.1 a b"]);
    assert_eq!((found.unplaced, found.stack.as_deref(), found.warnings.len()), (2, None, 0));
    let reason = |at: usize| found.placements[at].verdicts[0].reason.as_str();
    assert_eq!(reason(1), "held: its volume `data` lives on a, which is down");
    assert_eq!(found.placements[1].verdicts.len(), 1, "nothing but its data matters");
    assert!(found.placements[1].fixes[0].contains("bring a back"), "{:?}", found.placements[1]);
    assert_eq!(reason(2), "needs 500.0 MiB, 190.0 MiB free, short 310.0 MiB");
    assert!(!found.placements[2].fixes.is_empty());
    let b = found.nodes.iter().find(|node| node.name == "b").unwrap();
    assert_eq!((b.reserved_after, b.free_after), (Bytes::mib(110), Bytes::mib(190)));
    let gone = found.nodes.iter().find(|node| node.name == "a").unwrap();
    assert_eq!(gone.reserved_before, Bytes::mib(710));
    assert_eq!((gone.reserved_after, gone.free_after), (Bytes::ZERO, Bytes::ZERO));
    assert!(gone.tasks.is_empty(), "{gone:?}");

    world.dark.insert(a);
    world.seconds(60);
    world.expect(&[
        "s/alone.1 e1 stop lost@a",
        "s/alone.1 e2 run running@b",
        "s/db.1 e1 run running@a",
        "s/large.1 e1 run running@a",
        "s/large.1 e2 prepare pending",
        "s/web.1 e1 stop lost@a",
        "s/web.1 e2 run running@b",
    ]);
}

#[test]
fn suppositions_are_so_all_at_once() {
    let world = crowded();
    let a = world.node("a");
    let found = ask(&world, &[Supposition::Lose(a), imagined("c", 600, &[])]);
    assert_eq!(moves(&found), ["alone.1 a c", "db.1 a -", "large.1 a c", "web.1 a b"]);

    let other = stack("t", &[("new", service("x", 1_200)), ("tiny", service("x", 10))]);
    let applied = Supposition::Apply(other.clone());
    let found = ask(&world, std::slice::from_ref(&applied));
    assert_eq!(moves(&found), ["new.1 - a", "tiny.1 - a"]);
    assert_eq!((found.stack.as_deref(), found.revision, found.unplaced), (Some("t"), Some(1), 0));
    assert_eq!(found.changes.len(), 2);

    let found = ask(&world, &[Supposition::Lose(a), applied, imagined("c", 2_000, &[])]);
    assert_eq!(found.unplaced, 1, "{:?}", moves(&found));
}

#[test]
fn a_drain_says_what_would_stay() {
    let world = crowded();
    let found = ask(&world, &[Supposition::Drain(world.node("a"))]);
    assert_eq!(moves(&found), ["alone.1 a b", "web.1 a b"]);
    assert_eq!(
        found.warnings,
        [
            "s/db.1 stays on a: its volume `data` lives on a: data does not move by itself",
            "s/large.1 stays on a: it fits nowhere else: b: needs 500.0 MiB, 190.0 MiB free, short 310.0 MiB",
        ]
    );
    assert_eq!(found.unplaced, 0);
}

#[test]
fn what_waits_for_room_is_placed_on_a_node_that_is_imagined() {
    let mut world = World::new(&[("a", 100)]);
    let labelled = service("x", 500).with(|s| {
        s.placement.constraints = vec!["node.labels.role == database".parse().unwrap()];
    });
    world.apply(&stack("s", &[("db", labelled)]));
    world.settle();
    let found = ask(&world, &[imagined("c", 600, &[])]);
    assert_eq!(moves(&found), ["db.1 - -"]);
    let found = ask(&world, &[imagined("c", 600, &[("role", "database")])]);
    assert_eq!((moves(&found), found.unplaced), (vec!["db.1 - c".to_owned()], 0));
}

#[test]
fn what_cannot_be_is_refused() {
    let world = crowded();
    let gone = model::NodeId::new(9);
    let refused =
        |supposition: Supposition| what_if(&world.cluster, &[supposition], world.now).unwrap_err();
    assert_eq!(refused(Supposition::Lose(gone)), Rejection::UnknownNode(gone));
    assert_eq!(refused(Supposition::Drain(gone)), Rejection::UnknownNode(gone));
    let taken = NodeName::new("b").unwrap();
    assert_eq!(refused(imagined("b", 1, &[])), Rejection::ImaginedTwice(taken));
    let empty = StackSpec { services: [].into(), ..stack("t", &[]) };
    let known = world.cluster.draft().apply(&crate::Entry {
        at: world.now,
        request: None,
        command: Command::ApplyStack { spec: empty.clone(), basis: None },
    });
    let imagined = what_if(&world.cluster, &[Supposition::Apply(empty)], world.now);
    assert_eq!(imagined.err(), known.result.err());
}

#[test]
fn what_stays_of_a_stack_that_is_applied_again_comes_from_where_it_is() {
    let world = crowded();
    let same = world.cluster.stack(&stack_name("s")).unwrap().spec().unwrap();
    let found = ask(&world, &[Supposition::Apply(StackSpec::clone(same))]);
    assert_eq!(moves(&found), ["alone.1 a a", "db.1 a a", "large.1 a a", "web.1 a a"]);
    assert_eq!(found.unplaced, 0);
}
