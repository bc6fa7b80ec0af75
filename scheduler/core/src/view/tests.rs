//! What people are told.

mod drain;
mod explain;
mod fixes;
mod losses;
mod memory;
mod on;
mod rebalance;
mod what_if;

use model::{
    Bytes, ImaginedNode, Liveness, ServiceName, TaskState,
    spec::Condition,
    task::{Cause, Failure, Telemetry},
    view::{ChangeAction, PlanView, Succession},
};

use crate::{
    Command, Seat, plan_offline,
    testing::{With, World, depend, inventory, mount, publish, service, stack, stack_name},
    view::{self, Soft},
    what_if_offline,
};

fn preview(world: &World, spec: &model::StackSpec) -> PlanView {
    view::plan_view(&world.cluster, spec, world.now).unwrap()
}

fn actions(view: &PlanView) -> Vec<String> {
    let line = |change: &model::view::ServiceChange| {
        format!("{} {} {}", change.action.as_str(), change.service, change.fields.join(" "))
    };
    view.changes.iter().map(|change| line(change).trim_end().to_owned()).collect()
}

fn seats(view: &PlanView) -> Vec<String> {
    let seats = view.placements.iter();
    seats
        .map(|p| format!("{}.{} {}", p.service, p.replica, p.node.as_deref().unwrap_or("-")))
        .collect()
}

#[test]
fn a_plan_names_what_changes_and_where_everything_ends_up() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack(
        "s",
        &[
            ("db", service("db:1", 200).with(|s| mount(s, "data"))),
            ("gone", service("x", 100)),
            ("same", service("x", 100)),
            ("web", service("x", 100)),
        ],
    ));
    world.settle();
    let next = stack(
        "s",
        &[
            ("db", service("db:2", 300).with(|s| mount(s, "data"))),
            ("new", service("x", 100)),
            ("same", service("x", 100)),
            ("web", service("x", 100).with(|s| s.replicas = 2)),
        ],
    );
    let before = world.cluster.clone();
    let plan = preview(&world, &next);
    assert_eq!(world.cluster, before);
    assert_eq!(
        actions(&plan),
        [
            "replace db image deploy.resources.limits.memory deploy.resources.reservations.memory",
            "remove gone",
            "create new",
            "keep same",
            "update web deploy.replicas",
        ]
    );
    assert_eq!(plan.revision, 2);
    assert_eq!(seats(&plan), ["db.1 a", "new.1 a", "same.1 a", "web.1 a", "web.2 a"]);
    assert_eq!(
        plan.warnings,
        ["db is down for a moment while it is replaced: it writes to a volume"]
    );
    let node = &plan.nodes[0];
    assert_eq!((node.reserved_before, node.reserved_after), (Bytes::mib(500), Bytes::mib(700)));
    assert_eq!(node.free_after, Bytes::mib(300));
    assert_eq!(node.tasks, ["s/db.1", "s/new.1", "s/same.1", "s/web.1", "s/web.2"]);
    // What was foretold comes true.
    world.apply(&next);
    world.settle();
    let kept = preview(&world, &next);
    assert!(kept.changes.iter().all(|change| change.action == ChangeAction::Keep));
    assert_eq!((seats(&kept), &kept.nodes[0].tasks), (seats(&plan), &node.tasks));
}

#[test]
fn what_no_successor_can_replace_is_not_said_to_be_down_for_a_moment() {
    let mut world = World::new(&[("a", 1_000)]);
    let with = |mib| stack("s", &[("db", service("db:1", mib).with(|s| mount(s, "data")))]);
    world.apply(&with(100));
    world.settle();
    let moment = ["db is down for a moment while it is replaced: it writes to a volume"];
    assert_eq!(preview(&world, &with(900)).warnings, moment);
    assert_eq!(preview(&world, &with(1_200)).warnings, Vec::<String>::new());
    world.apply(&with(1_200));
    world.settle();
    assert_eq!(world.show(), ["s/db.1 e1 run running@a", "s/db.1 e2 prepare pending"]);
}

#[test]
fn a_plan_looks_to_the_end_of_a_replacement() {
    let mut world = World::new(&[("a", 1_000)]);
    let with =
        |image: &str, mib| stack("s", &[("web", service(image, mib).with(|s| s.replicas = 3))]);
    world.apply(&with("x:1", 100));
    world.settle();
    let plan = preview(&world, &with("x:2", 150));
    assert_eq!(seats(&plan), ["web.1 a", "web.2 a", "web.3 a"]);
    assert_eq!(plan.nodes[0].reserved_after, Bytes::mib(450));
    assert_eq!(plan.nodes[0].tasks.len(), 3);
    assert_eq!(plan.warnings, [""; 0]);
    // A very long one is cut, and says so.
    let many = |image: &str| stack("s", &[("web", service(image, 1).with(|s| s.replicas = 200))]);
    world.apply(&many("x:3"));
    world.settle();
    let plan = preview(&world, &many("x:4"));
    assert!(plan.warnings[0].starts_with("only the first 149 steps"), "{:?}", plan.warnings);
}

