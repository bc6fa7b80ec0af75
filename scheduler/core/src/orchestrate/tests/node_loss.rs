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
    let reports = vec![TaskReport { task, status }];
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
    let status = TaskStatus { state, ..first.status.clone() };
    world.ok(Command::ReportTasks { node, reports: vec![TaskReport { task, status }] });
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

fn strict() -> StackSpec {
    stack("s", &[("one", service("one:1", 100).with(|s| s.strict_singleton = true))])
}

/// How long a strict singleton with the usual grace is waited for, in seconds.
const FENCE: u64 = model::lease::fence_ms(10_000) / 1_000;

/// A strict singleton on `a`, whose node is lost at once; `b` has room.
fn strict_lost() -> World {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&strict());
    world.settle();
    world.expect(&["s/one.1 e1 run running@a"]);
    world.dark.insert(world.node("a"));
    world
}

#[test]
fn a_strict_singleton_moves_when_its_lease_is_surely_over_and_not_before() {
    let mut world = strict_lost();
    world.seconds(FENCE);
    world.expect(&["s/one.1 e1 run running@a", "s/one.1 e2 prepare starting@b"]);
    let soft = view::Soft { leases: Some(&world.beats.leases), ..view::Soft::none(world.now) };
    let rows = view::tasks(&world.cluster, &soft, None);
    let why = "waits for the end of its lease on a, at most 1 s more";
    assert_eq!(rows[0].waiting_for.as_deref(), Some(why), "{rows:#?}");
    let told = view::explain(&world.cluster, &stack_name("s"), &service_name("one"), None, &soft);
    assert!(told.unwrap()[0].error.as_deref().unwrap().contains(why));
    world.seconds(4);
    world.expect(&["s/one.1 e1 stop lost@a", "s/one.1 e2 run running@b"]);
    world.dark.clear();
    world.settle();
    world.expect(&["s/one.1 e2 run running@b"]);
}

#[test]
fn a_node_is_not_given_up_while_a_strict_singleton_may_run_there() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let spec = service("one:1", 100).with(|s| {
        s.strict_singleton = true;
        mount(s, "data");
    });
    world.apply(&stack("s", &[("one", spec)]));
    world.settle();
    let node = world.node("a");
    world.dark.insert(node);
    world.seconds(FENCE - 1);
    let why = world.remove(node, true).result.unwrap_err().to_string();
    let told = "s/one.1 must never run twice and may still run on node `a`, until the lease is surely over";
    assert_eq!(why, told);
    // What was known of another absence is worth nothing.
    let known = Some(world.now);
    let late = Command::RemoveNode { node, tasks: true, volumes: true, down_since: known };
    assert_eq!(world.refused(late).to_string(), told);
    world.expect(&["s/one.1 e1 run running@a"]);
    world.seconds(3);
    world.remove(node, true).result.unwrap();
    world.settle();
    world.expect(&["s/one.1 e2 run running@b"]);
}

#[test]
fn a_new_leader_waits_anew_before_a_strict_singleton_moves() {
    let mut world = strict_lost();
    world.seconds(FENCE - 5);
    world.beats = crate::Heartbeats::new(world.now).leading_since(world.uptime());
    world.seconds(FENCE - 1);
    world.expect(&["s/one.1 e1 run running@a", "s/one.1 e2 prepare starting@b"]);
    world.seconds(4);
    world.expect(&["s/one.1 e1 stop lost@a", "s/one.1 e2 run running@b"]);
}

#[test]
fn a_strict_singleton_stays_when_its_node_returns_before_its_lease_is_over() {
    let mut world = strict_lost();
    world.seconds(FENCE - 5);
    world.dark.clear();
    world.settle();
    world.expect(&["s/one.1 e1 run running@a"]);
}

#[test]
fn a_strict_singleton_with_data_is_held_with_its_node() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let spec = service("db:1", 100).with(|s| {
        s.strict_singleton = true;
        mount(s, "data");
    });
    world.apply(&stack("s", &[("db", spec)]));
    world.settle();
    world.dark.insert(world.node("a"));
    world.seconds(3 * FENCE);
    world.expect(&["s/db.1 e1 run running@a"]);
    let rows = view::tasks(&world.cluster, &view::Soft::none(world.now), None);
    let why = "held: its volume `data` lives on a, which is down";
    assert_eq!(rows[0].waiting_for.as_deref(), Some(why));
}

#[test]
fn what_is_given_up_for_a_spell_that_is_over_is_refused_when_it_runs_under_leases() {
    let mut world = strict_lost();
    world.seconds(10);
    let (task, node) = (*world.cluster.tasks().keys().next().unwrap(), world.node("a"));
    let down_since = Some(world.cluster.node(node).unwrap().since);
    for liveness in [Liveness::Ready, Liveness::Down] {
        world.ok(Command::SetLiveness { node, liveness });
    }
    let late = single(&world, Change::MarkLost { task, down_since });
    let Outcome::Planned { refused } = world.ok(late) else { panic!() };
    assert!(refused[0].contains("may have had a lease"), "{refused:?}");
    let unnamed = single(&world, Change::MarkLost { task, down_since: None });
    let Outcome::Planned { refused } = world.ok(unnamed) else { panic!() };
    assert_eq!(refused.len(), 1);
}

