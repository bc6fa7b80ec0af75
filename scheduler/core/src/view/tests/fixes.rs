//! Every fix that is offered is taken, on a copy, and what waited has a place then.

use std::collections::BTreeMap;

use model::{Node, ServiceSpec, StackName, StackSpec, Task};
use proptest::prelude::*;

use super::*;
use crate::{
    cluster::{Cluster, Entry},
    view::preview,
};

/// A machine: its memory in MiB, and whether it is cordoned, has the label that some ask for.
type Machine = (u64, bool, bool);
/// A service: its memory in MiB, its replicas, and what else it asks for.
type Wanted = (u64, u32, u8);

fn spec((mib, replicas, also): Wanted) -> ServiceSpec {
    service("x", mib).with(|s| {
        s.replicas = replicas;
        match also {
            0 => s.placement.constraints = vec!["node.labels.role == db".parse().unwrap()],
            1 => s.placement.max_replicas_per_node = Some(1),
            2 => publish(s, 80),
            3 => s.priority = 10,
            4 => {
                s.replicas = 1;
                mount(s, "data");
            }
            _ => {}
        }
    })
}

/// What of `early` grows, by its number, and to how many MiB: its successors have to take over from it.
type Grown = (usize, u64);

fn world(machines: &[Machine], early: &[Wanted], (late, grown): (&[Wanted], &[Grown])) -> World {
    let mut world = World::new(&[]);
    for (number, (mib, _, labelled)) in machines.iter().enumerate() {
        let labels = [("role", "db")];
        let labels = if *labelled { &labels[..] } else { &[] };
        world.join(&format!("n{number}"), *mib, labels);
    }
    for (name, services) in [("early", early), ("late", late)] {
        for (number, wanted) in services.iter().enumerate() {
            world.apply(&stack(&format!("{name}{number}"), &[("web", spec(*wanted))]));
        }
        world.settle();
        for (number, (_, cordoned, _)) in machines.iter().enumerate() {
            let node = world.node(&format!("n{number}"));
            if *cordoned && name == "early" {
                world.ok(Command::SetSchedulable { node, schedulable: false });
            }
        }
    }
    for (number, mib) in grown.iter().filter(|(number, _)| *number < early.len()) {
        let (before, replicas, also) = early[*number];
        let wanted = spec((before + mib, replicas, also));
        world.apply(&stack(&format!("early{number}"), &[("web", wanted)]));
    }
    world.settle();
    world
}

fn amount(text: &str) -> Bytes {
    let (number, unit) = text.split_once(' ').unwrap();
    let scale = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => panic!("{other}"),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let tenths: u64 = whole.parse::<u64>().unwrap() * 10 + part.parse::<u64>().unwrap();
    // Of what is named in tenths the machine that is bought has a little more, and what is lowered takes a little less.
    Bytes(tenths * scale / 10)
}

/// The two words after `before`.
fn amount_after(fix: &str, before: &str) -> Bytes {
    let rest = fix.split_once(before).unwrap_or_else(|| panic!("{fix}")).1;
    let words: Vec<&str> = rest.split([' ', ':', ';', ',']).take(2).collect();
    amount(&words.join(" "))
}

struct Taker<'c> {
    cluster: Cluster,
    before: &'c Cluster,
    now: model::Timestamp,
}

