//! What it would take to be on one node.

use model::{MilliCpu, view::ExplainView};

use super::*;
use crate::view::explain_on;

const NOTHING_FOR_DATA: &str = "nothing: what stands against it cannot be changed from here: its volume \
                                `data` lives on a";

fn ask(world: &World, service: &str, node: &str) -> ExplainView {
    let (stack, service) = (stack_name("s"), crate::testing::service_name(service));
    let (node, soft) = (world.node(node), Soft::none(world.now));
    explain_on(&world.cluster, (&stack, &service), Some(1), node, &soft).unwrap().remove(0)
}

/// The web server is on `a`; `b` is small, full, cordoned and no machine for it.
fn world() -> World {
    let mut world = World::new(&[("a", 1_000)]);
    let on_a = |mib| {
        service("x", mib).with(|s| {
            s.placement.constraints = vec!["node.labels.zone == inside".parse().unwrap()];
        })
    };
    let a = world.node("a");
    let inside = [("zone".to_owned(), "inside".to_owned())].into();
    world.ok(Command::LabelNode { node: a, set: inside, remove: [].into() });
    world.apply(&stack(
        "s",
        &[
            ("db", service("x", 50).with(|s| mount(s, "data"))),
            ("large", service("x", 400)),
            ("web", on_a(200)),
        ],
    ));
    world.settle();
    world.join("b", 300, &[]);
    world.apply(&stack("t", &[("there", service("x", 250))]));
    world.settle();
    world.ok(Command::SetSchedulable { node: world.node("b"), schedulable: false });
    world
}

#[test]
fn everything_it_would_take_is_told_in_order() {
    let world = world();
    world.expect(&[
        "s/db.1 e1 run running@a",
        "s/large.1 e1 run running@a",
        "s/web.1 e1 run running@a",
        "t/there.1 e1 run running@b",
    ]);
    let web = ask(&world, "web", "b");
    assert_eq!(web.placement.node.as_deref(), Some("a"));
    let verdict = &web.placement.verdicts[..];
    assert_eq!((verdict.len(), verdict[0].node.as_str(), verdict[0].fits), (1, "b", false));
    let reason = &verdict[0].reason;
    assert!(reason.contains("is cordoned; node.labels.zone == inside does not hold"), "{reason}");
    assert!(reason.contains("short 150.0 MiB"), "{reason}");
    assert_eq!(
        web.placement.fixes,
        [
            "let b take new tasks: sisoctl node uncordon b",
            "give b the label: sisoctl node label b zone=inside",
            "stop or scale down t/there.1 on b (frees 250.0 MiB)",
        ]
    );
}

#[test]
fn a_reservation_is_lowered_where_stopping_others_is_not_enough() {
    let fixes = ask(&world(), "large", "b").placement.fixes;
    let lower = "lower the memory reservation of large from 400.0 MiB to 50.0 MiB";
    assert_eq!(fixes, ["let b take new tasks: sisoctl node uncordon b", lower]);
}

#[test]
fn memory_and_cpus_are_told_when_both_are_short() {
    let mut world = world();
    let greedy = service("x", 400).with(|s| s.resources.reserved.cpu = MilliCpu::cores(3));
    world.apply(&stack("s", &[("greedy", greedy)]));
    world.settle();
    let busy = service("x", 10).with(|s| s.resources.reserved.cpu = MilliCpu::cores(6));
    world.ok(Command::SetSchedulable { node: world.node("b"), schedulable: true });
    world.apply(&stack("u", &[("busy", busy)]));
    world.settle();
    let asked = ask(&world, "greedy", "b").placement;
    let reason = &asked.verdicts[0].reason;
    assert!(reason.contains("needs 400.0 MiB, 40.0 MiB free"), "{reason}");
    assert!(reason.contains("needs 3 CPUs, 2 free, short 1"), "{reason}");
}

#[test]
fn data_is_where_it_is_and_what_is_there_already_needs_nothing() {
    let world = world();
    let db = ask(&world, "db", "b").placement.fixes;
    assert_eq!(db, [NOTHING_FOR_DATA]);
    let here = ask(&world, "web", "a");
    assert!(here.placement.fixes.is_empty() && here.placement.verdicts[0].fits, "{here:?}");
}

#[test]
fn a_taken_port_is_left_to_its_holder_and_memory_is_still_asked_for() {
    let publishing = |mib, port| service("x", mib).with(|s| publish(s, port));
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", publishing(200, 80)), ("large", publishing(250, 81))]));
    world.settle();
    world.join("b", 300, &[]);
    let port = |mib, port| publishing(mib, port).with(|s| s.replicas = 2);
    world.ok(Command::SetSchedulable { node: world.node("a"), schedulable: false });
    world.apply(&stack("t", &[("there", publishing(50, 80)), ("two", port(50, 81))]));
    world.settle();
    world.expect(&[
        "s/large.1 e1 run running@a",
        "s/web.1 e1 run running@a",
        "t/there.1 e1 run running@b",
        "t/two.1 e1 run running@b",
        "t/two.2 e1 prepare pending",
    ]);
    let other = "publish another host port than 80: on b it is taken by t/there.1";
    assert_eq!(ask(&world, "web", "b").placement.fixes, [other]);
    // Of two replicas only the last can be ended alone, and that is not the one on `b`.
    let other = "publish another host port than 81: on b it is taken by t/two.1";
    let stop = "stop or scale down t/there.1 on b (frees 50.0 MiB)";
    assert_eq!(ask(&world, "large", "b").placement.fixes, [other, stop]);
}

#[test]
fn of_several_taken_ports_their_holder_makes_room_or_each_is_another_one() {
    let several = |first: u16, count: u16| {
        service("x", 50).with(|s| (0..count).for_each(|number| publish(s, first + number)))
    };
    let mut world = World::new(&[("a", 1_000)]);
    let many = [("many", several(8_000, 17)), ("last", several(u16::MAX, 1))];
    world.apply(&stack("s", &[many[0].clone(), many[1].clone(), ("two", several(9_000, 20))]));
    world.settle();
    world.join("b", 300, &[]);
    world.ok(Command::SetSchedulable { node: world.node("a"), schedulable: false });
    let twice = several(9_000, 20).with(|s| s.replicas = 2);
    world.apply(&stack("t", &[many[0].clone(), many[1].clone(), ("two", twice)]));
    world.settle();
    let fixes = |service| ask(&world, service, "b").placement.fixes;
    assert_eq!(fixes("many"), ["stop or scale down t/many.1 on b (frees 50.0 MiB)"]);
    let other = "publish another host port than 65535: on b it is taken by t/last.1";
    assert_eq!(fixes("last"), [other], "the last port there is, is one like any other");
    assert_eq!(fixes("two").len(), 20, "who has them cannot be stopped alone");
}
