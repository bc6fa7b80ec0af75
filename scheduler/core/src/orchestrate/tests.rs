//! Stories of services, told as the tasks that are there at the end of each chapter.

mod clocks;
mod drain;
mod moves;
mod node_loss;
mod variants;

use model::{
    Epoch, Liveness, Revision, StackSpec, TaskReport, TaskState, TaskStatus,
    spec::{Condition, HealthTest, Healthcheck, RestartPolicy},
    task::{Cause, Failure},
};

use super::HOLD_DOWN_MS;
use crate::{
    Change, Command, Outcome, Rejection,
    testing::{
        With, World, depend, mount, publish, service, service_name, single, stack, stack_name,
    },
    view,
};

fn check_health(spec: &mut model::ServiceSpec) {
    spec.healthcheck = Some(Healthcheck {
        test: HealthTest::Exec(vec!["true".into()]),
        interval_ms: None,
        timeout_ms: None,
        retries: None,
        start_period_ms: None,
    });
}

fn web(image: &str, mib: u64) -> StackSpec {
    stack("s", &[("web", service(image, mib))])
}

#[test]
fn every_replica_gets_one_task() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.apply(&stack("s", &[("web", service("web:1", 100).with(|s| s.replicas = 2))]));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a", "s/web.2 e1 run running@b"]);
    world.check_snapshot();
}

#[test]
fn the_same_stack_again_changes_nothing() {
    let mut world = World::new(&[("a", 1_000)]);
    assert_eq!(world.apply(&web("web:1", 100)), Outcome::Stack(Revision(1)));
    world.settle();
    let before = world.cluster.clone();
    assert_eq!(world.apply(&web("web:1", 100)), Outcome::Unchanged);
    assert_eq!(world.cluster, before);
}

#[test]
fn a_changed_service_starts_first_and_the_old_one_stops_when_the_new_one_has_run_a_while() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    world.apply(&web("web:2", 100));
    world.seconds(3);
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 run running@a"]);
    world.settle();
    world.expect(&["s/web.1 e2 run running@a"]);
}

#[test]
fn a_service_that_writes_to_a_volume_stops_first() {
    let mut world = World::new(&[("a", 1_000)]);
    let with = |image: &str| stack("s", &[("db", service(image, 100).with(|s| mount(s, "data")))]);
    world.apply(&with("db:1"));
    world.settle();
    world.apply(&with("db:2"));
    world.lead();
    // The old one serves until the new one's image is there.
    world.expect(&["s/db.1 e1 run running@a", "s/db.1 e2 prepare assigned@a"]);
    world.settle();
    world.expect(&["s/db.1 e2 run running@a"]);
}

#[test]
fn a_fixed_host_port_is_handed_over() {
    let mut world = World::new(&[("a", 1_000)]);
    let with = |image: &str| stack("s", &[("web", service(image, 100).with(|s| publish(s, 80)))]);
    world.apply(&with("web:1"));
    world.settle();
    world.apply(&with("web:2"));
    world.settle();
    world.expect(&["s/web.1 e2 run running@a"]);
}

#[test]
fn a_new_task_that_fails_leaves_the_old_one_serving_until_asked_again() {
    for image in ["fail:2", "crash:2"] {
        let mut world = World::new(&[("a", 1_000)]);
        world.apply(&web("web:1", 100));
        world.settle();
        world.apply(&web(image, 100));
        world.settle();
        let serving: Vec<String> =
            world.show().into_iter().filter(|line| !line.contains("stop")).collect();
        assert_eq!(serving, ["s/web.1 e1 run running@a"]);
        let rollout = view::rollout(&world.cluster, &stack_name("s"));
        assert!(rollout.settled);
        assert!(rollout.failed[0].1.contains("exited with code"), "{rollout:?}");
        assert_eq!(world.warned("rollout").len(), 1, "tried once");
        // The same file again tries again; a better one goes through.
        assert_eq!(world.apply(&web(image, 100)), Outcome::Stack(Revision(2)));
        world.settle();
        assert_eq!(world.warned("rollout").len(), 2);
        world.apply(&web("web:3", 100));
        world.settle();
        assert!(world.show().iter().any(|line| line.ends_with("run running@a")));
        assert!(view::rollout(&world.cluster, &stack_name("s")).failed.is_empty());
    }
}

