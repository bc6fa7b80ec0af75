//! Which node a task goes to, why not another, and what would help.

mod cells;
mod generic;
mod joint;
mod standing;

use model::{Bytes, MilliCpu, ServiceSpec};

use crate::{
    placement::{Ask, Effort, Fleet, fixes, place},
    testing::{With, World, mount, publish, service, stack, stack_name},
    view,
};

/// Applies `services` of one replica each to `nodes`; answers `service@node` of the placed ones and
/// `service` of the others, by name.
fn placed(world: &mut World, services: &[(&str, ServiceSpec)]) -> Vec<String> {
    world.apply(&stack("s", services));
    world.lead();
    let name = stack_name("s");
    let tasks = world.cluster.tasks_of(&name);
    let mut lines: Vec<String> = tasks
        .map(|task| match task.node {
            Some(node) => format!("{}@{}", task.service, world.cluster.node_name(node)),
            None => task.service.to_string(),
        })
        .collect();
    lines.sort();
    lines
}

#[track_caller]
fn check(nodes: &[(&str, u64)], services: &[(&str, ServiceSpec)], expected: &[&str]) {
    assert_eq!(placed(&mut World::new(nodes), services), expected);
}

#[test]
fn the_fullest_node_that_fits_is_taken() {
    check(&[("a", 4_000), ("b", 600)], &[("x", service("x", 500))], &["x@b"]);
    check(&[("a", 600), ("b", 400)], &[("x", service("x", 500))], &["x@a"]);
    check(&[("a", 500), ("b", 500)], &[("x", service("x", 500))], &["x@a"]);
}

#[test]
fn large_tasks_go_first_so_that_all_fit() {
    let services = [
        ("a1", service("x", 300)),
        ("b2", service("x", 300)),
        ("c3", service("x", 700)),
        ("d4", service("x", 700)),
    ];
    check(&[("a", 1_000), ("b", 1_000)], &services, &["a1@a", "b2@b", "c3@a", "d4@b"]);
}

#[test]
fn what_greed_leaves_out_is_found_by_sharing_out_anew() {
    // Largest first leaves one of 12 free twice: 6+5 and 4+3+2+2. It is 6+4+2 and 5+3+2+2.
    let sizes = [6, 5, 4, 3, 2, 2, 2];
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let services: Vec<_> =
        names.iter().zip(sizes).map(|(name, size)| (*name, service("x", size * 100))).collect();
    let lines = placed(&mut World::new(&[("m", 1_200), ("n", 1_200)]), &services);
    assert!(lines.iter().all(|line| line.contains('@')), "{lines:?}");
}

#[test]
fn the_more_important_gets_the_room() {
    let services =
        [("big", service("x", 900)), ("dear", service("x", 500).with(|s| s.priority = 80))];
    check(&[("a", 1_000)], &services, &["big", "dear@a"]);
}

#[test]
fn replicas_avoid_each_other_and_services_do_not() {
    let twice = service("x", 100).with(|s| s.replicas = 2);
    check(&[("a", 1_000), ("b", 1_000)], &[("x", twice)], &["x@a", "x@b"]);
    let services = [("x", service("x", 100)), ("y", service("x", 100))];
    check(&[("a", 1_000), ("b", 1_000)], &services, &["x@a", "y@a"]);
}

#[test]
fn at_most_so_many_replicas_share_a_node() {
    let spec = service("x", 100)
        .with(|s| s.replicas = 3)
        .with(|s| s.placement.max_replicas_per_node = Some(1));
    check(&[("a", 1_000), ("b", 1_000)], &[("x", spec)], &["x", "x@a", "x@b"]);
}

#[test]
fn replicas_spread_over_a_label_before_over_nodes() {
    let mut world = World::new(&[]);
    world.join("a", 500, &[("zone", "attic")]);
    world.join("b", 500, &[("zone", "attic")]);
    world.join("c", 4_000, &[("zone", "cellar")]);
    let spec = service("x", 100)
        .with(|s| s.replicas = 4)
        .with(|s| s.placement.spread = vec!["zone".into()]);
    let lines = placed(&mut world, &[("x", spec)]);
    assert_eq!(lines, ["x@a", "x@b", "x@c", "x@c"]);
}

#[test]
fn labels_that_others_need_are_kept_free() {
    let mut world = World::new(&[]);
    world.join("a", 1_000, &[("role", "database")]);
    world.join("b", 2_000, &[]);
    let bound = service("x", 600)
        .with(|s| s.placement.constraints = vec!["node.labels.role == database".parse().unwrap()]);
    world.apply(&stack("db", &[("db", bound)]));
    world.lead();
    let lines = placed(&mut world, &[("x", service("x", 300))]);
    assert_eq!(lines, ["x@b"], "though a is fuller");
}

