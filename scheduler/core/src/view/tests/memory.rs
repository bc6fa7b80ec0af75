//! What a plan says of memory that nobody asked for.

use model::{Bytes, ServiceSpec, view::MemorySource};

use super::{actions, preview};
use crate::{
    Command,
    cluster::{LONG_ENOUGH_MS, NEEDS_FORM, ServiceNeed},
    testing::{World, service, service_name, stack, stack_name},
};

fn spec() -> model::StackSpec {
    stack("s", &[("db", service("db:1", 500)), ("web", ServiceSpec::new("web:1"))])
}

/// Everything runs and `web` was seen to need so many MiB for three days.
fn world(mib: u64) -> World {
    let mut world = World::new(&[("a", 4_000)]);
    world.ok(Command::RaiseForm { form: NEEDS_FORM });
    world.apply(&spec());
    world.settle();
    let needs = vec![ServiceNeed {
        stack: stack_name("s"),
        service: service_name("web"),
        peak: Bytes::mib(mib),
        usual: Bytes::mib(mib),
        observed_ms: 3 * LONG_ENOUGH_MS,
    }];
    world.ok(Command::RecordNeeds { needs });
    world
}

#[test]
fn a_plan_marks_what_is_assumed() {
    let world = World::new(&[("a", 4_000)]);
    let plan = preview(&world, &spec());
    let marked: Vec<_> = plan.placements.iter().map(|placed| placed.memory_basis).collect();
    assert_eq!(marked, [Some(MemorySource::Reservation), Some(MemorySource::Assumed)]);
    assert_eq!(
        plan.warnings,
        ["web says nothing about memory: 256.0 MiB are assumed, as reservation and as limit"]
    );
}

#[test]
fn a_plan_says_what_was_observed_and_what_that_changes_and_applying_does_just_that() {
    let mut world = world(150);
    let plan = preview(&world, &spec());
    assert_eq!(actions(&plan), ["keep db", "replace web deploy.resources.reservations.memory"]);
    let web = plan.placements.last().unwrap();
    assert_eq!((web.memory, web.memory_basis), (Bytes::mib(184), Some(MemorySource::Observed)));
    assert_eq!(
        plan.warnings,
        [
            "web says nothing about memory: 184.0 MiB are reserved (its observed peak of 150.0 MiB over 3 \
             days and 20 %), its limit is 256.0 MiB"
        ]
    );
    world.apply(&spec());
    world.settle();
    let again = preview(&world, &spec());
    assert_eq!(actions(&again), ["keep db", "keep web"]);
    assert_eq!(again.nodes[0].reserved_after, Bytes::mib(684));
    assert_eq!(again.nodes, {
        let mut nodes = plan.nodes;
        nodes[0].reserved_before = Bytes::mib(684);
        nodes
    });
}

#[test]
fn a_plan_says_why_a_figure_stays() {
    let world = world(200);
    let plan = preview(&world, &spec());
    assert_eq!(actions(&plan), ["keep db", "keep web"]);
    assert_eq!(
        plan.warnings,
        [
            "web says nothing about memory: 256.0 MiB are reserved (its observed peak of 200.0 MiB over 3 \
             days, from which it does not differ enough to be changed), its limit is 256.0 MiB"
        ]
    );
}