#[test]
fn what_fails_is_made_anew_when_the_same_file_is_asked_for_again_also_without_a_predecessor() {
    let failing = |state| TaskStatus {
        state,
        failure: Some(Failure::new(Cause::Image, "no such image")),
        sequence: 100,
        ..TaskStatus::default()
    };
    for state in [TaskState::Preparing, TaskState::Failed] {
        let mut world = World::new(&[("a", 1_000)]);
        world.ok(Command::RaiseForm { form: 4 });
        world.apply(&web("web:1", 100));
        world.lead();
        let task = world.cluster.tasks().values().next().unwrap();
        let (task, node) = (task.id, task.node.unwrap());
        let reports = vec![TaskReport { task, status: failing(state) }];
        world.ok(Command::ReportTasks { node, reports });
        assert_eq!(world.apply(&web("web:1", 100)), Outcome::Stack(Revision(1)), "{state}");
        world.settle();
        let shown = world.show();
        assert_eq!(shown.last().unwrap(), "s/web.1 e2 run running@a", "{shown:?}");
        assert_eq!(world.apply(&web("web:1", 100)), Outcome::Unchanged);
    }
}

#[test]
fn what_has_failed_is_made_anew_when_the_same_file_is_asked_for_again() {
    let mut world = World::new(&[("a", 1_000)]);
    let with = |image| stack("s", &[("web", service(image, 100).with(|s| s.replicas = 2))]);
    world.apply(&with("web:1"));
    world.settle();
    world.apply(&with("web:2"));
    // The first replica is new, the second is about to be.
    let half = |world: &World| {
        let shown = world.show();
        let has = |text: &str| shown.iter().any(|line| line.starts_with(text));
        let first = has("s/web.1 e2 run running@a") && !has("s/web.1 e1");
        first && has("s/web.2 e1 run running@a") && has("s/web.2 e2 run starting@a")
    };
    let mut rounds = 0..60;
    while !half(&world) {
        rounds.next().unwrap_or_else(|| panic!("{:?}", world.show()));
        world.lead();
        world.agents();
        world.pass(100);
    }
    for slot in [2, 1] {
        let mut tasks = world.cluster.tasks().values();
        let task = tasks.find(|task| task.slot == slot && task.epoch == Epoch(2)).unwrap();
        let (task, node) = (task.id, task.node.unwrap());
        let status = TaskStatus {
            state: TaskState::Failed,
            failure: Some(Failure::new(Cause::Exited, "exited with code 1")),
            exit_code: Some(1),
            sequence: 100,
            ..TaskStatus::default()
        };
        world.ok(Command::ReportTasks { node, reports: vec![TaskReport { task, status }] });
        world.lead();
    }
    world.settle();
    assert_eq!(world.warned("rollout").len(), 1, "{:?}", world.show());
    world.apply(&with("web:2"));
    world.settle();
    let runs = world.show().into_iter().filter(|line| line.contains(" run running@a"));
    let runs: Vec<_> = runs.collect();
    assert_eq!(runs, ["s/web.1 e3 run running@a", "s/web.2 e3 run running@a"]);
    assert!(view::rollout(&world.cluster, &stack_name("s")).failed.is_empty());
}

#[test]
fn a_new_task_that_is_interrupted_takes_over_once_it_has_run_a_while() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    world.apply(&web("cut:2", 100));
    world.settle();
    world.expect(&["s/web.1 e2 run running@a"]);
    assert!(view::rollout(&world.cluster, &stack_name("s")).failed.is_empty());
}

#[test]
fn a_task_that_becomes_unhealthy_does_not_take_over() {
    let mut world = World::new(&[("a", 1_000)]);
    let with = |image: &str| stack("s", &[("web", service(image, 100).with(check_health))]);
    world.apply(&with("web:1"));
    world.settle();
    world.apply(&with("sick:2"));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 stop failed@a"]);
}

