//! Why a task is where it is, then and now.

use model::view::{ExplainView, Verdict};

use super::*;

fn explained(world: &World, name: &str) -> ExplainView {
    let (stack, service) = (stack_name("s"), crate::testing::service_name(name));
    view::explain(&world.cluster, &stack, &service, Some(1), &Soft::none(world.now))
        .unwrap()
        .remove(0)
}

fn told(verdicts: &[Verdict]) -> Vec<String> {
    verdicts.iter().map(|one| format!("{}: {}", one.node, one.reason)).collect()
}

#[test]
fn of_a_placed_task_every_node_is_told_of_as_it_is_now_and_what_was_decided_then() {
    let mut world = World::new(&[("a", 1_000), ("b", 300)]);
    world.apply(&stack("s", &[("web", service("x", 400))]));
    world.settle();
    world.join("c", 450, &[]);
    world.apply(&stack("s", &[("db", service("x", 250)), ("web", service("x", 400))]));
    world.settle();
    let web = explained(&world, "web");
    assert_eq!(web.placement.node.as_deref(), Some("a"));
    assert_eq!(
        told(&web.decided),
        [
            "a: fits best, leaves 600.0 MiB free",
            "b: needs 400.0 MiB, 300.0 MiB free, short 100.0 MiB",
        ]
    );
    assert_eq!(
        told(&web.placement.verdicts),
        [
            "a: is here, leaves 600.0 MiB free",
            "c: fits, leaves 50.0 MiB free; by now it would be better: it is fuller: the largest hole stays open",
            "b: needs 400.0 MiB, 50.0 MiB free, short 350.0 MiB",
        ]
    );
}

#[test]
fn of_very_many_nodes_each_is_told_of() {
    let nodes: Vec<(String, u64)> = (0..150).map(|number| (format!("n{number}"), 500)).collect();
    let nodes: Vec<(&str, u64)> = nodes.iter().map(|(name, mib)| (name.as_str(), *mib)).collect();
    let mut world = World::new(&nodes);
    let services = [("large", service("x", 900)), ("small", service("x", 100))];
    world.apply(&stack("s", &services));
    world.settle();
    for name in ["large", "small"] {
        assert_eq!(explained(&world, name).placement.verdicts.len(), nodes.len(), "{name}");
    }
}

#[test]
fn what_waits_goes_by_what_is_wanted_now() {
    let mut world = World::new(&[("a", 1_000)]);
    let constrained = |text: &str| {
        let constraint = text.parse().unwrap();
        service("x", 100).with(|s| s.placement.constraints = vec![constraint])
    };
    world.apply(&stack("s", &[("web", constrained("node.labels.role == db"))]));
    world.settle();
    world.expect(&["s/web.1 e1 prepare pending"]);
    world.apply(&stack("s", &[("web", constrained("node.hostname == a"))]));
    world.settle();
    world.expect(&["s/web.1 e2 run running@a"]);
}

fn bound_to(value: &str) -> model::ServiceSpec {
    let constraint = format!("node.labels.role == {value}").parse().unwrap();
    service("x", 100).with(|s| s.placement.constraints = vec![constraint])
}

#[test]
fn a_label_that_something_stands_on_is_not_given_away() {
    let mut world = World::new(&[]);
    world.join("a", 1_000, &[("role", "db")]);
    world.apply(&stack("s", &[("db", bound_to("db")), ("edge", bound_to("edge"))]));
    world.settle();
    world.expect(&["s/db.1 e1 run running@a", "s/edge.1 e1 prepare pending"]);
    let remove = "remove the constraint `node.labels.role == edge` from edge: a has room";
    let machine = "add a node with at least 100.0 MiB free that meets `node.labels.role == edge`";
    assert_eq!(explained(&world, "edge").placement.fixes, [remove, machine]);
}

#[test]
fn what_would_not_be_placed_there_again_is_there_and_stays() {
    let mut world = World::new(&[]);
    let a = world.join("a", 1_000, &[("role", "db")]);
    world.apply(&stack("s", &[("db", bound_to("db"))]));
    world.settle();
    world.ok(Command::LabelNode {
        node: a,
        set: [("role".to_owned(), "web".to_owned())].into(),
        remove: [].into(),
    });
    world.settle();
    world.expect(&["s/db.1 e1 run running@a"]);
    let told = told(&explained(&world, "db").placement.verdicts);
    let start = "a: is here and stays; anew it could not be: node.labels.role == db does not hold";
    assert!(told[0].starts_with(start), "{told:?}");
}