#[test]
fn a_lease_is_granted_to_what_is_to_run_on_a_node_that_is_not_down() {
    let mut world = strict_lost();
    let node = world.node("a");
    let task = *world.cluster.tasks().keys().next().unwrap();
    assert_eq!(crate::lease::grant(&world.cluster, node), [task]);
    assert_eq!(crate::lease::grant(&world.cluster, world.node("b")), []);
    world.seconds(10);
    assert_eq!(crate::lease::grant(&world.cluster, node), [], "it is down");
    world.seconds(FENCE);
    world.ok(Command::SetLiveness { node, liveness: Liveness::Ready });
    assert_eq!(crate::lease::grant(&world.cluster, node), [], "it was given up");
    let next = world.cluster.tasks().keys().next_back().copied().unwrap();
    assert_eq!(crate::lease::grant(&world.cluster, world.node("b")), [next]);
}

#[test]
fn a_node_that_comes_and_goes_moves_a_service_at_most_once_in_five_minutes() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    let last_move = |world: &World| {
        let last = world.cluster.tasks().values().map(|task| task.epoch.0).max().unwrap();
        let stack = world.cluster.stack(&stack_name("s")).unwrap();
        (last, stack.services()[&service_name("web")].moved_at)
    };
    let mut moves = Vec::new();
    let mut since = last_move(&world);
    // Both come and go in turn, so that there is always one to flee to.
    for _ in 0..45 {
        for down in ["a", "b"] {
            world.dark = [world.node(down)].into();
            for _ in 0..20 {
                world.seconds(1);
                let now = last_move(&world);
                if now.1 != since.1 {
                    moves.push(now.1.unwrap());
                }
                since = now;
            }
        }
    }
    let gaps: Vec<u64> = moves.windows(2).map(|pair| pair[1].millis_since(pair[0])).collect();
    // The first two were nodes that had been well.
    let flapping = gaps.iter().skip(1);
    assert!(flapping.clone().count() >= 3, "{gaps:?}");
    assert!(flapping.clone().all(|gap| *gap >= HOLD_DOWN_MS), "{gaps:?}");
}

#[test]
fn all_replicas_of_a_service_leave_a_node_that_comes_and_goes_together() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.join("c", 200, &[]);
    let a = world.node("a");
    let on_a = |world: &World| world.cluster.tasks_on(a).filter(|task| task.is_ready()).count();
    let spec = service("web:1", 100).with(|s| s.replicas = 6);
    for _ in 0..2 {
        world.apply(&stack("s", &[("web", spec.clone())]));
        world.settle();
        assert!(on_a(&world) >= 2, "{:#?}", world.show());
        world.dark.insert(a);
        world.seconds(20);
        let running =
            world.cluster.tasks().values().filter(|task| task.is_ready() && task.node != Some(a));
        assert_eq!(running.count(), 6, "{:#?}", world.show());
        world.dark.remove(&a);
        world.seconds(5);
        world.ok(Command::RemoveStack { stack: stack_name("s"), volumes: false });
        world.settle();
    }
}

#[test]
fn a_replica_that_leaves_another_node_takes_none_along_from_one_that_comes_and_goes() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let (a, b) = (world.node("a"), world.node("b"));
    world.apply(&stack("s", &[("web", service("web:1", 100).with(|s| s.replicas = 2))]));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a", "s/web.2 e1 run running@b"]);
    world.join("c", 1_000, &[]);
    world.dark.insert(a);
    world.seconds(20);
    world.dark.remove(&a);
    world.seconds(5);
    // The machine takes it again, and goes again; the other one is given up by a person.
    let moved = world.cluster.tasks().values().find(|task| task.slot == 1 && task.is_ready());
    let task = moved.unwrap().id;
    world.ok(Command::MoveTask { task, to: a });
    world.seconds(10);
    world.dark.extend([a, b]);
    world.seconds(12);
    let until = world.now.plus_millis(600_000);
    world.ok(Command::DrainNode { node: b, until });
    world.seconds(20);
    let show = world.show();
    assert!(show.contains(&"s/web.2 e2 run running@c".to_owned()), "{show:#?}");
    assert!(show.contains(&"s/web.1 e3 run running@a".to_owned()), "{show:#?}");
}

#[test]
fn a_service_that_is_held_down_says_so_and_a_node_that_was_well_is_left_at_once() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let (a, b) = (world.node("a"), world.node("b"));
    world.apply(&web("web:1", 100));
    world.settle();
    world.dark.insert(a);
    world.seconds(15);
    world.expect(&["s/web.1 e1 stop lost@a", "s/web.1 e2 run running@b"]);
    world.dark.remove(&a);
    world.seconds(5);
    // This one had not been away before.
    world.dark.insert(b);
    world.seconds(15);
    world.expect(&["s/web.1 e2 stop lost@b", "s/web.1 e3 run running@a"]);
    world.dark = [a].into();
    world.seconds(15);
    world.expect(&["s/web.1 e3 run running@a"]);
    let soft = view::Soft::none(world.now);
    let rows = view::tasks(&world.cluster, &soft, None);
    let why = rows[0].waiting_for.as_deref().unwrap();
    assert_eq!(
        why,
        "a is down; it comes and goes, and the service moved 23 s ago: it moves again in 5 min, \
         unless a is back by then"
    );
    let status = view::status(&world.cluster, &soft);
    assert!(status.problems.iter().any(|problem| problem.cause == why), "{status:#?}");
}