#[test]
fn replicas_are_replaced_one_at_a_time_and_a_failure_stops_the_rest() {
    let mut world = World::new(&[("a", 2_000)]);
    let with = |image: &str| {
        let spec = service(image, 100).with(|s| s.replicas = 3);
        stack("s", &[("web", spec)])
    };
    world.apply(&with("web:1"));
    world.settle();
    world.apply(&with("web:2"));
    for _ in 0..40 {
        world.seconds(1);
        let running = world.show().iter().filter(|line| line.contains("run running")).count();
        assert!(running >= 3, "{:#?}", world.show());
        assert!(world.cluster.tasks().len() <= 5, "{:#?}", world.show());
    }
    world.settle();
    world.apply(&with("fail:3"));
    world.settle();
    let serving = world.show().iter().filter(|line| line.contains("run running")).count();
    assert_eq!(serving, 3, "{:#?}", world.show());
}

#[test]
fn of_services_that_stop_first_only_one_replica_is_lost_to_a_bad_image() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let with = |image: &str| {
        let spec = service(image, 100).with(|s| publish(s, 80)).with(|s| s.replicas = 2);
        stack("s", &[("web", spec)])
    };
    world.apply(&with("web:1"));
    world.settle();
    world.apply(&with("fail:2"));
    world.settle();
    world.expect(&["s/web.1 e2 run failed@a", "s/web.2 e1 run running@b"]);
    let why = view::rollout(&world.cluster, &stack_name("s")).failed.remove(0).1;
    assert!(why.contains("sisoctl stack rollback s"), "{why}");
    world.ok(Command::RollbackStack { stack: stack_name("s"), to: None });
    world.settle();
    let running = world.show().iter().filter(|line| line.contains("run running")).count();
    assert_eq!(running, 2, "{:#?}", world.show());
}

#[test]
fn what_was_given_up_stays_on_its_node_to_be_looked_into_but_not_for_ever() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    for image in ["crash:2", "fail:3", "crash:4"] {
        world.apply(&web(image, 100));
        world.settle();
    }
    let set = crate::assignments(&world.cluster, world.node("a"));
    let held: Vec<_> =
        set.tasks.iter().map(|task| (task.spec.image.as_str(), task.desired)).collect();
    let (rest, run) = (model::Desired::Rest, model::Desired::Run);
    assert_eq!(held, [("web:1", run), ("fail:3", rest), ("crash:4", rest)]);
    let set = crate::assignments_without_remains(&world.cluster, world.node("a"));
    let held: Vec<_> = set.tasks.iter().map(|task| task.spec.image.as_str()).collect();
    assert_eq!((held, set.generation), (vec!["web:1"], world.cluster.generation(world.node("a"))));
    let reserved: u64 =
        world.cluster.tasks().values().filter(|t| t.holds_resources()).count() as u64;
    assert_eq!(reserved, 1, "what ended holds no memory");
    world.ok(Command::RemoveStack { stack: stack_name("s"), volumes: false });
    world.settle();
    assert!(crate::assignments(&world.cluster, world.node("a")).tasks.is_empty());
}

#[test]
fn what_serves_does_not_make_way_for_what_cannot_run() {
    for (bad, has_port) in [("none:2", false), ("none:2", true), ("refused:2", false)] {
        let mut world = World::new(&[("a", 1_000)]);
        let shape = |spec: &mut model::ServiceSpec| {
            if has_port { publish(spec, 80) } else { mount(spec, "data") }
        };
        let db = |image: &str| stack("s", &[("db", service(image, 100).with(shape))]);
        world.apply(&db("db:1"));
        world.settle();
        world.apply(&db(bad));
        world.seconds(30);
        assert!(world.show().contains(&"s/db.1 e1 run running@a".to_owned()), "{:?}", world.show());
        // What comes next is not held up.
        world.apply(&db("db:3"));
        world.settle();
        let running = world.show().iter().any(|line| line.ends_with("e3 run running@a"));
        assert!(running, "{:?}", world.show());
    }
}