#[test]
fn services_that_share_a_new_volume_go_where_all_fit() {
    let with = |mib| service("x", mib).with(|s| mount(s, "shared"));
    check(
        &[("a", 700), ("b", 1_000)],
        &[("one", with(500)), ("two", with(400))],
        &["one@b", "two@b"],
    );
}

#[test]
fn one_host_port_serves_one_task_per_node() {
    let with = |port| service("x", 100).with(|s| publish(s, port));
    check(
        &[("a", 1_000)],
        &[("one", with(80)), ("two", with(80)), ("zwei", with(81))],
        &["one@a", "two", "zwei@a"],
    );
    check(
        &[("a", 1_000), ("b", 900)],
        &[("one", with(80)), ("two", with(80))],
        &["one@b", "two@a"],
    );
}

#[test]
fn cpu_counts_only_when_it_is_asked_for() {
    let cpu = |cores| service("x", 100).with(|s| s.resources.reserved.cpu = MilliCpu::cores(cores));
    check(
        &[("a", 1_000)],
        &[("one", cpu(6)), ("three", cpu(0)), ("two", cpu(4))],
        &["one@a", "three@a", "two"],
    );
}

/// The verdicts and fixes of the pending task of service `x`.
fn why(world: &World) -> (Vec<String>, Vec<String>) {
    why_not(world, 1)
}

/// The verdicts and fixes of that replica of `x`.
fn why_not(world: &World, slot: u32) -> (Vec<String>, Vec<String>) {
    let (stack, service) = (stack_name("s"), model::ServiceName::new("x").unwrap());
    let explained =
        view::explain(&world.cluster, &stack, &service, Some(slot), &view::Soft::none(world.now))
            .unwrap()
            .remove(0);
    let verdicts = explained.placement.verdicts.iter();
    (
        verdicts.map(|held| format!("{}: {}", held.node, held.reason)).collect(),
        explained.placement.fixes,
    )
}

#[test]
fn every_node_has_a_verdict_in_amounts_and_fixes_come_cheapest_first() {
    let mut world = World::new(&[("mini-1", 1_500), ("mini-2", 2_048)]);
    world.join("mini-3", 4_096, &[("role", "web")]);
    world.ok(crate::Command::SetSchedulable { node: world.node("mini-3"), schedulable: false });
    world.apply(&stack("t", &[("cache", service("c", 717)), ("queue", service("q", 200))]));
    world.settle();
    placed(&mut world, &[("x", service("x", 2_048))]);
    let (verdicts, fixes) = why(&world);
    assert_eq!(
        verdicts,
        [
            "mini-2: is here, leaves 0 B free",
            "mini-1: needs 2.0 GiB, 583.0 MiB free, short 1.4 GiB",
            "mini-3: is cordoned",
        ]
    );
    assert_eq!(fixes, [""; 0]);
    let mut world = World::new(&[("mini-1", 1_500), ("mini-2", 2_048)]);
    world.join("mini-3", 4_096, &[("role", "web")]);
    world.ok(crate::Command::SetSchedulable { node: world.node("mini-3"), schedulable: false });
    world.apply(&stack("t", &[("cache", service("c", 717)), ("queue", service("q", 1_200))]));
    world.settle();
    placed(&mut world, &[("x", service("x", 2_048))]);
    let (verdicts, fixes) = why(&world);
    assert_eq!(
        verdicts,
        [
            "mini-2: needs 2.0 GiB, 1.3 GiB free, short 717.0 MiB",
            "mini-1: needs 2.0 GiB, 300.0 MiB free, short 1.7 GiB",
            "mini-3: is cordoned",
        ]
    );
    assert_eq!(
        fixes,
        [
            "let mini-3 take new tasks: sisoctl node uncordon mini-3",
            "lower the memory reservation of x from 2.0 GiB to 1.2 GiB: mini-2 has that",
            "stop or scale down t/cache.1 on mini-2 (frees 717.0 MiB)",
            "add a node with at least 2.0 GiB free",
        ]
    );
}

#[test]
fn a_task_bound_to_its_home_is_helped_by_what_it_lacks_there() {
    let db = |mib| service("x", mib).with(|s| mount(s, "data"));
    let last_fix = |changed: ServiceSpec| {
        let mut world = World::new(&[("a", 1_000)]);
        placed(&mut world, &[("x", db(100))]);
        world.settle();
        placed(&mut world, &[("x", changed)]);
        why(&world).1.pop().unwrap_or_default()
    };
    let short = last_fix(db(2_000));
    assert!(short.starts_with("give a more memory: volume `data`"), "{short}");
    let away = last_fix(db(100).with(|s| {
        s.placement.constraints = vec!["node.labels.role == db".parse().unwrap()];
    }));
    assert!(away.starts_with("only a will do, for volume `data` binds x to it, but"), "{away}");
}

