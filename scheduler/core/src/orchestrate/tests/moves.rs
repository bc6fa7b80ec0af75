//! Stories of tasks that are moved on request.

use model::Desired;

use super::*;

fn newest(world: &World, service: &str) -> model::Task {
    let tasks = world.cluster.tasks().values().filter(|task| task.service.as_str() == service);
    tasks.max_by_key(|task| task.epoch).unwrap().clone()
}

fn the_move(world: &World, service: &str, to: &str) -> Command {
    let serving = world.cluster.tasks().values().find(|task| {
        task.service.as_str() == service && task.desired == Desired::Run && task.is_ready()
    });
    Command::MoveTask { task: serving.unwrap().id, to: world.node(to) }
}

fn start_move(world: &mut World, service: &str, to: &str) {
    let command = the_move(world, service, to);
    assert_eq!(world.ok(command), Outcome::Done);
}

/// Two nodes, the service on the first.
fn on_a(spec: model::ServiceSpec) -> World {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", spec)]));
    world.settle();
    world.join("b", 1_000, &[]);
    world
}

/// So many seconds pass; at no time does nothing serve.
#[track_caller]
fn serves(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.seconds(1);
        let up = world.cluster.tasks().values().any(model::Task::is_ready);
        assert!(up, "it is missed: {:#?}", world.show());
    }
}

#[test]
fn what_can_run_twice_serves_on_until_its_successor_does_where_it_was_asked_to_be() {
    let mut world = on_a(service("web:1", 100).with(check_health));
    start_move(&mut world, "web", "b");
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 prepare assigned@b"]);
    world.check_snapshot();
    serves(&mut world, 15);
    world.expect(&["s/web.1 e2 run running@b"]);
    assert_eq!(newest(&world, "web").moves_from, None);
    assert_eq!(world.warned("moved"), ["s/web.1 moved from a to b"]);
    let before = world.show();
    world.settle();
    assert_eq!(world.show(), before, "it stays there");
}

#[test]
fn asked_twice_it_is_one_move_and_elsewhere_meanwhile_it_is_refused() {
    let mut world = on_a(service("web:1", 100));
    world.join("c", 1_000, &[]);
    let command = the_move(&world, "web", "b");
    let elsewhere = the_move(&world, "web", "c");
    let stay = the_move(&world, "web", "a");
    assert_eq!(world.ok(stay), Outcome::Unchanged);
    assert_eq!(world.ok(command.clone()), Outcome::Done);
    assert_eq!(world.ok(command.clone()), Outcome::Unchanged);
    let refused = world.refused(elsewhere.clone()).to_string();
    assert_eq!(refused, "s/web.1 cannot move to c: it is being moved to b");
    world.seconds(2);
    assert_eq!(world.ok(command), Outcome::Unchanged, "also when it is about to stop");
    world.settle();
    let Command::MoveTask { task, .. } = elsewhere else { panic!() };
    assert_eq!(world.refused(elsewhere), Rejection::UnknownTask(task));
}

#[test]
fn what_cannot_run_twice_stops_only_for_a_place_that_is_ready() {
    for spec in [
        service("web:1", 100).with(|s| publish(s, 80)),
        service("web:1", 100).with(|s| s.strict_singleton = true),
    ] {
        let mut world = on_a(spec);
        start_move(&mut world, "web", "b");
        for _ in 0..15 {
            world.seconds(1);
            let tasks = world.cluster.tasks().values();
            let up = tasks.clone().filter(|task| task.status.state == TaskState::Running).count();
            let prepared = tasks.clone().any(|task| task.epoch.0 == 2 && task.is_prepared());
            assert!(up <= 1, "it runs twice: {:#?}", world.show());
            assert!(up == 1 || prepared, "it stopped too early: {:#?}", world.show());
        }
        world.expect(&["s/web.1 e2 run running@b"]);
        assert_eq!(world.warned("moved"), ["s/web.1 moved from a to b"]);
    }
}

