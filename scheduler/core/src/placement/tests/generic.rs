//! Devices and whatever else a node has a number of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    Generic, GenericName, NodeId, Revision, ServiceSpec, Timestamp,
    spec::{DeviceCount, DeviceRequest},
    task::Decision,
};
use proptest::prelude::*;

use super::{placed, why};
use crate::{
    Change, Command, Outcome,
    cluster::invariants,
    orchestrate::orchestrate,
    placement::{Ask, Effort, Fleet, place, scales::Scales},
    testing::{With, World, amounts, mount, service, stack, stack_name},
    view,
};

/// A service that reserves so many of each kind.
fn with(mib: u64, generic: &[(&str, u64)]) -> ServiceSpec {
    service("x", mib).with(|s| s.resources.generic = amounts(generic))
}

fn request(spec: &mut ServiceSpec, count: DeviceCount) {
    let capabilities = vec!["gpu".to_owned(), "compute".to_owned()];
    let (driver, options) = (None, BTreeMap::new());
    spec.privileges.device_requests.push(DeviceRequest { driver, count, capabilities, options });
}

/// Two nodes of 1,000 MiB: `a` has one device, `b` two and a disk.
fn world() -> World {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.offer("a", &[("gpu", 1)]);
    world.offer("b", &[("disk", 200 << 30), ("gpu", 2)]);
    world
}

#[test]
fn no_more_is_reserved_than_a_node_has() {
    let one = || with(100, &[("gpu", 1)]);
    let services = [("w", one()), ("x", one()), ("y", one()), ("z", one())];
    assert_eq!(placed(&mut world(), &services), ["w@a", "x@b", "y@b", "z"]);
    let large = with(100, &[("disk", 150 << 30)]);
    let services = [("one", large.clone()), ("two", large)];
    assert_eq!(placed(&mut world(), &services), ["one@b", "two"]);
}

#[test]
fn what_is_short_is_told_in_amounts_and_what_helps_was_tried() {
    let mut world = world();
    world.apply(&stack(
        "r",
        &[("pair", with(100, &[("gpu", 2)])), ("one", with(900, &[("gpu", 1)]))],
    ));
    world.settle();
    assert_eq!(placed(&mut world, &[("x", with(100, &[("gpu", 2)]))]), ["x"]);
    let (verdicts, fixes) = why(&world);
    assert_eq!(verdicts, ["b: needs 2 gpu, 0 free", "a: needs 2 gpu, 0 free: it offers 1"],);
    assert_eq!(
        fixes,
        [
            "start the agent of a with --generic gpu=3, if it has them: it has room otherwise",
            "stop or scale down r/pair.1 on b (frees 100.0 MiB and 2 gpu)",
            "add a node with at least 100.0 MiB and 2 gpu free",
        ]
    );
    let told = &view::explain(
        &world.cluster,
        &stack_name("s"),
        &"x".parse().unwrap(),
        None,
        &view::Soft::none(world.now),
    )
    .unwrap()[0];
    let verdict = &told.placement.verdicts[0];
    assert_eq!(verdict.resource.as_deref(), Some("generic"));
    assert_eq!((verdict.needed, verdict.free, verdict.short), (Some(2), Some(0), Some(2)));
    assert_eq!(told.placement.generic, [("gpu".to_owned(), 2)].into());
}

#[test]
fn a_kind_no_node_has_is_told_and_so_is_the_volume_that_binds() {
    let mut world = world();
    assert_eq!(placed(&mut world, &[("x", with(100, &[("tpu", 1)]))]), ["x"]);
    assert_eq!(why(&world).0[0], "a: needs 1 tpu, 0 free: it offers none");
    let data = service("x", 100).with(|s| mount(s, "data"));
    assert_eq!(placed(&mut world, &[("x", data.clone())]), ["x@a"]);
    world.settle();
    let more = data.with(|s| s.resources.generic = amounts(&[("gpu", 2)]));
    world.apply(&stack("s", &[("x", more)]));
    world.seconds(3);
    let mut tasks = world.cluster.tasks().values();
    let waiting = tasks.rfind(|task| task.node.is_none()).unwrap();
    let (fleet, _) = view::fleet_for(&world.cluster, waiting);
    let fixes = crate::placement::fixes(
        &fleet,
        &Ask::of(waiting),
        super::alone(),
        &mut Effort::new(1_000, 1_000_000),
    );
    assert_eq!(fixes.last().unwrap(), "give a more gpu: volume `data` binds x to it");
}