#[test]
fn a_task_bound_to_a_cordoned_home_is_told_to_open_it() {
    let db = |mib| service("x", mib).with(|s| mount(s, "data"));
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.seat("s", db(100), "a");
    world.ok(crate::Command::SetSchedulable { node: world.node("a"), schedulable: false });
    let fixes = |world: &mut World, mib| {
        placed(world, &[("x", db(mib))]);
        why(world).1
    };
    assert_eq!(fixes(&mut world, 200), ["let a take new tasks: sisoctl node uncordon a"]);
    let open = "; let it take new tasks as well: sisoctl node uncordon a";
    let short = fixes(&mut world, 2_000).pop().unwrap();
    assert!(short.starts_with("give a 1.1 GiB more memory: ") && short.ends_with(open), "{short}");
}

#[test]
fn a_fix_names_what_stands_in_the_way() {
    let constrained = |text: &str| {
        let constraint = text.parse().unwrap();
        service("x", 100).with(|s| s.placement.constraints = vec![constraint])
    };
    for (spec, fix) in [
        (
            constrained("node.labels.role == db"),
            "give a, which has room, the label: sisoctl node label a role=db",
        ),
        (
            constrained("node.hostname == z"),
            "remove the constraint `node.hostname == z` from x: a has room",
        ),
        (
            service("x", 100).with(|s| publish(s, 80)),
            "publish another host port than 80: on a it is taken by t/web.1",
        ),
        (
            service("x", 2_000),
            "lower the memory reservation of x from 2.0 GiB to 900.0 MiB: a has that",
        ),
    ] {
        let mut world = World::new(&[("a", 1_000)]);
        world.apply(&stack("t", &[("web", service("w", 100).with(|s| publish(s, 80)))]));
        world.settle();
        placed(&mut world, &[("x", spec)]);
        assert_eq!(why(&world).1[0], fix);
    }
    let mut world = World::new(&[("a", 1_000)]);
    placed(
        &mut world,
        &[(
            "x",
            constrained("node.labels.role == db")
                .with(|s| s.resources.reserved.memory = Bytes::gib(2)),
        )],
    );
    assert_eq!(
        why(&world).1.last().unwrap(),
        "add a node with at least 2.0 GiB free that meets `node.labels.role == db`"
    );
}

#[test]
fn replicas_that_want_the_one_host_port_of_a_machine_are_told_to_leave_it_out() {
    let mut world = World::new(&[("a", 1_000)]);
    let web = service("w", 100).with(|s| {
        publish(s, 80);
        s.replicas = 2;
    });
    world.apply(&stack("s", &[("x", web)]));
    world.settle();
    let (_, fixes) = why_not(&world, 2);
    assert_eq!(fixes[0], "leave out the host port 80 of x: a has it once, for s/x.1");
}

#[test]
fn what_an_agent_does_not_permit_is_not_placed_there_and_the_flag_is_named() {
    let bound = service("x", 100).with(|s| {
        let source = model::spec::MountSource::Bind { path: "/srv/x".into(), create: false };
        s.mounts.push(model::spec::Mount { source, target: "/x".into(), read_only: true });
        s.privileges.host_network = true;
    });
    let mut world = World::new(&[("a", 1_000)]);
    let node = world.node("a");
    let permit = |world: &mut World, capabilities: &[&str], binds: &[&str]| {
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (capabilities, binds) = (set(capabilities), set(binds));
        let allows = Some(model::Allows { capabilities, binds, ..model::Allows::default() });
        let inventory = model::Inventory { allows, ..crate::testing::inventory(1_000) };
        world.ok(crate::Command::UpdateNode { node, inventory, address: "a".into() });
    };
    permit(&mut world, &[], &["/data"]);
    assert_eq!(placed(&mut world, &[("x", bound.clone())]), ["x"]);
    let (verdicts, fixes) = why(&world);
    assert_eq!(
        verdicts,
        ["a: does not allow network_mode: host, bind /srv/x: start its agent with --allow \
          host-namespaces --allow-bind /srv/x as well"]
    );
    assert_eq!(
        fixes,
        [
            "start the agent of a with --allow host-namespaces --allow-bind /srv/x as well: it has room",
            "add a node with at least 100.0 MiB free whose agent has --allow host-namespaces --allow-bind \
             /srv/x",
        ]
    );
    permit(&mut world, &["host-namespaces"], &["/data", "/srv"]);
    world.lead();
    assert_eq!(placed(&mut world, &[("x", bound)]), ["x@a"]);
}

