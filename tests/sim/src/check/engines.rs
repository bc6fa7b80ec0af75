//! What really runs: the engines' containers and volumes.

use std::collections::BTreeMap;

use model::{Bytes, NodeId, ServiceSpec, spec::MountSource};
use node_agent::runtime::ContainerId;

use crate::{engine::Held, machine::Machine, world::World};

/// Starts of one task within [`LOOP_WITHIN`] that make a hot loop: waits of 1, 2, 4 and 8 s leave room
/// for five, interruptions and a restarted agent for some more.
const LOOP_STARTS: usize = 9;
/// In milliseconds.
const LOOP_WITHIN: u64 = 10_000;

impl World {
    /// After every start of a container.
    pub(crate) fn check_start(&mut self, node: NodeId, id: &ContainerId) {
        let Some(machine) = self.machines.get(&node) else { return };
        let Some(started) = machine.engine.containers.get(id) else { return };
        let used: Bytes =
            machine.engine.running().map(|held| reserved(&held.assignment.spec)).sum();
        if used > machine.memory {
            let text = format!("{node} has {}, containers with {used} run there", machine.memory);
            return self.broken(text);
        }
        if let Some(text) = self.rival(started) {
            return self.broken(text);
        }
        let starts = machine.engine.starts.get(&started.shown.task);
        let recent = starts
            .map_or(0, |starts| starts.iter().filter(|at| **at + LOOP_WITHIN > self.now).count());
        if recent >= LOOP_STARTS {
            let text = format!("{} was started {recent} times within 10 s", started.name());
            self.broken(text);
        }
    }

    /// Whether something runs at this moment that must not run beside this container. What must never run
    /// twice under a lease runs only while its machine is awake.
    fn rival(&self, of: &Held) -> Option<String> {
        let sure = |machine: &Machine, held: &Held| {
            held.shown.leased.is_none() || machine.runs_for_sure(self.now)
        };
        let everywhere = self
            .machines
            .values()
            .flat_map(|machine| machine.engine.running().filter(move |held| sure(machine, held)));
        let mut others = everywhere.filter(|held| held.shown.id != of.shown.id);
        let rival = others.find(|held| clash(held, of))?;
        Some(format!("{} and {} run side by side", of.name(), rival.name()))
    }

    /// Some time after a machine woke or its engine answered again: what lost its lease meanwhile is
    /// stopped by now.
    pub(crate) fn check_alone(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get(&node) else { return };
        if !machine.runs_for_sure(self.now) {
            return;
        }
        let mut strict = machine.engine.running().filter(|held| held.shown.leased.is_some());
        let text = strict.find_map(|held| self.rival(held));
        drop(strict);
        if let Some(text) = text {
            self.broken(text);
        }
    }

    /// A volume has one home: its data is nowhere else, but for machines that were given up.
    pub(crate) fn check_volumes(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get(&node) else { return };
        let twice = machine.engine.volumes.iter().find(|volume| {
            self.machines.iter().any(|(other, held)| {
                *other != node
                    && self.log.reference.node(*other).is_some()
                    && held.engine.volumes.contains(*volume)
            })
        });
        if let Some(volume) = twice {
            let text = format!("volume {volume} has a second home on {node}");
            self.broken(text);
        }
    }
}

fn reserved(spec: &ServiceSpec) -> Bytes {
    spec.resources.reserved.memory
}

/// The volumes a container mounts, by the engine's names, and whether it may write.
fn volumes(held: &Held) -> BTreeMap<&str, bool> {
    let mut found = BTreeMap::new();
    for mount in &held.assignment.spec.mounts {
        if let MountSource::Volume { name, .. } = &mount.source
            && let Some(volume) = held.assignment.volumes.get(name)
        {
            *found.entry(volume.engine_name.as_str()).or_insert(false) |= !mount.read_only;
        }
    }
    found
}

/// Whether two running containers of one service must not run at once: both are the replica's and
/// write to the same data, or the newer must be alone.
fn clash(one: &Held, other: &Held) -> bool {
    let ((stack, service, slot), their) = (one.replica(), other.replica());
    if (stack, service) != (their.0, their.1) {
        return false;
    }
    let newer = if one.shown.task > other.shown.task { one } else { other };
    let theirs = volumes(other);
    let shares = volumes(one).into_iter().any(|(volume, writes)| {
        theirs.get(volume).is_some_and(|other_writes| writes && *other_writes)
    });
    newer.assignment.spec.strict_singleton
        || (shares && slot == their.2)
        || (one.shown.task == other.shown.task)
}