#[test]
fn a_plan_tells_what_was_assumed_and_what_may_burst() {
    let world = World::new(&[("a", 1_000)]);
    let silent = model::ServiceSpec::new("x");
    let greedy = service("x", 100).with(|s| s.resources.memory_limit = Bytes::mib(900));
    let plan = preview(&world, &stack("s", &[("greedy", greedy), ("silent", silent)]));
    assert_eq!(
        plan.warnings,
        [
            "silent says nothing about memory: 256.0 MiB are assumed, as reservation and as limit",
            "limits on a add up to 1.1 GiB, it offers 1000.0 MiB: not all can use theirs at once",
        ]
    );
}

#[test]
fn imagined_machines_are_enough_to_plan_on() {
    let node = |name: &str, gib| ImaginedNode {
        name: model::NodeName::new(name).unwrap(),
        memory: Bytes::gib(gib),
        cpus: model::MilliCpu::cores(8),
        labels: [].into(),
        arch: Some("arm64".into()),
        generic: model::Generic::NONE,
    };
    let app = service("app", 1_024).with(|s| depend(s, "init", Condition::Completed));
    let spec = stack(
        "s",
        &[("app", app), ("big", service("big", 9 * 1_024)), ("init", service("init", 100))],
    );
    let plan = plan_offline(&spec, &[node("mini-1", 8), node("mini-2", 2)], &[]).unwrap();
    assert_eq!(seats(&plan), ["app.1 mini-2", "big.1 -", "init.1 mini-2"]);
    assert_eq!((plan.unplaced, plan.revision), (1, 1));
    let big = &plan.placements[1];
    assert_eq!(big.verdicts[0].reason, "needs 9.0 GiB, 8.0 GiB free, short 1.0 GiB");
    assert_eq!(big.verdicts[0].short, Some(1 << 30));
    assert_eq!(
        big.fixes,
        [
            "lower the memory reservation of big from 9.0 GiB to 8.0 GiB: mini-1 has that",
            "add a node with at least 9.0 GiB free",
        ]
    );
    let nowhere = plan_offline(&spec, &[], &[]).unwrap();
    assert_eq!(nowhere.unplaced, 3);
}

#[test]
fn what_runs_on_imagined_machines_stays_there() {
    let node = |name: &str, mib| ImaginedNode {
        name: model::NodeName::new(name).unwrap(),
        memory: Bytes::mib(mib),
        cpus: model::MilliCpu::cores(8),
        labels: [].into(),
        arch: None,
        generic: model::Generic::NONE,
    };
    let seat = |service: &str, slot, name: &str| Seat {
        stack: stack_name("s"),
        service: crate::testing::service_name(service),
        slot,
        node: model::NodeName::new(name).unwrap(),
    };
    let nodes = [node("a", 500), node("b", 300)];
    let web = service("x", 100).with(|s| s.replicas = 2);
    let spec = stack("s", &[("db", service("x", 250)), ("web", web)]);
    let plan = plan_offline(&spec, &nodes, &[seat("web", 1, "b"), seat("web", 2, "a")]).unwrap();
    assert_eq!(seats(&plan), ["db.1 a", "web.1 b", "web.2 a"]);
    assert_eq!(actions(&plan), ["keep db", "keep web"]);
    assert_eq!(plan.nodes[1].reserved_before, Bytes::mib(100));
    // Each has half of what is free, and neither moves.
    let full = [seat("web", 1, "b"), seat("web", 2, "a"), seat("db", 1, "b")];
    let refused = plan_offline(&spec, &nodes, &full).unwrap_err().to_string();
    let why = "s/db.1 cannot run on b: needs 250.0 MiB, 200.0 MiB free, short 50.0 MiB";
    assert_eq!(refused, why);
    let third = plan_offline(&spec, &nodes, &[seat("web", 3, "a")]).unwrap_err().to_string();
    assert_eq!(third, "s/web.3 cannot run on a: there is no such replica");

    let lost = what_if_offline(std::slice::from_ref(&spec), &nodes, &full[..2], |cluster| {
        let a = cluster.nodes().keys().next().copied().unwrap();
        Ok(vec![view::Supposition::Lose(a)])
    });
    let lost = lost.unwrap();
    let moves: Vec<_> =
        lost.placements.iter().map(|p| (p.service.as_str(), p.node.as_deref())).collect();
    assert_eq!(moves, [("db", None), ("web", Some("b"))]);
}