#[test]
fn what_needs_a_permission_nobody_speaks_of_is_placed_with_a_warning() {
    let bound = service("x", 100).with(|s| s.privileges.privileged = true);
    let world = World::new(&[("a", 1_000)]);
    let plan = view::plan_view(&world.cluster, &stack("s", &[("x", bound)]), world.now).unwrap();
    assert_eq!(plan.unplaced, 0);
    assert_eq!(
        plan.warnings,
        ["x runs only where the agent was started with --allow privileged: it is not known of a"]
    );
}

#[test]
fn what_an_image_lacks_is_told_and_what_helps_was_tried() {
    let mut world = World::new(&[("a", 1_000)]);
    placed(&mut world, &[("x", service("intel:1", 100))]);
    world.settle();
    let (verdicts, fixes) = why(&world);
    assert_eq!(verdicts, ["a: image intel:1 has no variant for linux/arm64"]);
    let other = "take another image for x that has a variant for linux/arm64, or apply again once intel:1 has \
                 one";
    assert_eq!(
        fixes,
        [
            &format!("{other}: a has room"),
            "add a node with at least 100.0 MiB free that is not linux/arm64",
        ]
    );
    let (stack_name, x) = (stack_name("s"), "x".parse().unwrap());
    let soft = view::Soft::none(world.now);
    let on = (&stack_name, &x);
    let told = view::explain_on(&world.cluster, on, None, world.node("a"), &soft).unwrap();
    assert_eq!(told[0].placement.fixes, [other]);
    assert_eq!(told[0].placement.verdicts[0].resource.as_deref(), Some("image"));
    // One that asks for the same and lacks nothing is of another class, in the same round.
    let services = [("x", service("intel:1", 150)), ("y", service("web:1", 150))];
    world.join("z", 4_000, &[]);
    world.arch("z", "amd64");
    placed(&mut world, &services);
    world.settle();
    let at = |name: &str| {
        let tasks = world.cluster.tasks_of(&stack_name);
        let mut tasks = tasks.filter(|task| task.service.as_str() == name);
        tasks.next().and_then(|task| task.node)
    };
    assert_eq!((at("x"), at("y")), (Some(world.node("z")), Some(world.node("a"))));
}

/// The fixes of service `x`, one replica of which has no place.
fn fixes_of(world: &mut World, x: ServiceSpec) -> Vec<String> {
    placed(world, &[("x", x)]);
    why(world).1
}

#[test]
fn a_fix_that_would_not_do_is_left_out() {
    // Memory alone would leave CPU short.
    let both = service("x", 2_000).with(|s| s.resources.reserved.cpu = MilliCpu::cores(9));
    assert_eq!(
        fixes_of(&mut World::new(&[("a", 1_000)]), both),
        [
            "lower the memory reservation of x from 2.0 GiB to 1000.0 MiB and the CPU reservation of x \
             from 9 to 8: a has that",
            "add a node with at least 2.0 GiB and 9 CPUs free",
        ]
    );
    // Another machine helps only with the label, though a machine has it.
    let labelled = service("x", 2_000)
        .with(|s| s.placement.constraints = vec!["node.labels.role == db".parse().unwrap()]);
    let mut world = World::new(&[]);
    world.join("a", 1_000, &[("role", "db")]);
    assert_eq!(
        fixes_of(&mut world, labelled).last().unwrap(),
        "add a node with at least 2.0 GiB free that meets `node.labels.role == db`"
    );
    // No other machine will ever do.
    let named = service("x", 2_000)
        .with(|s| s.placement.constraints = vec!["node.hostname == a".parse().unwrap()]);
    assert_eq!(
        fixes_of(&mut World::new(&[("a", 1_000), ("b", 500)]), named),
        [
            "lower the memory reservation of x from 2.0 GiB to 1000.0 MiB: a has that",
            "give a 1000.0 MiB more memory: `node.hostname == a` binds x to it",
        ]
    );
    // What holds the port goes with what holds the memory.
    let mut world = World::new(&[("a", 1_000)]);
    let web = service("w", 300).with(|s| publish(s, 80));
    world.apply(&stack("t", &[("web", web), ("big", service("b", 600))]));
    world.settle();
    let x = service("x", 800).with(|s| publish(s, 80));
    assert_eq!(
        fixes_of(&mut world, x)[0],
        "stop or scale down t/web.1 and t/big.1 on a (frees 900.0 MiB)"
    );
}