#[test]
fn what_fails_in_its_new_place_is_given_up_and_the_old_one_was_never_missed() {
    let mut world = on_a(service("web:1", 100));
    start_move(&mut world, "web", "b");
    world.lead();
    let held = newest(&world, "web");
    let status = TaskStatus {
        state: TaskState::Failed,
        sequence: held.status.sequence + 9,
        exit_code: Some(1),
        ..held.status
    };
    let reports = vec![TaskReport { task: held.id, status }];
    world.ok(Command::ReportTasks { node: held.node.unwrap(), reports });
    serves(&mut world, 15);
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 stop failed@b"]);
    let told = world.warned("moved");
    assert_eq!(
        told,
        [
            "the move of s/web.1 from a to b was given up: replica 1 (task t2): it ended with exit code 1"
        ]
    );
    // It says nothing of the service, and may be tried again.
    let held = world.cluster.service(&stack_name("s"), &service_name("web")).unwrap();
    assert_eq!(held.failed, None);
    start_move(&mut world, "web", "b");
    serves(&mut world, 15);
    assert!(world.show().contains(&"s/web.1 e3 run running@b".to_owned()), "{:?}", world.show());
}

#[test]
fn what_stopped_first_and_fails_in_its_new_place_is_made_anew() {
    let mut world = on_a(service("web:1", 100).with(|s| publish(s, 80)));
    start_move(&mut world, "web", "b");
    world.seconds(3);
    world.lead();
    let held = newest(&world, "web");
    assert_eq!(held.desired, Desired::Run, "{:?}", world.show());
    let status = TaskStatus {
        state: TaskState::Failed,
        sequence: held.status.sequence + 9,
        exit_code: Some(1),
        ..held.status
    };
    let reports = vec![TaskReport { task: held.id, status }];
    world.ok(Command::ReportTasks { node: held.node.unwrap(), reports });
    world.settle();
    let serving = newest(&world, "web");
    assert!(serving.epoch.0 == 3 && serving.is_ready(), "{:?}", world.show());
    assert_eq!(serving.moves_from, None);
}

#[test]
fn a_move_ends_when_its_node_goes_and_when_it_takes_too_long() {
    let mut world = on_a(service("web:1", 100));
    start_move(&mut world, "web", "b");
    let b = world.node("b");
    world.dark.insert(b);
    serves(&mut world, 20);
    assert!(world.show().contains(&"s/web.1 e1 run running@a".to_owned()), "{:?}", world.show());
    assert_eq!(
        world.warned("moved"),
        ["the move of s/web.1 from a to b was given up: its node is down"]
    );
    world.dark.remove(&b);
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);

    world.mute.insert(b);
    start_move(&mut world, "web", "b");
    serves(&mut world, 590);
    assert!(newest(&world, "web").moves_from.is_some(), "{:?}", world.show());
    serves(&mut world, 20);
    assert_eq!(newest(&world, "web").moves_from, None, "{:?}", world.show());
    world.mute.clear();
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);
}

#[test]
fn a_node_that_goes_while_its_task_moves_away_loses_nothing() {
    for spec in [service("web:1", 100), service("web:1", 100).with(|s| s.strict_singleton = true)] {
        let mut world = on_a(spec);
        start_move(&mut world, "web", "b");
        world.dark.insert(world.node("a"));
        // As long as a lease may last.
        world.seconds(90);
        assert!(
            world.show().contains(&"s/web.1 e2 run running@b".to_owned()),
            "{:?}",
            world.show()
        );
    }
}

#[test]
fn another_specification_ends_the_move() {
    let mut world = on_a(service("web:1", 100));
    start_move(&mut world, "web", "b");
    world.apply(&stack("s", &[("web", service("web:2", 100))]));
    serves(&mut world, 20);
    world.settle();
    let tasks: Vec<_> = world.cluster.tasks().values().collect();
    assert_eq!(tasks.len(), 1, "{:?}", world.show());
    assert_eq!(tasks[0].spec.image, "web:2");
    assert!(tasks[0].is_ready());
}

