//! Stories of nodes that go, and of tasks that must never run beside another.

use super::*;

#[test]
fn what_was_never_told_to_run_need_not_be_waited_for() {
    let mut world = World::new(&[("a", 1_000)]);
    let sick = service("sick:1", 100).with(check_health);
    let api = service("x:1", 100).with(|s| depend(s, "db", Condition::Healthy));
    world.apply(&stack("s", &[("api", api), ("db", sick.clone())]));
    world.settle();
    assert!(
        world.show().contains(&"s/api.1 e1 prepare starting@a".to_owned()),
        "{:?}",
        world.show()
    );
    let node = world.node("a");
    world.dark.insert(node);
    world.seconds(10);
    world.apply(&stack("s", &[("db", sick)]));
    world.seconds(1);
    let held = world.cluster.tasks().values().filter(|task| task.holds_resources()).count();
    assert_eq!(held, 1, "{:#?}", world.show());
}

#[test]
fn movable_tasks_leave_a_node_that_is_down_and_the_old_copy_stops_when_it_returns() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    let a = world.node("a");
    world.dark.insert(a);
    world.settle();
    world.expect(&["s/web.1 e1 stop lost@a", "s/web.1 e2 run running@b"]);
    world.dark.clear();
    world.lead();
    let set = crate::assignments(&world.cluster, a);
    assert_eq!(set.tasks[0].desired, model::Desired::Stop);
    world.settle();
    world.expect(&["s/web.1 e2 run running@b"]);
}

#[test]
fn a_host_port_moves_with_its_task_though_nobody_saw_the_old_one_stop() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100).with(|s| publish(s, 80)))]));
    world.settle();
    world.dark.insert(world.node("a"));
    world.settle();
    world.expect(&["s/web.1 e1 stop lost@a", "s/web.1 e2 run running@b"]);
}

#[test]
fn without_room_elsewhere_a_task_waits_and_goes_on_when_its_node_returns() {
    let mut world = World::new(&[("a", 1_000), ("b", 50)]);
    world.apply(&web("web:1", 100));
    world.settle();
    world.dark.insert(world.node("a"));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 prepare pending"]);
    world.dark.clear();
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);
}

#[test]
fn a_task_with_data_is_held_with_its_node() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&stack("s", &[("db", service("db:1", 100).with(|s| mount(s, "data")))]));
    world.settle();
    world.dark.insert(world.node("a"));
    world.settle();
    world.expect(&["s/db.1 e1 run running@a"]);
    let rows = view::tasks(&world.cluster, &view::Soft::none(world.now), None);
    let why = "held: its volume `data` lives on a, which is down";
    assert_eq!(rows[0].waiting_for.as_deref(), Some(why));
    assert_eq!(
        view::rollout(&world.cluster, &stack_name("s")).failed[0].1,
        format!("replica 1: {why}")
    );
}

#[test]
fn a_constraint_that_no_longer_holds_moves_the_task() {
    let mut world = World::new(&[("a", 1_000)]);
    world.join("b", 1_000, &[("role", "web")]);
    world.apply(&web("web:1", 100));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);
    let bound = |constraint: &str| {
        let spec = service("web:1", 100)
            .with(|s| s.placement.constraints = vec![constraint.parse().unwrap()]);
        stack("s", &[("web", spec)])
    };
    world.apply(&bound("node.hostname == a"));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);
    world.apply(&bound("node.labels.role == web"));
    world.settle();
    world.expect(&["s/web.1 e2 run running@b"]);
}

#[test]
fn a_lost_task_that_was_restarted_meanwhile_is_heard_of_again_only_as_ended() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100).with(|s| publish(s, 80)))]));
    world.settle();
    let (node, task) = (world.node("a"), world.cluster.tasks().keys().next().copied().unwrap());
    world.dark.insert(node);
    world.settle();
    // A snapshot with two of them that may both run would be refused when it is read.
    let mut status = world.cluster.task(task).unwrap().status.clone();
    (status.restarts, status.state) = (status.restarts + 1, TaskState::Running);
    let reports = vec![model::TaskReport { task, status }];
    world.ok(Command::ReportTasks { node, reports });
    world.expect(&["s/web.1 e1 stop lost@a", "s/web.1 e2 run running@b"]);
    world.check_snapshot();
}

#[test]
fn a_strict_singleton_waits_until_every_replica_of_before_has_stopped() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100).with(|s| s.replicas = 2))]));
    world.settle();
    let alone = service("web:2", 100).with(|s| s.strict_singleton = true);
    world.apply(&stack("s", &[("web", alone)]));
    world.lead();
    // The first replica stops at once, the second takes its time.
    let node = world.node("a");
    let first = world.cluster.tasks().values().find(|task| task.slot == 1).unwrap();
    let (task, state) = (first.id, TaskState::Stopped);
    let status = model::TaskStatus { state, ..first.status.clone() };
    world.ok(Command::ReportTasks { node, reports: vec![model::TaskReport { task, status }] });
    world.lead();
    world.expect(&["s/web.1 e2 prepare assigned@a", "s/web.2 e1 stop running@a"]);
    world.settle();
    world.expect(&["s/web.1 e2 run running@a"]);
}

#[test]
fn a_strict_singleton_waits_for_what_was_lost_before_it() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    let node = world.node("a");
    world.dark.insert(node);
    world.settle();
    world.apply(&stack("s", &[("web", service("web:2", 100).with(|s| s.strict_singleton = true))]));
    world.settle();
    let prepared = "s/web.1 e3 prepare starting@b".to_owned();
    assert!(world.show().contains(&prepared), "{:#?}", world.show());
    world.dark.clear();
    world.settle();
    world.expect(&["s/web.1 e3 run running@b"]);
}