#[test]
fn a_lower_reservation_is_proposed_that_all_replicas_without_a_place_fit_with() {
    let many = |count| service("x", 5_000).with(move |s| s.replicas = count);
    for (replicas, fix) in [
        (1, "lower the memory reservation of x from 4.9 GiB to 1000.0 MiB: a has that"),
        (
            2,
            "lower the memory reservation of x from 4.9 GiB to 500.0 MiB: all 2 without a place fit then",
        ),
        (
            4,
            "lower the memory reservation of x from 4.9 GiB to 300.0 MiB: all 4 without a place fit then",
        ),
    ] {
        let mut world = World::new(&[("a", 1_000), ("b", 300)]);
        assert_eq!(fixes_of(&mut world, many(replicas))[0], fix);
    }
    // Where so many cannot fit at all, nothing is said of it.
    let mut world = World::new(&[("a", 40)]);
    assert_eq!(fixes_of(&mut world, many(3)), ["add a node with at least 4.9 GiB free"]);
}

#[test]
fn there_is_no_room_to_make_on_a_home_that_is_down() {
    let db = service("x", 100).with(|s| mount(s, "data"));
    let mut world = World::new(&[("a", 1_000)]);
    placed(&mut world, &[("db", db.clone())]);
    world.settle();
    world.join("b", 1_000, &[]);
    world.dark.insert(world.node("a"));
    world.settle();
    placed(&mut world, &[("db", db.clone()), ("x", db)]);
    let fixes = why(&world).1;
    assert_eq!(fixes[0], "bring a back: it is down and would have room");
    assert!(fixes.iter().all(|fix| !fix.contains("make room")), "{fixes:?}");
}

/// Whether `sizes` go into `bins` at all, by trying everything.
fn possible(bins: &mut [u64], sizes: &[u64]) -> bool {
    let Some((first, rest)) = sizes.split_first() else { return true };
    (0..bins.len()).any(|bin| {
        if bins[bin] < *first {
            return false;
        }
        bins[bin] -= first;
        let found = possible(bins, rest);
        bins[bin] += first;
        found
    })
}

/// Nothing else waits.
const fn alone<'a>() -> crate::placement::Queue<'static, 'a> {
    crate::placement::Queue { all: &[], former: None, moves: None, applied: &|_| true }
}

/// Places `sizes` (in 100 MiB) on `bins`; answers how many found a node.
fn count_placed(bins: &[u64], sizes: &[u64]) -> usize {
    let names: Vec<String> = (0..bins.len()).map(|index| format!("n{index}")).collect();
    let nodes: Vec<(&str, u64)> =
        names.iter().zip(bins).map(|(name, size)| (name.as_str(), size * 100)).collect();
    let world = World::new(&nodes);
    let specs: Vec<_> = sizes.iter().map(|size| service("x", size * 100)).collect();
    let (stack, volumes) = (stack_name("s"), std::collections::BTreeMap::new());
    let names: Vec<_> = (0..sizes.len())
        .map(|index| model::ServiceName::new(format!("x{index}")).unwrap())
        .collect();
    let asks: Vec<Ask<'_>> = specs
        .iter()
        .zip(&names)
        .zip(1..)
        .map(|((spec, service), id)| Ask {
            task: model::TaskId::new(id),
            stack: &stack,
            service,
            slot: 1,
            spec,
            volumes: &volumes,
            replaces: false,
        })
        .collect();
    let mut fleet = Fleet::of(&world.cluster);
    let found = place(&mut fleet, &asks, &mut Effort::new(1_000_000, 1_000_000));
    for room in fleet.rooms().values() {
        assert!(room.reserved.memory <= room.node.inventory.allocatable().memory);
    }
    for left in found.iter().filter(|held| held.node.is_none()) {
        let ask = asks.iter().find(|ask| ask.task == left.task).unwrap();
        assert!(
            !fixes(&fleet, ask, alone(), &mut Effort::new(1_000, 1_000_000)).is_empty(),
            "what does not fit has a fix"
        );
    }
    found.iter().filter(|held| held.node.is_some()).count()
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    })]

    #[test]
    fn what_fits_on_a_few_nodes_is_always_placed(
        bins in proptest::collection::vec(4_u64..16, 1..4),
        sizes in proptest::collection::vec(1_u64..8, 1..8),
    ) {
        let placed = count_placed(&bins, &sizes);
        if possible(&mut bins.clone(), &sizes) {
            proptest::prop_assert!(placed == sizes.len(), "{bins:?} {sizes:?}: {placed}");
        } else {
            proptest::prop_assert!(placed < sizes.len());
        }
    }
}