#[test]
fn going_back_leads_to_the_last_revision_that_was_ready() {
    let mut world = World::new(&[("a", 1_000)]);
    let mut try_image = |image: &str| {
        world.apply(&web(image, 100));
        world.settle();
        view::rollout(&world.cluster, &stack_name("s")).failed.pop().map_or(String::new(), |f| f.1)
    };
    assert!(!try_image("fail:1").contains("rollback"), "there is nothing to go back to");
    assert_eq!(try_image("web:2"), "");
    try_image("fail:3");
    let why = try_image("crash:4");
    assert!(why.contains("`sisoctl stack rollback s` brings revision 2 back"), "{why}");
    let problems = view::status(&world.cluster, &view::Soft::none(world.now)).problems;
    let fix = "`sisoctl stack rollback s`: back to revision 2, the last that was ready";
    assert!(problems.iter().any(|problem| problem.fix.contains(fix)), "{problems:#?}");
    let rows = view::history(&world.cluster, &stack_name("s")).unwrap();
    let ready: Vec<_> = rows.iter().map(|row| (row.revision, row.ready)).collect();
    assert_eq!(ready, [(4, false), (3, false), (2, true), (1, false)]);
    world.ok(Command::RollbackStack { stack: stack_name("s"), to: None });
    world.settle();
    let spec = world.cluster.stack(&stack_name("s")).unwrap().spec().unwrap().clone();
    assert_eq!(spec.services[&service_name("web")].image, "web:2");
    let again = Command::RollbackStack { stack: stack_name("s"), to: None };
    let unready = Some(Revision(4));
    let refused = Err(Rejection::NothingToRollBack { stack: stack_name("s"), unready });
    assert_eq!(world.run(again).result, refused, "never from good to bad");
}

#[test]
fn what_was_never_ready_is_gone_back_to_only_when_it_is_named() {
    let mut world = World::new(&[("a", 1_000)]);
    world.ok(Command::RaiseForm { form: 6 });
    let back = |to| Command::RollbackStack { stack: stack_name("s"), to };
    let refused = |world: &mut World| world.refused(back(None)).to_string();
    let apply = |world: &mut World, image: &str| {
        let services = [("web", service(image, 100)), ("bad", service("fail:1", 100))];
        world.apply(&stack("s", &services));
        world.settle();
    };
    apply(&mut world, "web:1");
    assert_eq!(refused(&mut world), "stack `s` has no earlier revision that says something else");
    apply(&mut world, "web:2");
    apply(&mut world, "fail:3");
    let problems = view::status(&world.cluster, &view::Soft::none(world.now)).problems;
    let given_up = problems.iter().find(|problem| problem.what.ends_with("was given up"));
    assert_eq!(given_up.map(|problem| problem.fix.as_str()), Some("apply a corrected file"));
    let why = refused(&mut world);
    assert!(why.contains("revision 2 never was"), "{why}");
    assert!(why.contains("`sisoctl stack rollback s --to 2`"), "{why}");
    assert_eq!(world.ok(back(Some(Revision(2)))), Outcome::Stack(Revision(4)));
}

#[test]
fn without_room_for_both_the_old_one_stops_first_and_says_so() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 800));
    world.settle();
    let preview = view::plan_view(&world.cluster, &web("web:2", 800), world.now).unwrap();
    assert_eq!(preview.unplaced, 0);
    assert!(preview.warnings[0].contains("no room for both"), "{:?}", preview.warnings);
    world.apply(&web("web:2", 800));
    world.settle();
    world.expect(&["s/web.1 e2 run running@a"]);
    assert_eq!(world.warned("stop-first").len(), 1);
}

#[test]
fn what_would_not_fit_even_then_disturbs_nothing() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 800));
    world.settle();
    world.apply(&web("web:2", 1_200));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 prepare pending"]);
    let rollout = view::rollout(&world.cluster, &stack_name("s"));
    assert!(rollout.settled);
    assert!(rollout.failed[0].1.contains("needs 1.2 GiB, 1000.0 MiB free"), "{rollout:?}");
    // Taking it back drops the attempt and never touched what ran.
    world.ok(Command::RollbackStack { stack: stack_name("s"), to: None });
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);
}

#[test]
fn two_that_make_room_at_once_do_not_count_on_the_same_memory() {
    let mut world = World::new(&[("a", 1_000)]);
    let with = |image: &str, mib| {
        let db = |volume: &'static str| service(image, mib).with(|s| mount(s, volume));
        stack("s", &[("one", db("one")), ("two", db("two"))])
    };
    world.apply(&with("db:1", 400));
    world.settle();
    // 200 are free: each alone would fit in 400 + 200, both together would not.
    world.apply(&with("db:2", 600));
    world.settle();
    let running = world.show().iter().filter(|line| line.contains("run running")).count();
    assert_eq!(running, 2, "{:#?}", world.show());
}