#[test]
fn two_services_on_one_host_port_are_seen_in_the_plan() {
    let world = World::new(&[("a", 1_000)]);
    let with = || service("x", 100).with(|s| publish(s, 80));
    let plan = preview(&world, &stack("s", &[("one", with()), ("two", with())]));
    assert_eq!(plan.unplaced, 1);
    let two = &plan.placements[1];
    assert_eq!(two.verdicts[0].reason, "port 80/tcp is taken by s/one.1");
    assert_eq!(two.verdicts[0].resource.as_deref(), Some("port"));
}

#[test]
fn explain_tells_what_was_decided_for_a_placed_task() {
    let mut world = World::new(&[("a", 1_000), ("b", 600), ("c", 50)]);
    world.apply(&stack("s", &[("web", service("x", 100))]));
    let decided = world.now;
    world.settle();
    world.apply(&stack("t", &[("late", service("x", 400))]));
    world.settle();
    let web = ServiceName::new("web").unwrap();
    let explain =
        |slot| view::explain(&world.cluster, &stack_name("s"), &web, slot, &Soft::none(world.now));
    let told = explain(None).unwrap().remove(0);
    assert_eq!(told.placement.node.as_deref(), Some("b"));
    assert_eq!(told.decided_at, Some(decided.to_rfc3339()));
    let reasons: Vec<_> =
        told.decided.iter().map(|v| (v.node.as_str(), v.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            ("b", "fits best, leaves 500.0 MiB free"),
            (
                "a",
                "fits, leaves 900.0 MiB free; b is better: it is fuller: the largest hole stays open"
            ),
            ("c", "needs 100.0 MiB, 50.0 MiB free, short 50.0 MiB"),
        ]
    );
    let why = explain(Some(2)).unwrap_err();
    assert_eq!(why.to_string(), "`s/web` has 1 replica, there is no replica 2");
}

#[test]
fn the_rows_of_a_plan_and_the_line_of_the_node_tell_the_same_free_memory() {
    let mut world = World::new(&[("a", 1_000)]);
    let reasons = |world: &World, spec| {
        let plan = view::plan_view(&world.cluster, &spec, world.now).unwrap();
        let row = |placed: &model::view::ReplicaPlacement| {
            format!("{}: {}", placed.service, placed.verdicts[0].reason)
        };
        let rows: Vec<String> = plan.placements.iter().map(row).collect();
        (rows, plan.nodes[0].free_after)
    };
    let spec =
        |image: &str| stack("s", &[("api", service("x", 100)), ("web", service(image, 300))]);
    // The larger is placed first, when more is free than in the end.
    let (rows, free) = reasons(&world, spec("w:1"));
    assert_eq!(
        rows,
        ["api: fits best, leaves 600.0 MiB free", "web: fits best, leaves 600.0 MiB free"]
    );
    assert_eq!(free, Bytes::mib(600));
    world.apply(&spec("w:1"));
    world.settle();
    // The old one runs beside the new one until that is ready.
    let (rows, free) = reasons(&world, spec("w:2"));
    let (now, then) = ("300.0 MiB", "600.0 MiB");
    assert_eq!(
        rows,
        [
            format!("api: stays, {then} free"),
            format!("web: fits best, leaves {now} free, {then} when what leaves there has stopped"),
        ]
    );
    assert_eq!(free, Bytes::mib(600));
    world.apply(&spec("w:2"));
    world.settle();
    let web = ServiceName::new("web").unwrap();
    let soft = Soft::none(world.now);
    let told = view::explain(&world.cluster, &stack_name("s"), &web, None, &soft).unwrap();
    assert_eq!(
        told[0].decided[0].reason,
        format!("fits best, leaves {now} free, {then} when what leaves there has stopped")
    );
}

