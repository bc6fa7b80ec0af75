//! What services are seen to need, and what applying makes of it.

use model::{
    Bytes, TaskReport, TaskState, TaskStatus,
    spec::{MemoryBasis, ServiceSpec},
    task::{Cause, Failure},
};

use crate::{
    Command, Outcome, Rejection,
    cluster::{LONG_ENOUGH_MS, NEEDS_FORM, ServiceNeed, limits},
    testing::{With, World, service, service_name, stack, stack_name},
};

/// A cluster of the newest form with a stack of one undeclared and one declared service that runs.
fn world() -> World {
    let mut world = World::new(&[("a", 4_000)]);
    world.ok(Command::RaiseForm { form: NEEDS_FORM });
    world.apply(&spec("web:1"));
    world.settle();
    world
}

fn spec(image: &str) -> model::StackSpec {
    stack("s", &[("db", service("db:1", 500)), ("web", ServiceSpec::new(image))])
}

fn need(service: &str, mib: u64) -> ServiceNeed {
    ServiceNeed {
        stack: stack_name("s"),
        service: service_name(service),
        peak: Bytes::mib(mib),
        usual: Bytes::mib(mib),
        observed_ms: LONG_ENOUGH_MS,
    }
}

fn record(world: &mut World, service: &str, mib: u64) -> Outcome {
    world.ok(Command::RecordNeeds { needs: vec![need(service, mib)] })
}

/// Reserved and limit of a service as it is wanted now, in MiB.
fn given(world: &World, service: &str) -> (u64, u64) {
    let held = world.cluster.service(&stack_name("s"), &service_name(service)).unwrap();
    let ask = &held.spec.resources;
    (ask.reserved.memory.0 >> 20, ask.memory_limit.0 >> 20)
}

/// The task of `web` that is there to stay is killed for want of memory and started again.
fn kill(world: &mut World) {
    let web = service_name("web");
    let task = world.cluster.tasks_of_service(&stack_name("s"), &web).max_by_key(|task| task.epoch);
    let task = task.unwrap().clone();
    let failure = Failure::new(Cause::OutOfMemory, "killed");
    let status = TaskStatus {
        restarts: task.status.restarts + 1,
        state: TaskState::Starting,
        failure: Some(failure),
        ..task.status
    };
    let reports = vec![TaskReport { task: task.id, status }];
    world.ok(Command::ReportTasks { node: task.node.unwrap(), reports });
}

#[test]
fn the_next_apply_reserves_what_was_observed_and_the_one_after_changes_nothing() {
    let mut world = world();
    let revision = world.cluster.stack(&stack_name("s")).unwrap().revision();
    assert_eq!(world.apply(&spec("web:1")), Outcome::Unchanged);
    assert_eq!(record(&mut world, "web", 100), Outcome::Done);
    record(&mut world, "db", 100);
    world.settle();
    assert_eq!(given(&world, "web"), (256, 256), "nothing changes by itself");
    assert_eq!(world.apply(&spec("web:1")), Outcome::Stack(revision.next()));
    world.settle();
    assert_eq!((given(&world, "web"), given(&world, "db")), ((120, 256), (500, 500)));
    world.expect(&["s/db.1 e1 run running@a", "s/web.1 e2 run running@a"]);
    assert_eq!(world.apply(&spec("web:1")), Outcome::Unchanged);
    record(&mut world, "web", 110);
    assert_eq!(world.apply(&spec("web:1")), Outcome::Unchanged, "no marked change");
    world.check_snapshot();
}

#[test]
fn what_a_file_says_from_now_on_holds() {
    let mut world = world();
    record(&mut world, "web", 100);
    let declared = stack("s", &[("db", service("db:1", 500)), ("web", service("web:1", 700))]);
    world.apply(&declared);
    assert_eq!(given(&world, "web"), (700, 700));
    let declared = stack("s", &[("web", ServiceSpec::new("web:1"))]);
    world.apply(&declared);
    assert_eq!(given(&world, "web"), (120, 256), "it says nothing any more");
    let kept = world.cluster.service(&stack_name("s"), &service_name("web")).unwrap();
    assert_eq!(kept.spec.resources.basis, MemoryBasis::Assumed);
}

#[test]
fn a_kill_for_want_of_memory_counts_until_the_image_is_another() {
    let mut world = world();
    kill(&mut world);
    let kills = |world: &World| {
        let held = world.cluster.service(&stack_name("s"), &service_name("web")).unwrap();
        held.memory.kills.map(|kills| (kills.count, kills.limit))
    };
    assert_eq!(kills(&world), Some((1, Bytes::mib(256))));
    world.settle();
    kill(&mut world);
    assert_eq!(kills(&world), Some((2, Bytes::mib(256))));
    world.apply(&spec("web:1"));
    assert_eq!(given(&world, "web"), (312, 512));
    world.settle();
    kill(&mut world);
    assert_eq!(kills(&world), Some((3, Bytes::mib(512))));
    world.check_snapshot();
    world.apply(&spec("web:2"));
    assert_eq!((given(&world, "web"), kills(&world)), ((256, 512), None));
}

#[test]
fn a_need_of_what_is_gone_is_no_change_and_goes_with_its_stack() {
    let mut world = world();
    record(&mut world, "web", 100);
    let unknown = Command::RecordNeeds { needs: vec![need("none", 100)] };
    assert_eq!(world.ok(unknown), Outcome::Unchanged);
    let many = vec![need("web", 100); limits::MAX_NEEDS + 1];
    let refused = world.refused(Command::RecordNeeds { needs: many });
    assert!(matches!(refused, Rejection::TooMany { .. }), "{refused}");
    world.ok(Command::RemoveStack { stack: stack_name("s"), volumes: false });
    world.settle();
    world.apply(&spec("web:1").with(|spec| drop(spec.services.remove(&service_name("db")))));
    assert_eq!(given(&world, "web"), (256, 256));
}

#[test]
fn before_every_scheduler_reads_needs_nothing_is_counted() {
    let mut world = World::new(&[("a", 4_000)]);
    world.apply(&spec("web:1"));
    world.settle();
    kill(&mut world);
    let held = world.cluster.service(&stack_name("s"), &service_name("web")).unwrap();
    assert_eq!(held.memory.kills, None);
    assert_eq!(world.apply(&spec("web:1")), Outcome::Unchanged);
}