#[test]
fn memory_kept_for_a_successor_is_not_given_away() {
    let mut world = World::new(&[("a", 1_000)]);
    let with =
        |image: &str, mib| stack("s", &[("db", service(image, mib).with(|s| mount(s, "data")))]);
    world.apply(&with("db:1", 400));
    world.settle();
    world.apply(&with("db:2", 900));
    world.lead();
    world.expect(&["s/db.1 e1 stop running@a", "s/db.1 e2 prepare pending"]);
    world.apply(&stack("greedy", &[("web", service("web:1", 550))]));
    world.settle();
    world.expect(&["greedy/web.1 e1 prepare pending", "s/db.1 e2 run running@a"]);
}

#[test]
fn a_service_starts_when_what_it_depends_on_is_healthy() {
    let mut world = World::new(&[("a", 1_000)]);
    let api = service("api:1", 100).with(|s| depend(s, "db", Condition::Healthy));
    let db = service("slow:1", 100).with(check_health);
    world.apply(&stack("s", &[("api", api.clone()), ("db", db)]));
    world.settle();
    world.expect(&["s/api.1 e1 prepare starting@a", "s/db.1 e1 run starting@a"]);
    let rows = view::tasks(&world.cluster, &view::Soft::none(world.now), None);
    assert_eq!(rows[0].waiting_for.as_deref(), Some("waits for db to be healthy"));
    world.apply(&stack("s", &[("api", api), ("db", service("db:1", 100).with(check_health))]));
    world.settle();
    world.expect(&["s/api.1 e1 run running@a", "s/db.1 e2 run running@a"]);
}

#[test]
fn a_job_completes_before_what_waits_for_it_and_is_not_run_again() {
    let mut world = World::new(&[("a", 1_000)]);
    let app = service("app:1", 100).with(|s| depend(s, "migrate", Condition::Completed));
    let spec = stack("s", &[("app", app), ("migrate", service("job:1", 100))]);
    world.apply(&spec);
    world.settle();
    world.expect(&["s/app.1 e1 run running@a", "s/migrate.1 e1 run stopped@a"]);
    assert!(view::rollout(&world.cluster, &stack_name("s")).failed.is_empty());
    world.ok(Command::Restart {
        stack: stack_name("s"),
        service: Some(service_name("migrate")),
        slot: None,
    });
    world.settle();
    world.expect(&["s/app.1 e1 run running@a", "s/migrate.1 e2 run stopped@a"]);
}

#[test]
fn a_dependency_that_failed_is_what_its_dependents_report() {
    let mut world = World::new(&[("a", 1_000)]);
    let app = service("app:1", 100).with(|s| depend(s, "migrate", Condition::Completed));
    let migrate = service("fail:1", 100).with(|s| s.restart = RestartPolicy::Never);
    world.apply(&stack("s", &[("app", app), ("migrate", migrate)]));
    world.settle();
    let rollout = view::rollout(&world.cluster, &stack_name("s"));
    assert!(rollout.settled);
    let why = &rollout.failed[0].1;
    assert_eq!(why, "replica 1 waits for migrate, which failed: exited with code 1");
}

#[test]
fn a_replaced_dependency_restarts_only_those_that_ask_for_it() {
    let mut world = World::new(&[("a", 1_000)]);
    let with = |image: &str| {
        let bound = service("app:1", 100).with(|s| {
            depend(s, "db", Condition::Started);
            s.depends_on.get_mut("db").unwrap().restart = true;
        });
        let free = service("app:1", 100).with(|s| depend(s, "db", Condition::Started));
        stack("s", &[("bound", bound), ("db", service(image, 100)), ("free", free)])
    };
    world.apply(&with("db:1"));
    world.settle();
    world.apply(&with("db:2"));
    world.settle();
    world.expect(&[
        "s/bound.1 e2 run running@a",
        "s/db.1 e2 run running@a",
        "s/free.1 e1 run running@a",
    ]);
}

#[test]
fn a_replica_too_many_is_waited_for_also_when_it_never_found_a_place() {
    let mut world = World::new(&[("a", 1_000)]);
    let web = service("web:1", 100).with(|s| publish(s, 80)).with(|s| s.replicas = 2);
    world.apply(&stack("s", &[("web", web)]));
    world.settle();
    let (stack, service) = (stack_name("s"), service_name("web"));
    world.ok(Command::Scale { stack: stack.clone(), service, replicas: 1 });
    assert!(!view::rollout(&world.cluster, &stack).settled, "its end would count it");
    world.settle();
    assert!(view::rollout(&world.cluster, &stack).settled);
    world.expect(&["s/web.1 e1 run running@a"]);
}

