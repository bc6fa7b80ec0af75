//! Random commands, agents that obey or do not, nodes that come and go. After every step the
//! invariants hold (see [`crate::testing::World`]); once the faults stop, everything that fits runs.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Bytes, StackSpec, TaskState,
    spec::{DeviceCount, DeviceRequest},
};
use proptest::prelude::*;

use crate::{
    Change, Command, assignments,
    cluster::same_container,
    orchestrate::{is_current, may_start},
    testing::{
        With, World, amounts, depend, mount, publish, service, service_name, stack, stack_name,
    },
    view,
};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Apply(StackSpec),
    Remove(&'static str, bool),
    Rollback(&'static str),
    Scale(&'static str, &'static str, u32),
    Restart(&'static str),
    Cordon(usize, bool),
    Label(usize, bool),
    Drain(usize, u64),
    /// Some task is to be on that node.
    Move(usize, usize),
    /// The automatic mode of rebalance is turned on or off.
    Automatic(bool),
    /// A node is removed, if need be with all it has, and its machine joins anew.
    Rejoin(usize, bool),
    /// The node loses power or gets it back.
    Power(usize, bool),
    /// Its agent is silent though heartbeats arrive, or speaks again.
    Mute(usize, bool),
    /// A plan as some deposed leader might still send it.
    Stale(Box<Command>),
    Seconds(u64),
}

const NODES: [(&str, u64); 3] = [("a", 1_000), ("b", 700), ("c", 400)];
/// A device for 500 MiB of memory; the smallest node has none.
fn gpus(mib: u64) -> Vec<(&'static str, u64)> {
    let count = mib / 500;
    if count == 0 { Vec::new() } else { vec![("gpu", count)] }
}

/// One of the nodes is of another kind.
fn arch(name: &str) -> &'static str {
    if name == "b" { "amd64" } else { "arm64" }
}

/// The nodes, each with what it has.
fn world() -> World {
    let mut world = World::new(&NODES);
    for (name, mib) in NODES {
        world.offer(name, &gpus(mib));
        world.arch(name, arch(name));
    }
    world
}

const STACKS: [&str; 2] = ["one", "two"];
const SERVICES: [&str; 3] = ["api", "db", "web"];

fn any_stack() -> impl Strategy<Value = StackSpec> {
    let images = prop::sample::select(vec![
        "x:1", "x:2", "x:3", "crash:1", "fail:1", "slow:1", "job:1", "intel:1", "alien:1",
    ]);
    let spec = (images, 1_u64..6, 0_u32..4, 0_u32..8);
    let services = prop::collection::vec(prop::option::weighted(0.7, spec), SERVICES.len());
    (prop::sample::select(STACKS.to_vec()), services).prop_map(|(name, services)| {
        let services: Vec<_> = SERVICES
            .iter()
            .zip(services)
            .filter_map(|(name, spec)| {
                let (image, size, replicas, shape) = spec?;
                let spec = service(image, size * 100).with(|s| {
                    s.replicas = replicas;
                    match shape {
                        0 => publish(s, 80),
                        1 => {
                            mount(s, "data");
                            s.replicas = replicas.min(1);
                        }
                        2 => s.placement.max_replicas_per_node = Some(1),
                        4 => {
                            let wanted = "node.labels.role != web".parse().unwrap();
                            s.placement.constraints = vec![wanted];
                        }
                        3 => {
                            s.strict_singleton = true;
                            s.replicas = replicas.min(1);
                        }
                        5 => s.resources.generic = amounts(&[("gpu", 1)]),
                        6 => {
                            let capabilities = vec!["gpu".to_owned()];
                            let (driver, options) = (None, BTreeMap::new());
                            let count = DeviceCount::All;
                            let all = DeviceRequest { driver, count, capabilities, options };
                            s.privileges.device_requests = vec![all];
                        }
                        _ => {}
                    }
                });
                Some((*name, spec))
            })
            .collect();
        let has_db = services.iter().any(|(name, _)| *name == "db");
        let services: Vec<_> = services
            .into_iter()
            .map(|(name, spec)| {
                let waits = has_db && name == "api";
                let spec = if waits {
                    spec.with(|s| depend(s, "db", model::spec::Condition::Started))
                } else {
                    spec
                };
                (name, spec)
            })
            .collect();
        stack(name, &services)
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(STACKS.to_vec());
    let service = || prop::sample::select(SERVICES.to_vec());
    prop_oneof![
        5 => any_stack().prop_map(Step::Apply),
        1 => (name(), any::<bool>()).prop_map(|(name, volumes)| Step::Remove(name, volumes)),
        1 => name().prop_map(Step::Rollback),
        2 => (name(), service(), 0_u32..4).prop_map(|(s, v, count)| Step::Scale(s, v, count)),
        1 => name().prop_map(Step::Restart),
        1 => (0..NODES.len(), any::<bool>()).prop_map(|(node, on)| Step::Cordon(node, on)),
        1 => (0..NODES.len(), any::<bool>()).prop_map(|(node, on)| Step::Label(node, on)),
        1 => (0..NODES.len(), 1_u64..40).prop_map(|(node, time)| Step::Drain(node, time)),
        3 => (0_usize..20, 0..NODES.len()).prop_map(|(task, node)| Step::Move(task, node)),
        1 => (0..NODES.len(), any::<bool>()).prop_map(|(node, all)| Step::Rejoin(node, all)),
        1 => prop::bool::weighted(0.8).prop_map(Step::Automatic),
        2 => (0..NODES.len(), any::<bool>()).prop_map(|(node, on)| Step::Power(node, on)),
        1 => (0..NODES.len(), any::<bool>()).prop_map(|(node, on)| Step::Mute(node, on)),
        1 => (1_u64..9, 1_u64..4).prop_map(|(task, node)| {
            let node = model::NodeId::new(node);
            let task = model::TaskId::new(task);
            let decision = std::sync::Arc::new(model::task::Decision {
                at: model::Timestamp(0),
                revision: model::Revision(0),
                verdicts: vec![],
            });
            let changes = vec![
                Change::Place { task, node, decision },
                Change::MarkLost { task, down_since: None },
                Change::Forget { task },
            ];
            Step::Stale(Box::new(Command::Plan { basis: model::Revision(u64::MAX), changes }))
        }),
        6 => (0_u64..12).prop_map(Step::Seconds),
    ]
}

/// Asked twice it is one move, and refused it is none.
fn take_move((task, to): (usize, model::NodeId), world: &mut World) {
    let chosen = world.cluster.tasks().keys().cycle().nth(task).copied();
    let Some(task) = chosen else { return };
    let command = Command::MoveTask { task, to };
    let before = world.cluster.clone();
    if world.run(command.clone()).result.is_ok() {
        assert_eq!(world.run(command).result, Ok(crate::Outcome::Unchanged));
    } else {
        assert_eq!(world.cluster, before, "a refused command changes nothing");
    }
}

fn label(node: model::NodeId, on: bool) -> Command {
    let (key, value) = ("role".to_owned(), "web".to_owned());
    let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
    if on {
        set.insert(key, value);
    } else {
        remove.insert(key);
    }
    Command::LabelNode { node, set, remove }
}

fn take(world: &mut World, step: Step) {
    let node = |world: &World, index: usize| world.node(NODES[index].0);
    let command = match step {
        Step::Apply(spec) => {
            // A preview changes nothing and its answer is one of the two.
            let before = world.cluster.clone();
            let _ = view::plan_view(&world.cluster, &spec, world.now);
            assert_eq!(world.cluster, before);
            Command::ApplyStack { spec, basis: None }
        }
        Step::Remove(name, volumes) => Command::RemoveStack { stack: stack_name(name), volumes },
        Step::Rollback(name) => Command::RollbackStack { stack: stack_name(name), to: None },
        Step::Scale(name, service, replicas) => {
            Command::Scale { stack: stack_name(name), service: service_name(service), replicas }
        }
        Step::Restart(name) => {
            Command::Restart { stack: stack_name(name), service: None, slot: None }
        }
        Step::Cordon(index, schedulable) => {
            Command::SetSchedulable { node: node(world, index), schedulable }
        }
        Step::Label(index, on) => label(node(world, index), on),
        Step::Drain(index, seconds) => {
            let until = world.now.plus_millis(seconds * 1_000);
            Command::DrainNode { node: node(world, index), until }
        }
        Step::Automatic(on) => Command::SetAutomatic { on },
        Step::Move(task, index) => return take_move((task, node(world, index)), world),
        Step::Rejoin(index, all) => {
            let gone = node(world, index);
            let removed = world.remove(gone, all);
            if removed.result.is_ok() {
                assert!(world.cluster.node(gone).is_none());
                world.dark.remove(&gone);
                world.mute.remove(&gone);
                let (name, mib) = NODES[index];
                assert!(world.join(name, mib, &[]) > gone, "an id was used again");
                world.offer(name, &gpus(mib));
                world.arch(name, arch(name));
            }
            return;
        }
        Step::Power(index, on) => {
            let node = node(world, index);
            if on {
                world.dark.remove(&node)
            } else {
                world.dark.insert(node)
            };
            return;
        }
        Step::Mute(index, on) => {
            let node = node(world, index);
            if on {
                world.mute.remove(&node)
            } else {
                world.mute.insert(node)
            };
            return;
        }
        Step::Stale(command) => *command,
        Step::Seconds(count) => return world.seconds(count),
    };
    // Refusals are answers like others here.
    let _ = world.run(command);
}

/// Every replica that is wanted and fits somewhere has one task of its own specification, or its
/// replacement was given up for a reason.
#[track_caller]
fn assert_served(world: &World) {
    for (name, stack) in world.cluster.stacks().iter() {
        assert!(stack.removal().is_none(), "{name} is still there: {:#?}", world.show());
        for (service_name, service) in stack.wanted() {
            let unproven = world.cluster.tasks_of(name).any(|task| {
                task.service == *service_name
                    && is_current(&world.cluster, service, task)
                    && !task.is_ready()
                    && !task.status.state.is_over()
            });
            for slot in 1..=service.spec.replicas {
                let tasks: Vec<_> = world
                    .cluster
                    .tasks_of(name)
                    .filter(|task| task.service == *service_name && task.slot == slot)
                    .filter(|task| !task.desired.is_leaving())
                    .collect();
                let newest = tasks.iter().max_by_key(|task| task.epoch).expect("a task");
                let current = same_container(&newest.spec, &service.spec);
                // The next replica waits for one that does not get ready.
                assert!(
                    current || unproven || service.failed.is_some(),
                    "{name}/{service_name}.{slot}: {:#?}",
                    world.show()
                );
                // While it waits for another service, the old one need not make room for it.
                let waits = !may_start(&world.cluster, newest);
                if newest.node.is_none() && !waits {
                    let (fleet, _) = view::fleet_for(&world.cluster, newest);
                    let ask = crate::placement::Ask::of(newest);
                    for node in world.cluster.nodes().keys() {
                        assert!(fleet.fits(&ask, *node).is_err(), "it fits: {:#?}", world.show());
                    }
                } else if newest.status.state == TaskState::Assigned {
                    panic!("nobody took it: {:#?}", world.show());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold_and_then_what_fits_runs(
        steps in prop::collection::vec(any_step(), 1..30),
    ) {
        let mut world = world();
        for step in steps {
            take(&mut world, step);
        }
        world.check_snapshot();
        world.dark.clear();
        world.mute.clear();
        for (name, _) in NODES {
            let node = world.node(name);
            let _ = world.run(Command::SetSchedulable { node, schedulable: true });
        }
        world.settle();
        assert_served(&world);
        world.check_snapshot();
        for node in world.cluster.nodes().keys() {
            let set = assignments(&world.cluster, *node);
            let reserved: Bytes =
                set.tasks.iter().map(|held| held.spec.resources.reserved.memory).sum();
            let over: Bytes = world
                .cluster
                .tasks_on(*node)
                .filter(|task| task.status.state.is_over())
                .map(|task| task.spec.resources.reserved.memory)
                .sum();
            let offers = world.cluster.node(*node).unwrap().inventory.allocatable().memory;
            prop_assert!(reserved.saturating_sub(over) <= offers);
        }
    }
}