impl Taker<'_> {
    fn ok(&mut self, command: Command) {
        let applied = self.cluster.apply(&Entry { at: self.now, request: None, command });
        applied.result.unwrap();
    }

    fn node(&self, fix: &str, before: &str) -> Node {
        let name = fix.split_once(before).unwrap_or_else(|| panic!("{fix}")).1;
        let name = name.split([' ', ',', ':']).next().unwrap();
        self.before.node_named(&name.parse().unwrap()).unwrap().clone()
    }

    fn edit(&mut self, stack: &StackName, change: impl Fn(&mut ServiceSpec)) {
        let spec = self.before.stack(stack).unwrap().spec().unwrap();
        let mut spec = StackSpec::clone(spec);
        for service in spec.services.values_mut() {
            change(service);
        }
        self.ok(Command::ApplyStack { spec, basis: None });
    }

    fn buy(&mut self, fix: &str, task: &Task) {
        let count = fix.split(' ').nth(1).unwrap().parse().unwrap_or(1);
        let memory = amount_after(fix, "at least ");
        let mut bought = World::new(&[]);
        std::mem::swap(&mut bought.cluster, &mut self.cluster);
        let role = task.spec.placement.constraints.first().map(|_| ("role", "db"));
        for number in 0..count {
            let labels: Vec<_> = role.into_iter().collect();
            bought.join(&format!("new{number}"), memory.0.div_ceil(1 << 20), &labels);
        }
        std::mem::swap(&mut bought.cluster, &mut self.cluster);
    }

    /// Does what is said; `false` when it is a person's to know how.
    fn take(&mut self, fix: &str, task: &Task) -> bool {
        let more = fix.split_once(" more memory").and_then(|(given, _)| {
            let (name, amount) = given.strip_prefix("give ")?.split_once(' ')?;
            Some((
                self.before.node_named(&name.parse().unwrap())?.clone(),
                amount_after(amount, ""),
            ))
        });
        if let Some((node, more)) = more {
            let mut inventory = node.inventory;
            inventory.memory = inventory.memory.saturating_add(more);
            self.ok(Command::UpdateNode { node: node.id, inventory, address: node.address });
            self.ok(Command::SetSchedulable { node: node.id, schedulable: true });
        } else if fix.contains(" more memory") {
            return false;
        } else if fix.contains("sisoctl node uncordon") {
            let node = self.node(fix, "uncordon ").id;
            self.ok(Command::SetSchedulable { node, schedulable: true });
        } else if fix.contains("sisoctl node label") {
            let node = self.node(fix, "sisoctl node label ").id;
            let set = BTreeMap::from([("role".to_owned(), "db".to_owned())]);
            self.ok(Command::LabelNode { node, set, remove: [].into() });
        } else if fix.starts_with("lower the memory reservation") {
            let memory = amount_after(fix, " to ");
            self.edit(&task.stack, |s| s.resources.reserved.memory = memory);
        } else if fix.starts_with("raise max_replicas_per_node") {
            self.edit(&task.stack, |s| s.placement.max_replicas_per_node = None);
        } else if fix.contains("host port") {
            self.edit(&task.stack, |s| s.ports.clear());
        } else if fix.starts_with("stop or scale down") {
            let names = fix["stop or scale down ".len()..].split(" on ").next().unwrap();
            for name in names.split(" and ") {
                let stack = stack_name(name.split_once('/').unwrap().0);
                let spec = self.cluster.stack(&stack).unwrap().spec().unwrap();
                if spec.services.values().all(|service| service.replicas == 1) {
                    self.ok(Command::RemoveStack { stack, volumes: false });
                } else {
                    self.edit(&stack, |s| s.replicas -= 1);
                }
            }
        } else if fix.starts_with("add ") {
            self.buy(fix, task);
        } else {
            let known = ["move ", "make room on ", "give ", "only "];
            assert!(known.iter().any(|start| fix.starts_with(start)), "{fix}");
            return false;
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_fix_that_is_offered_gives_a_place_when_it_is_taken(
        machines in proptest::collection::vec((3_u64..12, prop::bool::weighted(0.2), any::<bool>()), 1..4),
        early in proptest::collection::vec((1_u64..8, 1_u32..3, 0_u8..12), 0..6),
        late in proptest::collection::vec((1_u64..8, 1_u32..4, 0_u8..12), 1..5),
        grown in proptest::collection::vec((0_usize..6, 1_u64..5), 0..3),
    ) {
        let scaled = |(mib, replicas, also): &Wanted| (mib * 100, *replicas, *also);
        let machines: Vec<Machine> =
            machines.into_iter().map(|(mib, closed, labelled)| (mib * 100, closed, labelled)).collect();
        let (early, late): (Vec<_>, Vec<_>) =
            (early.iter().map(scaled).collect(), late.iter().map(scaled).collect());
        let grown: Vec<Grown> = grown.into_iter().map(|(number, mib)| (number, mib * 100)).collect();
        let world = world(&machines, &early, (&late, &grown));
        let waiting: Vec<Task> = world.cluster.pending().cloned().collect();
        for task in waiting {
            let soft = Soft::none(world.now);
            let (stack, service, slot) = (&task.stack, &task.service, task.slot);
            let views = view::explain(&world.cluster, stack, service, Some(slot), &soft).unwrap();
            // Only what may be anywhere can always be helped by another machine.
            let anywhere = task.volumes.is_empty();
            prop_assert!(!anywhere || !views[0].placement.fixes.is_empty(), "{:?}", views[0].placement);
            for fix in &views[0].placement.fixes {
                let (cluster, before) = (world.cluster.clone(), &world.cluster);
                let mut taker = Taker { cluster, before, now: world.now };
                if taker.take(fix, &task) {
                    preview::settle(&mut taker.cluster, world.now);
                    let of_slot = |held: &&Task| held.service == *service && held.slot == slot;
                    let tasks = taker.cluster.tasks_of(stack).filter(of_slot);
                    let newest = tasks.max_by_key(|held| held.epoch);
                    let has_place = newest.is_some_and(|newest| newest.node.is_some());
                    prop_assert!(has_place, "{fix}: of {:?}", views[0].placement);
                }
            }
        }
    }
}

fn fixes_of(world: &World, slot: u32) -> Vec<String> {
    let (stack, web) = (stack_name("s"), crate::testing::service_name("web"));
    let soft = Soft::none(world.now);
    let views = view::explain(&world.cluster, &stack, &web, Some(slot), &soft).unwrap();
    views[0].placement.fixes.clone()
}

#[test]
fn as_many_machines_are_asked_for_as_it_takes() {
    let mut world = World::new(&[("a", 1_000)]);
    let listens = |s: &mut ServiceSpec| {
        s.replicas = 3;
        publish(s, 80);
    };
    world.apply(&stack("s", &[("web", service("x", 100).with(listens))]));
    world.settle();
    let machine = "add a node with at least 100.0 MiB free";
    assert_eq!(fixes_of(&world, 2).last().unwrap(), machine);
    let machines = "add 2 nodes with at least 100.0 MiB free each: s/web.2 goes there as well";
    assert_eq!(fixes_of(&world, 3).last().unwrap(), machines);
}

#[test]
fn a_machine_is_as_large_as_it_must_be_for_those_that_come_first() {
    let mut world = World::new(&[("a", 100)]);
    world.apply(&stack("s", &[("web", service("x", 200).with(|s| s.replicas = 30))]));
    world.settle();
    let last = |slot| fixes_of(&world, slot).pop().unwrap();
    assert_eq!(last(1), "add a node with at least 200.0 MiB free");
    assert_eq!(last(2), "add a node with at least 400.0 MiB free: s/web.1 goes there as well");
    let third = "add a node with at least 600.0 MiB free: 2 others that wait go there as well";
    assert_eq!(last(3), third);
    let all = "add a node with at least 5.9 GiB free: 29 others that wait go there as well";
    assert_eq!(last(30), all);
}

/// All replicas change with the file: those that run make room as well.
#[test]
fn a_reservation_is_lowered_by_no_more_than_it_takes_when_all_replicas_shrink() {
    let mut world = World::new(&[("a", 1_000)]);
    world.apply(&stack("s", &[("web", service("x", 600).with(|s| s.replicas = 2))]));
    world.settle();
    let fixes = fixes_of(&world, 2);
    let lower: Vec<_> = fixes.iter().filter(|fix| fix.starts_with("lower ")).collect();
    let words = "lower the memory reservation of web from 600.0 MiB to 500.0 MiB: a has that for all 2 there";
    assert_eq!(lower, [words]);
}

#[test]
fn a_reservation_is_lowered_to_what_is_free_elsewhere_where_that_is_more() {
    let mut world = World::new(&[("a", 1_000), ("b", 550)]);
    world.apply(&stack("s", &[("web", service("x", 600).with(|s| s.replicas = 2))]));
    world.settle();
    let fixes = fixes_of(&world, 2);
    let lower: Vec<_> = fixes.iter().filter(|fix| fix.starts_with("lower ")).collect();
    assert_eq!(
        lower,
        ["lower the memory reservation of web from 600.0 MiB to 550.0 MiB: b has that"]
    );
}
