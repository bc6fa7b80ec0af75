//! Images that are not for every machine.

use std::collections::BTreeSet;

use super::*;

/// Two Minis and a machine of another kind that is the last choice.
fn world() -> World {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000), ("z", 4_000)]);
    world.arch("z", "amd64");
    world
}

fn lacks(world: &World) -> BTreeSet<String> {
    world.cluster.service(&stack_name("s"), &service_name("web")).unwrap().lacks.clone()
}

fn verdicts(world: &World) -> (Vec<String>, Vec<String>) {
    let (stack, service) = (stack_name("s"), service_name("web"));
    let soft = view::Soft::none(world.now);
    let told = view::explain(&world.cluster, &stack, &service, Some(1), &soft).unwrap();
    let placement = &told[0].placement;
    let said = placement.verdicts.iter().map(|held| format!("{}: {}", held.node, held.reason));
    (said.collect(), placement.fixes.clone())
}

#[test]
fn what_has_no_variant_for_a_node_goes_to_one_of_another_kind() {
    let mut world = world();
    world.apply(&web("intel:1", 100));
    world.settle();
    world.expect(&["s/web.1 e2 run running@z"]);
    world.check_snapshot();
    assert_eq!(lacks(&world), ["linux/arm64".to_owned()].into());
    let told = verdicts(&world).0;
    let lack = |node| format!("{node}: image intel:1 has no variant for linux/arm64");
    assert_eq!(told[1..], [lack("a"), lack("b")], "{told:?}");
    // What is known holds for every replica, and survives what is no question about it.
    let (stack, service) = (stack_name("s"), service_name("web"));
    world.ok(Command::Scale { stack, service, replicas: 2 });
    world.settle();
    world.expect(&["s/web.1 e2 run running@z", "s/web.2 e1 run running@z"]);
    assert_eq!(world.apply(&two("intel:1", 100)), Outcome::Unchanged);
    assert!(!lacks(&world).is_empty(), "nothing of it waits");
    // A plan goes by it as well.
    let more = two("intel:1", 150);
    let plan = view::plan_view(&world.cluster, &more, world.now).unwrap();
    let nodes: BTreeSet<_> = plan.placements.iter().map(|one| one.node.clone()).collect();
    assert_eq!(nodes, [Some("z".to_owned())].into());
    world.apply(&web("web:1", 100));
    assert!(lacks(&world).is_empty(), "nothing is known of another image");
    world.settle();
    world.expect(&["s/web.1 e3 run running@a"]);
}

fn two(image: &str, mib: u64) -> StackSpec {
    stack("s", &[("web", service(image, mib).with(|s| s.replicas = 2))])
}

#[test]
fn what_has_a_variant_for_no_node_waits_with_the_reason_and_is_tried_again_when_asked() {
    let mut world = world();
    world.apply(&two("alien:1", 100));
    world.settle();
    let pending = |epochs: [u32; 2]| {
        let [one, two] = epochs;
        [format!("s/web.1 e{one} prepare pending"), format!("s/web.2 e{two} prepare pending")]
    };
    // Both found out on a Mini each, and then on the other machine.
    let shown = world.show();
    assert_eq!(shown, pending([3, 3]));
    world.check_snapshot();
    let (told, fixes) = verdicts(&world);
    let lack = |node, arch| format!("{node}: image alien:1 has no variant for linux/{arch}");
    assert_eq!(told, [lack("a", "arm64"), lack("b", "arm64"), lack("z", "amd64")]);
    assert_eq!(
        fixes[0],
        "take another image for web that has a variant for linux/amd64, or apply again once alien:1 has one: \
         z has room"
    );
    let rows = view::tasks(&world.cluster, &view::Soft::none(world.now), None);
    let waits = rows[0].waiting_for.clone().unwrap();
    assert_eq!(waits, lack("a", "arm64"));
    let epoch = |world: &World| world.cluster.tasks().values().map(|task| task.epoch).max();
    let before = epoch(&world);
    world.seconds(3_600);
    assert_eq!(epoch(&world), before, "it is not tried over and over");
    // A plan tells that applying tries again.
    let spec = two("alien:1", 100);
    let plan = view::plan_view(&world.cluster, &spec, world.now).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "image alien:1 had no variant for linux/amd64 and linux/arm64 when it was last fetched: web is tried \
          there again"
        ]
    );
    assert_eq!(world.apply(&spec), Outcome::Stack(Revision(1)));
    assert!(lacks(&world).is_empty());
    world.settle();
    assert!(world.show().iter().all(|line| line.ends_with("prepare pending")));
    // So does a change of anything else, and a restart.
    world.apply(&two("alien:1", 150));
    assert!(lacks(&world).is_empty());
    world.settle();
    world.ok(Command::Restart { stack: stack_name("s"), service: None, slot: None });
    assert!(lacks(&world).is_empty());
    world.settle();
    assert_eq!(lacks(&world).len(), 2);
}

#[test]
fn asking_again_makes_anew_what_just_found_out() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("alien:1", 100));
    world.lead();
    while lacks(&world).is_empty() {
        world.agents();
    }
    world.apply(&web("alien:1", 200));
    assert!(lacks(&world).is_empty());
    // Its agent has said all it has to say of the old one.
    world.settle();
    let shown = world.show();
    assert!(shown[0].ends_with("prepare pending"), "{shown:?}");
    assert!(!lacks(&world).is_empty());
}

#[test]
fn a_change_to_an_image_for_other_machines_leaves_the_old_one_serving() {
    // Side by side, or one after the other for its port: both times the new one is ready somewhere first.
    for port in [false, true] {
        let spec = |image| {
            let web = service(image, 100).with(|s| {
                if port {
                    publish(s, 80);
                }
            });
            stack("s", &[("web", web)])
        };
        let mut world = World::new(&[("a", 1_000)]);
        world.apply(&spec("web:1"));
        world.settle();
        world.apply(&spec("intel:1"));
        world.settle();
        let shown = world.show();
        assert_eq!(shown[0], "s/web.1 e1 run running@a", "{shown:?}");
        assert_eq!(shown[1], "s/web.1 e3 prepare pending", "{shown:?}");
        world.join("z", 1_000, &[]);
        world.arch("z", "amd64");
        world.settle();
        world.expect(&["s/web.1 e3 run running@z"]);
    }
}

#[test]
fn a_move_to_a_machine_of_another_kind_is_given_up_and_the_old_task_serves_on() {
    let mut world = World::new(&[("z", 1_000)]);
    world.arch("z", "amd64");
    world.apply(&web("intel:1", 100));
    world.settle();
    world.join("a", 1_000, &[]);
    let task = world.cluster.tasks().values().next().unwrap().id;
    world.ok(Command::MoveTask { task, to: world.node("a") });
    world.settle();
    world.expect(&["s/web.1 e1 run running@z"]);
    let said = world.warned("moved");
    assert!(
        said.len() == 1 && said[0].contains("given up") && said[0].contains("has no variant for"),
        "{said:?}"
    );
    // Asked again, it is known beforehand.
    let why = world.refused(Command::MoveTask { task, to: world.node("a") }).to_string();
    assert!(why.contains("image intel:1 has no variant for linux/arm64"), "{why}");
}
