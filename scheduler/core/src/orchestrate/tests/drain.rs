//! Stories of nodes that are emptied.

use super::*;

const LONG: u64 = 600_000;

fn drain(world: &mut World, name: &str, millis: u64) {
    let (node, until) = (world.node(name), world.now.plus_millis(millis));
    world.ok(Command::DrainNode { node, until });
}

fn is_drained(world: &World, name: &str) -> bool {
    let node = world.cluster.node(world.node(name)).unwrap();
    !node.schedulable && node.drain.is_none()
}

/// So many seconds pass; at no time does a replica of the service serve less than once.
#[track_caller]
fn served(world: &mut World, seconds: u64, service: &str) {
    for _ in 0..seconds {
        world.seconds(1);
        let mut tasks = world.cluster.tasks().values();
        let up = tasks.any(|task| task.service.as_str() == service && task.is_ready());
        assert!(up, "{service} is missed: {:#?}", world.show());
    }
}

#[test]
fn what_can_move_starts_elsewhere_before_it_stops_and_the_node_stays_closed() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let two = service("web:1", 100).with(|s| s.replicas = 2).with(check_health);
    world.apply(&stack("s", &[("api", service("api:1", 100)), ("web", two)]));
    world.settle();
    drain(&mut world, "a", LONG);
    served(&mut world, 20, "web");
    world.settle();
    let there = world.cluster.tasks_on(world.node("a")).filter(|task| task.holds_resources());
    assert_eq!(there.count(), 0, "{:#?}", world.show());
    assert!(is_drained(&world, "a"));
    assert_eq!(world.warned("drained"), ["node a is drained"]);
    world.check_snapshot();
    // Nothing goes back by itself.
    let node = world.node("a");
    world.ok(Command::SetSchedulable { node, schedulable: true });
    let before = world.show();
    world.settle();
    assert_eq!(world.show(), before);
}

#[test]
fn data_stays_where_it_is_and_runs_on() {
    let mut world = World::new(&[("a", 1_000)]);
    let db = service("db:1", 100).with(|s| mount(s, "data"));
    let files = service("files:1", 100).with(|s| {
        s.mounts.push(model::spec::Mount {
            source: model::spec::MountSource::Bind { path: "/srv".into(), create: false },
            target: "/srv".into(),
            read_only: false,
        });
    });
    world.apply(&stack("s", &[("db", db), ("files", files), ("web", service("web:1", 100))]));
    world.settle();
    world.join("b", 1_000, &[]);
    drain(&mut world, "a", LONG);
    served(&mut world, 20, "db");
    world.expect(&[
        "s/db.1 e1 run running@a",
        "s/files.1 e1 run running@a",
        "s/web.1 e2 run running@b",
    ]);
    assert!(is_drained(&world, "a"), "it ends when only those are left");
    assert_eq!(world.warned("drained"), ["the drain of node a ended, 2 of its tasks stay"]);
}

#[test]
fn what_fits_nowhere_runs_on_until_there_is_room_or_the_time_is_over() {
    let mut world = World::new(&[("a", 1_000), ("b", 150)]);
    world.apply(&stack("s", &[("large", service("large:1", 400))]));
    world.settle();
    drain(&mut world, "a", LONG);
    served(&mut world, 30, "large");
    world.expect(&["s/large.1 e1 run running@a", "s/large.1 e2 prepare pending"]);
    world.join("c", 1_000, &[]);
    served(&mut world, 10, "large");
    world.expect(&["s/large.1 e2 run running@c"]);

    drain(&mut world, "c", 20_000);
    served(&mut world, 30, "large");
    world.expect(&["s/large.1 e2 run running@c"]);
    assert!(is_drained(&world, "c"), "nobody waits for room any more");
}

#[test]
fn what_cannot_run_twice_goes_last_and_stops_only_for_a_place_that_is_ready() {
    let mut world = World::new(&[("a", 1_000)]);
    let port = service("port:1", 100).with(|s| publish(s, 80));
    let single = service("single:1", 100).with(|s| s.strict_singleton = true);
    let web = service("web:1", 100).with(check_health);
    world.apply(&stack("s", &[("port", port), ("single", single), ("web", web)]));
    world.settle();
    world.join("b", 1_000, &[]);
    drain(&mut world, "a", LONG);
    world.lead();
    // The first plan moves what can run twice, and nothing else.
    let moving = world.cluster.tasks().values().filter(|task| task.epoch.0 == 2);
    let moving: Vec<_> = moving.map(|task| task.service.to_string()).collect();
    assert_eq!(moving, ["web"]);
    for _ in 0..30 {
        world.seconds(1);
        for name in ["port", "single"] {
            let tasks: Vec<_> =
                world.cluster.tasks().values().filter(|t| t.service.as_str() == name).collect();
            let up = tasks.iter().filter(|task| task.status.state == TaskState::Running).count();
            let prepared = tasks.iter().any(|task| task.epoch.0 == 2 && task.is_prepared());
            assert!(up <= 1, "{name} runs twice: {:#?}", world.show());
            assert!(up == 1 || prepared, "{name} stopped too early: {:#?}", world.show());
        }
    }
    world.expect(&[
        "s/port.1 e2 run running@b",
        "s/single.1 e2 run running@b",
        "s/web.1 e2 run running@b",
    ]);
    assert!(is_drained(&world, "a"));
}