#[test]
fn what_cannot_move_or_not_there_is_refused_with_the_reason() {
    let mut world = World::new(&[("a", 1_000)]);
    let data = service("db:1", 100).with(|s| mount(s, "data"));
    let files = service("files:1", 100).with(|s| {
        s.mounts.push(model::spec::Mount {
            source: model::spec::MountSource::Bind { path: "/srv".into(), create: false },
            target: "/srv".into(),
            read_only: false,
        });
    });
    let slow = service("slow:1", 100);
    let web = service("web:1", 300);
    let spec = stack("s", &[("data", data), ("files", files), ("slow", slow), ("web", web)]);
    world.apply(&spec);
    world.seconds(5);
    world.join("b", 200, &[]);
    let mut why = |service: &str, to: &str| {
        let task = newest(&world, service).id;
        let to = world.node(to);
        world.refused(Command::MoveTask { task, to }).to_string()
    };
    assert_eq!(
        why("data", "b"),
        "s/data.1 cannot move to b: its volume `data` lives where it is: data does not move by itself"
    );
    assert_eq!(
        why("files", "b"),
        "s/files.1 cannot move to b: it writes to /srv of its machine: data does not move by itself"
    );
    assert_eq!(
        why("slow", "b"),
        "s/slow.1 cannot move to b: it is starting; only what is ready moves"
    );
    assert_eq!(
        why("web", "b"),
        "s/web.1 cannot move to b: needs 300.0 MiB, 200.0 MiB free, short 100.0 MiB"
    );
    let web = newest(&world, "web").id;
    let (nobody, nowhere) = (model::TaskId::new(99), model::NodeId::new(99));
    let b = world.node("b");
    let unknown = world.refused(Command::MoveTask { task: nobody, to: b });
    assert_eq!(unknown, Rejection::UnknownTask(nobody));
    let unknown = world.refused(Command::MoveTask { task: web, to: nowhere });
    assert_eq!(unknown, Rejection::UnknownNode(nowhere));
    let c = world.join("c", 1_000, &[]);
    world.ok(Command::SetSchedulable { node: c, schedulable: false });
    let refused = world.refused(Command::MoveTask { task: web, to: c }).to_string();
    assert_eq!(refused, "s/web.1 cannot move to c: is cordoned");
    world.ok(Command::SetSchedulable { node: c, schedulable: true });
    let until = world.now.plus_millis(600_000);
    world.ok(Command::DrainNode { node: world.node("a"), until });
    let refused = world.refused(Command::MoveTask { task: web, to: c }).to_string();
    assert_eq!(refused, "s/web.1 cannot move to c: a is being drained: it moves by itself");
    world.ok(Command::RemoveStack { stack: stack_name("s"), volumes: false });
    let refused = world.refused(Command::MoveTask { task: web, to: c }).to_string();
    assert_eq!(refused, "s/web.1 cannot move to c: it is not wanted any more");
}

#[test]
fn room_that_is_kept_for_a_replacement_is_taken_by_no_move() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let db =
        |image: &str, mib| stack("d", &[("db", service(image, mib).with(|s| mount(s, "data")))]);
    world.apply(&db("db:1", 400));
    world.settle();
    let home = world.cluster.tasks().values().next().unwrap().node.unwrap();
    let (home, other) = if home == world.node("a") { ("a", "b") } else { ("b", "a") };
    world.ok(Command::SetSchedulable { node: world.node(home), schedulable: false });
    world.apply(&stack("s", &[("web", service("web:1", 300))]));
    world.settle();
    world.ok(Command::SetSchedulable { node: world.node(home), schedulable: true });
    // Its successor needs 500 more than it has; the old one stops for that.
    world.apply(&db("db:2", 900));
    world.lead();
    assert!(world.show().contains(&format!("d/db.1 e1 stop running@{home}")), "{:?}", world.show());
    assert!(world.show().contains(&format!("s/web.1 e1 run running@{other}")));
    let command = the_move(&world, "web", home);
    let refused = world.refused(command).to_string();
    assert!(refused.contains("needs 300.0 MiB, 100.0 MiB free"), "{refused}");
}