#[test]
fn rows_carry_what_is_reserved_and_what_is_used() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("x", 100))]));
    world.settle();
    let task = *world.cluster.tasks().keys().next().unwrap();
    let used = Telemetry { memory_used: Some(Bytes::mib(42)), pull: None };
    let telemetry = [(task, used)].into();
    let soft = Soft { telemetry: &telemetry, ..Soft::none(world.now) };
    let row = view::tasks(&world.cluster, &soft, Some(&stack_name("s"))).remove(0);
    assert_eq!((row.state.as_str(), row.ready, row.epoch), ("running", true, 1));
    assert_eq!((row.memory_reservation, row.memory_used), (Bytes::mib(100), Some(Bytes::mib(42))));
    let node = view::nodes(&world.cluster, &soft).remove(0);
    assert_eq!((node.memory.reserved, node.memory.used), (Bytes::mib(100), Some(Bytes::mib(42))));
    assert_eq!(node.tasks, 1);
    let seats = view::placement(&world.cluster);
    assert_eq!((seats.nodes[0].free, seats.pending.len()), (Bytes::mib(900), 0));
    assert!(view::tasks(&world.cluster, &soft, Some(&stack_name("other"))).is_empty());
    let stacks = view::stacks(&world.cluster);
    assert_eq!((stacks[0].state.as_str(), stacks[0].ready), ("running", 1));
}

#[test]
fn two_tasks_of_one_replica_are_told_apart() {
    let mut world = World::new(&[("a", 1_000)]);
    let with =
        |image: &str, mib| stack("s", &[("db", service(image, mib).with(|s| mount(s, "data")))]);
    world.apply(&with("db:1", 400));
    world.settle();
    let (old, new) = (Some(Succession::Old), Some(Succession::New));
    let plan = preview(&world, &with("db:2", 2_000));
    let told: Vec<_> = plan.placements.iter().map(|seat| seat.succession).collect();
    assert_eq!((seats(&plan), told), (vec!["db.1 a".into(), "db.1 -".into()], vec![old, new]));
    world.apply(&with("db:2", 900));
    world.lead();
    world.expect(&["s/db.1 e1 stop running@a", "s/db.1 e2 prepare pending"]);
    let rows = view::tasks(&world.cluster, &Soft::none(world.now), None);
    assert_eq!([rows[0].succession, rows[1].succession], [new, old]);
    let seats = view::placement(&world.cluster);
    assert_eq!([seats.nodes[0].tasks[0].succession, seats.pending[0].succession], [old, new]);
    world.settle();
    let rows = view::tasks(&world.cluster, &Soft::none(world.now), None);
    assert_eq!((rows.len(), rows[0].succession), (1, None));
}

#[test]
fn a_failure_that_was_replaced_is_listed_only_when_all_is_asked_for() {
    let mut world = World::new(&[("a", 1_000)]);
    for image in ["fail:1", "web:1"] {
        world.apply(&stack("s", &[("web", service(image, 100))]));
        world.settle();
    }
    let soft = Soft::none(world.now);
    let epochs = |rows: Vec<model::view::TaskRow>| -> Vec<_> {
        rows.into_iter().map(|row| (row.epoch, row.state, row.succession)).collect()
    };
    let running = (2, "running".to_owned(), None);
    let failed = (1, "failed".to_owned(), None);
    let remembered = epochs(view::remembered_tasks(&world.cluster, &soft, None));
    assert_eq!(remembered, [running.clone(), failed]);
    assert_eq!(epochs(view::tasks(&world.cluster, &soft, None)), vec![running]);
    let other = view::remembered_tasks(&world.cluster, &soft, Some(&stack_name("other")));
    assert!(other.is_empty());
}

/// The problems of a world, as `what / cause / fix`.
fn problems(world: &World) -> Vec<String> {
    let status = view::status(&world.cluster, &Soft::none(world.now));
    assert_eq!(status.healthy, status.problems.is_empty());
    let line =
        |held: &model::view::Problem| format!("{} / {} / {}", held.what, held.cause, held.fix);
    status.problems.iter().map(line).collect()
}

#[test]
fn every_problem_comes_with_its_cause_and_a_fix() {
    assert_eq!(
        problems(&World::new(&[])),
        ["no node has joined / nothing can be placed / make a token with `sisoctl token create \
          --role node` and start siso-agent with it"]
    );
    let mut world = World::new(&[("a", 1_000)]);
    let db = service("db", 600).with(|s| mount(s, "data"));
    world.apply(&stack(
        "s",
        &[("bad", service("fail:1", 10)), ("big", service("x", 600)), ("db", db)],
    ));
    world.settle();
    assert_eq!(
        problems(&world),
        [
            "s/bad.1 failed / exited with code 1 / see `sisoctl logs s/bad`, correct it and apply again",
            "s/db.1 is pending / a: needs 600.0 MiB, 400.0 MiB free, short 200.0 MiB / lower the \
             memory reservation of db from 600.0 MiB to 400.0 MiB: a has that",
        ]
    );
    let node = world.node("a");
    let mut small = inventory(500);
    small.engine_ready = false;
    small.ledger_error = Some("write: No space left on device".to_owned());
    let shrink = Command::UpdateNode { node, inventory: small, address: "a".into() };
    let entry = crate::Entry { at: world.now, request: None, command: shrink };
    assert!(world.cluster.apply(&entry).result.is_ok());
    let told = problems(&world);
    assert!(told[0].starts_with("the container engine of a does not answer / "), "{told:#?}");
    assert_eq!(
        told[1],
        "the agent of a cannot write its ledger / write: No space left on device / make room on the \
         disk of a or mend it: all goes on, but started again its agent would know less"
    );
    assert!(
        told[2]
            .starts_with("node a is overbooked / its tasks reserve 600.0 MiB, it offers 500.0 MiB"),
        "{told:#?}"
    );
}