#[test]
fn all_is_the_whole_node_and_at_least_one() {
    let all = || service("x", 100).with(|s| request(s, DeviceCount::All));
    let one = || with(100, &[("gpu", 1)]);
    // The one with few choices does not know of it; the second finds b whole.
    assert_eq!(
        placed(&mut world(), &[("x", all()), ("y", all()), ("z", one())]),
        ["x@a", "y@b", "z"]
    );
    let mut without = World::new(&[("c", 1_000)]);
    assert_eq!(placed(&mut without, &[("x", all())]), ["x"]);
    assert_eq!(why(&without).0, ["c: needs 1 gpu, 0 free: it offers none"]);
    // What is placed there when its node is given more has that too.
    let mut world = World::new(&[("a", 1_000)]);
    world.offer("a", &[("gpu", 1)]);
    assert_eq!(placed(&mut world, &[("x", all())]), ["x@a"]);
    world.offer("a", &[("gpu", 2)]);
    assert_eq!(placed(&mut world, &[("x", all()), ("y", one())]), ["x@a", "y"]);
}

#[test]
fn what_is_asked_for_in_both_ways_counts_once() {
    let both = |number| with(100, &[("gpu", 1)]).with(|s| request(s, DeviceCount::Number(number)));
    let on = |spec: &ServiceSpec| spec.generic_on(&Generic::NONE).to_string();
    assert_eq!(on(&both(1)), "1 gpu");
    assert_eq!(on(&both(2)), "2 gpu");
    let ids = both(1).with(|s| request(s, DeviceCount::Ids(vec!["0".into(), "1".into()])));
    assert_eq!(on(&ids), "3 gpu");
    let twice = service("x", 1).with(|s| request(s, DeviceCount::All));
    let twice = twice.with(|s| request(s, DeviceCount::All));
    assert_eq!(twice.generic_on(&amounts(&[("gpu", 4)])).to_string(), "4 gpu");
}

#[test]
fn the_only_device_is_handed_over_and_what_a_successor_needs_more_is_kept_for_it() {
    let mut world = World::new(&[("a", 1_000)]);
    world.offer("a", &[("gpu", 2)]);
    world.apply(&stack("s", &[("x", with(100, &[("gpu", 1)]))]));
    world.settle();
    // The new one has no room beside the old one, which stops for it.
    world.apply(&stack("s", &[("x", with(100, &[("gpu", 2)]).with(|s| s.image = "y".into()))]));
    world.lead();
    let other = with(100, &[("gpu", 1)]);
    world.apply(&stack("t", &[("greedy", other)]));
    world.lead();
    assert!(
        world.show().contains(&"t/greedy.1 e1 prepare pending".to_owned()),
        "{:?}",
        world.show()
    );
    world.settle();
    let shown = world.show();
    assert!(shown.contains(&"s/x.1 e2 run running@a".to_owned()), "{shown:?}");
    assert!(shown.contains(&"t/greedy.1 e1 prepare pending".to_owned()), "{shown:?}");
}

#[test]
fn the_log_refuses_what_a_leader_that_knows_less_would_overbook() {
    let mut world = world();
    let services = [("x", with(100, &[("gpu", 1)])), ("y", with(100, &[("gpu", 2)]))];
    assert_eq!(placed(&mut world, &services), ["x@a", "y@b"]);
    world.apply(&stack("t", &[("z", with(100, &[("gpu", 1)]))]));
    world.lead();
    let task = world.cluster.pending().next().unwrap().id;
    for node in ["a", "b"] {
        let (at, revision) = (Timestamp(0), Revision(0));
        let decision = Arc::new(Decision { at, revision, verdicts: vec![] });
        let place = Change::Place { task, node: world.node(node), decision };
        let basis = world.cluster.revision();
        let taken = world.ok(Command::Plan { basis, changes: vec![place] });
        let Outcome::Planned { refused } = taken else { panic!("{taken:?}") };
        assert!(refused[0].contains("needs 1 gpu, 0 free"), "{refused:?}");
    }
}

#[test]
fn a_node_that_offers_less_than_is_reserved_there_is_a_problem_for_people() {
    let mut world = world();
    let services = [("x", with(100, &[("gpu", 1)]))];
    assert_eq!(placed(&mut world, &services), ["x@a"]);
    let node = world.cluster.node(world.node("a")).unwrap().clone();
    let inventory = model::Inventory { generic: Generic::NONE, ..node.inventory };
    let entry = crate::Entry {
        at: world.now,
        request: None,
        command: Command::UpdateNode { node: node.id, inventory, address: node.address },
    };
    world.cluster.apply(&entry).result.unwrap();
    assert_eq!(invariants::check(&world.cluster), []);
    let status = view::status(&world.cluster, &view::Soft::none(world.now));
    let problem = status.problems.iter().find(|one| one.what == "node a is overbooked").unwrap();
    assert_eq!(
        problem.cause,
        "its tasks reserve 1 gpu, it offers 0 since its agent was started otherwise"
    );
    let row = view::nodes(&world.cluster, &view::Soft::none(world.now)).remove(0);
    let held = row.generic["gpu"];
    assert_eq!((held.capacity, held.reserved), (0, 1));
}