#[test]
fn scaling_adds_and_takes_away_the_highest_replicas() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    let scale = |replicas| Command::Scale {
        stack: stack_name("s"),
        service: service_name("web"),
        replicas,
    };
    assert_eq!(world.ok(scale(3)), Outcome::Stack(Revision(2)));
    world.settle();
    world.expect(&[
        "s/web.1 e1 run running@a",
        "s/web.2 e1 run running@a",
        "s/web.3 e1 run running@a",
    ]);
    assert_eq!(world.ok(scale(3)), Outcome::Unchanged);
    world.ok(scale(1));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);
    world.ok(scale(2));
    world.settle();
    // A replica that was there before goes on counting.
    world.expect(&["s/web.1 e1 run running@a", "s/web.2 e2 run running@a"]);
}

#[test]
fn a_removed_stack_is_gone_when_its_tasks_are_and_its_data_stays() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let spec = stack("s", &[("db", service("db:1", 100).with(|s| mount(s, "data")))]);
    world.apply(&spec);
    world.settle();
    let remove = |volumes| Command::RemoveStack { stack: stack_name("s"), volumes };
    world.ok(remove(false));
    world.lead();
    world.expect(&["s/db.1 e1 stop running@a"]);
    let again = Command::ApplyStack { spec: spec.clone(), basis: None };
    assert_eq!(world.refused(again), Rejection::Removing(stack_name("s")));
    world.settle();
    assert!(world.cluster.stacks().is_empty() && world.cluster.tasks().is_empty());
    assert!(world.cluster.volumes().contains_key("s_data"));
    // It finds its data where that is, though the other node is as good.
    world.ok(Command::SetSchedulable { node: world.node("b"), schedulable: false });
    world.apply(&stack("t", &[("big", service("big:1", 50))]));
    world.settle();
    world.ok(Command::SetSchedulable { node: world.node("b"), schedulable: true });
    world.apply(&spec);
    world.settle();
    assert!(world.show().contains(&"s/db.1 e1 run running@a".to_owned()));
    let set = crate::assignments(&world.cluster, world.node("a"));
    assert!(set.tasks.iter().flat_map(|held| held.volumes.values()).all(|held| held.must_exist));
    world.ok(remove(true));
    world.settle();
    assert!(world.cluster.volumes().is_empty());
    assert_eq!(world.refused(remove(true)), Rejection::UnknownStack(stack_name("s")));
}

#[test]
fn a_removed_stack_is_remembered_until_a_node_that_was_down_says_that_nothing_runs() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    world.dark.insert(world.node("a"));
    world.settle();
    world.ok(Command::RemoveStack { stack: stack_name("s"), volumes: false });
    world.settle();
    assert!(!world.cluster.stacks().is_empty() && !world.cluster.tasks().is_empty());
    let again = Command::ApplyStack { spec: web("web:1", 100), basis: None };
    assert_eq!(world.refused(again), Rejection::Removing(stack_name("s")));
    world.dark.clear();
    world.settle();
    assert!(world.cluster.stacks().is_empty() && world.cluster.tasks().is_empty());
}

#[test]
fn a_service_taken_out_of_the_stack_stops() {
    let mut world = World::new(&[("a", 1_000)]);
    let two = stack("s", &[("old", service("old:1", 100)), ("web", service("web:1", 100))]);
    world.apply(&two);
    world.settle();
    world.apply(&web("web:1", 100));
    world.settle();
    world.expect(&["s/web.1 e1 run running@a"]);
    assert_eq!(world.cluster.stack(&stack_name("s")).unwrap().services().len(), 1);
}

#[test]
fn a_change_during_a_change_gives_up_the_first_attempt_and_keeps_what_serves() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&web("web:1", 100));
    world.settle();
    world.apply(&web("slow:2", 100));
    world.seconds(5);
    world.expect(&["s/web.1 e1 run running@a", "s/web.1 e2 run starting@a"]);
    world.apply(&web("web:3", 100));
    world.settle();
    world.expect(&["s/web.1 e3 run running@a"]);
}