#[test]
fn a_cordoned_machine_is_named_by_status() {
    let mut world = World::new(&[("b", 1_000), ("a", 1_000), ("c", 1_000)]);
    for name in ["b", "a"] {
        world.ok(Command::SetSchedulable { node: world.node(name), schedulable: false });
    }
    let status = view::status(&world.cluster, &Soft::none(world.now));
    assert_eq!((status.healthy, status.cordoned), (true, vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_task_is_out_of_reach_since_its_node_is_down_not_since_it_runs() {
    let mut world = World::new(&[("a", 1_000)]);
    let db = service("db", 600).with(|s| mount(s, "data"));
    world.apply(&stack("s", &[("db", db)]));
    world.settle();
    let node = world.node("a");
    world.seconds(60);
    world.ok(Command::SetLiveness { node, liveness: Liveness::Down });
    let status = view::status(&world.cluster, &Soft::none(world.now));
    let problem = status.problems.iter().find(|held| held.what == "s/db.1 is out of reach");
    let since = world.cluster.node(node).unwrap().since;
    assert_eq!(problem.unwrap().since, Some(since.to_rfc3339()), "{:#?}", status.problems);
}

#[test]
fn a_task_killed_for_its_memory_is_told_so_with_what_to_change() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("x", 100))]));
    world.settle();
    let task = world.cluster.tasks().values().next().unwrap().clone();
    let mut status = task.status.clone();
    status.restarts = 3;
    status.state = TaskState::Starting;
    status.failure =
        Some(Failure::new(Cause::OutOfMemory, "killed: exceeded its limit of 100.0 MiB"));
    let reports = vec![model::TaskReport { task: task.id, status }];
    world.ok(Command::ReportTasks { node: task.node.unwrap(), reports });
    assert_eq!(
        problems(&world),
        ["s/web.1 was started again 3 times / killed: exceeded its limit of 100.0 MiB / raise \
          deploy.resources.limits.memory of web"]
    );
    assert_eq!(world.warned("oom").len(), 1);
    let rollout = view::rollout(&world.cluster, &stack_name("s"));
    assert!(rollout.settled && rollout.failed.len() == 1, "{rollout:?}");
}

#[test]
fn a_rollout_waits_for_a_node_that_has_only_just_joined() {
    let mut world = World::new(&[("a", 1_000)]);
    let node = world.node("a");
    world.ok(Command::SetLiveness { node, liveness: Liveness::Unreachable });
    world.apply(&stack("s", &[("web", service("x", 100))]));
    let rollout = view::rollout(&world.cluster, &stack_name("s"));
    assert!(!rollout.settled && rollout.exists, "nothing was planned yet");
    world.mute.insert(node);
    let planned = crate::plan(&world.cluster, &crate::Heartbeats::new(world.now), world.now);
    world.ok(Command::Plan { basis: planned.basis, changes: planned.changes });
    let rollout = view::rollout(&world.cluster, &stack_name("s"));
    assert_eq!(rollout.waiting[0].1, "replica 1 is pending: a: is unreachable");
    world.ok(Command::SetLiveness { node, liveness: Liveness::Down });
    assert!(view::rollout(&world.cluster, &stack_name("s")).settled);
    assert!(!view::rollout(&world.cluster, &stack_name("other")).exists);
}

#[test]
fn a_replacement_is_not_called_failed_between_a_stop_and_the_plan_that_follows() {
    let mut world = World::new(&[("a", 1_000)]);
    let with_port =
        |image: &str| stack("s", &[("web", service(image, 900).with(|s| publish(s, 80)))]);
    world.apply(&with_port("web:1"));
    world.settle();
    world.apply(&with_port("web:2"));
    for _ in 0..20 {
        world.agents();
        let rollout = view::rollout(&world.cluster, &stack_name("s"));
        assert_eq!(rollout.failed, [], "{:#?}", world.show());
        world.lead();
        world.pass(1_000);
    }
    assert!(view::rollout(&world.cluster, &stack_name("s")).settled);
}