#[test]
fn amounts_that_every_node_offers_make_nothing_rare() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    world.offer("a", &[("disk", 100), ("gpu", 1)]);
    world.offer("b", &[("disk", 200)]);
    let services = [
        ("small", with(100, &[("disk", 10)])),
        ("other", with(100, &[("disk", 100)])),
        ("none", with(100, &[])),
        ("large", with(100, &[("disk", 101)])),
        ("device", with(100, &[("disk", 10), ("gpu", 1)])),
    ];
    world.apply(&stack("s", &services));
    let mut cluster = world.cluster.clone();
    let steps = orchestrate(&cluster, &world.beats, &BTreeSet::new(), world.now);
    cluster.take_changes(world.now, &steps.changes);
    let asks: Vec<Ask<'_>> = cluster.pending().map(Ask::of).collect();
    let fleet = Fleet::of(&cluster);
    let scales = Scales::of(&fleet, &asks);
    let nodes = |ask: &Ask<'_>| {
        let (_, class) = scales.class(&fleet, ask).unwrap();
        (ask.service.as_str().to_owned(), class.nodes.iter().collect::<Vec<_>>())
    };
    let found: BTreeMap<String, Vec<usize>> = asks.iter().map(nodes).collect();
    let all = || vec![0, 1];
    let expected = [
        ("device", vec![0]),
        ("large", vec![1]),
        ("none", all()),
        ("other", all()),
        ("small", all()),
    ];
    assert_eq!(found, expected.map(|(name, nodes)| (name.to_owned(), nodes)).into());
    assert_eq!(scales.classes().len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_arrangement_reserves_more_of_anything_than_there_is(
        offers in prop::collection::vec((0_u64..4, 0_u64..3), 1..4),
        asks in prop::collection::vec((0_u64..3, 0_u64..3, 0_u8..4), 1..12),
    ) {
        let names = ["a", "b", "c"];
        let mut world = World::new(&[]);
        for ((gpu, disk), name) in offers.iter().zip(names) {
            world.join(name, 2_000, &[]);
            let kinds = [("gpu", *gpu), ("disk", *disk)];
            let kinds: Vec<_> = kinds.into_iter().filter(|(_, amount)| *amount > 0).collect();
            world.offer(name, &kinds);
        }
        let services: Vec<(String, ServiceSpec)> = asks
            .iter()
            .enumerate()
            .map(|(index, (gpu, disk, shape))| {
                let kinds = [("gpu", *gpu), ("disk", *disk)];
                let kinds: Vec<_> = kinds.into_iter().filter(|(_, amount)| *amount > 0).collect();
                let spec = with(100, &kinds).with(|s| match shape {
                    0 => request(s, DeviceCount::All),
                    1 => request(s, DeviceCount::Number(1)),
                    _ => {}
                });
                (format!("s{index}"), spec)
            })
            .collect();
        let services: Vec<(&str, ServiceSpec)> =
            services.iter().map(|(name, spec)| (name.as_str(), spec.clone())).collect();
        world.apply(&stack("s", &services));
        let cluster = world.cluster.clone();
        let asks: Vec<Ask<'_>> = cluster.pending().map(Ask::of).collect();
        let mut fleet = Fleet::of(&cluster);
        let placed = place(&mut fleet, &asks, &mut Effort::new(1_000_000, 1_000_000));
        // Counted by hand: what each kind comes to on each node.
        let mut sums: BTreeMap<(NodeId, GenericName), u64> = BTreeMap::new();
        for held in &placed {
            let task = cluster.task(held.task).unwrap();
            let Some(node) = held.node else { continue };
            let offered = &cluster.node(node).unwrap().inventory.generic;
            for (kind, amount) in task.spec.generic_on(offered).iter() {
                *sums.entry((node, kind.clone())).or_default() += amount;
            }
        }
        for ((node, kind), sum) in sums {
            let offered = cluster.node(node).unwrap().inventory.generic.get(&kind);
            prop_assert!(sum <= offered, "{sum} {kind} of {offered} on {node}");
        }
        // The log takes all of it.
        world.lead();
    }
}