#[test]
fn what_fits_nowhere_does_not_keep_others_from_moving() {
    let mut world = World::new(&[("a", 1_000)]);
    let port = service("port:1", 100).with(|s| publish(s, 80));
    world.apply(&stack("s", &[("large", service("large:1", 400)), ("port", port)]));
    world.settle();
    world.join("b", 200, &[]);
    drain(&mut world, "a", LONG);
    world.seconds(20);
    world.expect(&[
        "s/large.1 e1 run running@a",
        "s/large.1 e2 prepare pending",
        "s/port.1 e2 run running@b",
    ]);
}

#[test]
fn what_fails_elsewhere_serves_on_and_is_forgiven_when_the_node_is_opened() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100))]));
    world.settle();
    world.join("b", 1_000, &[]);
    drain(&mut world, "a", LONG);
    world.lead();
    // Its image behaves otherwise there.
    let new = world.cluster.tasks().values().find(|task| task.epoch.0 == 2).unwrap();
    let (node, task, held) = (new.node.unwrap(), new.id, new.status.clone());
    let status = TaskStatus {
        state: TaskState::Failed,
        sequence: held.sequence + 9,
        exit_code: Some(1),
        ..held
    };
    world.ok(Command::ReportTasks { node, reports: vec![TaskReport { task, status }] });
    served(&mut world, 20, "web");
    let name = (stack_name("s"), service_name("web"));
    let failed = |world: &World| world.cluster.service(&name.0, &name.1).unwrap().failed.clone();
    assert!(failed(&world).is_some());
    assert!(is_drained(&world, "a"), "it is not tried for ever");
    let status = view::status(&world.cluster, &view::Soft::none(world.now));
    assert_eq!(status.problems[0].what, "s/web did not get away from a");
    assert!(world.show().contains(&"s/web.1 e1 run running@a".to_owned()), "{:?}", world.show());
    let node = world.node("a");
    world.ok(Command::SetSchedulable { node, schedulable: true });
    assert_eq!(failed(&world), None);
    world.settle();
    assert!(world.show().contains(&"s/web.1 e1 run running@a".to_owned()), "{:?}", world.show());
}

#[test]
fn a_job_that_is_done_is_not_done_again() {
    let mut world = World::new(&[("a", 1_000)]);
    let job = service("job:1", 100).with(|s| s.restart = RestartPolicy::Never);
    world.apply(&stack("s", &[("job", job)]));
    world.settle();
    world.join("b", 1_000, &[]);
    drain(&mut world, "a", LONG);
    world.settle();
    world.expect(&["s/job.1 e1 run stopped@a"]);
    assert!(is_drained(&world, "a"));
}

#[test]
fn opening_the_node_ends_its_drain_and_what_has_not_moved_stays() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("slow:1", 100)), ("api", service("api:1", 100))]));
    world.seconds(5);
    world.join("b", 1_000, &[]);
    drain(&mut world, "a", LONG);
    world.lead();
    let node = world.node("a");
    let open = Command::SetSchedulable { node, schedulable: true };
    assert_eq!(world.ok(open.clone()), Outcome::Done);
    assert_eq!(world.ok(open), Outcome::Unchanged);
    world.seconds(10);
    assert!(world.show().contains(&"s/api.1 e1 run running@a".to_owned()), "{:?}", world.show());
    assert!(world.cluster.node(node).unwrap().drain.is_none());
    let cordon = Command::SetSchedulable { node, schedulable: false };
    assert_eq!(world.ok(cordon.clone()), Outcome::Done);
    drain(&mut world, "a", LONG);
    assert_eq!(world.ok(cordon), Outcome::Unchanged, "it stays drained");
    assert!(world.cluster.node(node).unwrap().drain.is_some());
}

#[test]
fn a_drained_node_that_dies_loses_nothing_that_can_move() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100).with(|s| publish(s, 80)))]));
    world.settle();
    world.join("b", 1_000, &[]);
    drain(&mut world, "a", LONG);
    world.lead();
    world.dark.insert(world.node("a"));
    world.settle();
    assert!(world.show().contains(&"s/web.1 e2 run running@b".to_owned()), "{:?}", world.show());
}

#[test]
fn two_nodes_drained_at_once_leave_what_fits_on_the_third() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000), ("c", 350)]);
    let four = service("web:1", 100).with(|s| s.replicas = 4);
    world.apply(&stack("s", &[("web", four)]));
    world.settle();
    drain(&mut world, "a", 60_000);
    drain(&mut world, "b", 60_000);
    served(&mut world, 90, "web");
    let ready = world.cluster.tasks().values().filter(|task| task.is_ready()).count();
    assert_eq!(ready, 4, "{:#?}", world.show());
    let node = world.node("c");
    let full = world.cluster.tasks_on(node).filter(|task| task.is_ready()).count();
    assert_eq!(full, 3, "{:#?}", world.show());
}

#[test]
fn what_waits_and_is_edited_holds_up_nobody_who_is_leaving() {
    let mut world = World::new(&[("a", 1_000)]);
    let large =
        |most| service("large:1", 400).with(|s| s.placement.max_replicas_per_node = Some(most));
    let alone = service("alone:1", 100).with(|s| publish(s, 80));
    world.apply(&stack("s", &[("large", large(1))]));
    world.apply(&stack("t", &[("alone", alone)]));
    world.settle();
    let b = world.join("b", 300, &[]);
    world.mute.insert(b);
    drain(&mut world, "a", LONG);
    world.lead();
    let before = [
        "s/large.1 e1 run running@a",
        "s/large.1 e2 prepare pending",
        "t/alone.1 e1 run running@a",
        "t/alone.1 e2 prepare assigned@b",
    ];
    world.expect(&before);
    world.apply(&stack("s", &[("large", large(2))]));
    world.lead();
    world.expect(&[before[0], "s/large.1 e3 prepare pending", before[2], before[3]]);
}
