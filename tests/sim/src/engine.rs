//! A container engine that keeps its contract and little else: what the agent's port asks for, by
//! virtual time, with everything an engine does to people.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use model::{
    Assignment, Health, NodeId, ServiceName, StackName, TaskId, Timestamp, spec::MountSource,
};
use node_agent::runtime::{
    Container, ContainerId, ContainerState, Happening, Look, Network, Place, RuntimeError,
};

/// Events an engine remembers for a listener that comes later.
const TOLD: usize = 256;
/// Starts remembered per task.
const STARTS: usize = 32;

/// One container and what it was made from.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) shown: Container,
    pub(crate) assignment: Arc<Assignment>,
    /// Counts its starts: what was planned for one run does not touch the next.
    pub(crate) run: u64,
}

/// Something an engine tells.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) id: ContainerId,
    pub(crate) task: TaskId,
    pub(crate) what: Happening,
    pub(crate) at: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    /// Whether it answers.
    pub(crate) up: bool,
    pub(crate) images: BTreeSet<String>,
    /// The named volumes.
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) containers: BTreeMap<ContainerId, Held>,
    networks: BTreeMap<String, Network>,
    pub(crate) told: VecDeque<Told>,
    made: u64,
    /// Failed fetches so far, by image.
    pub(crate) fetches_failed: BTreeMap<String, u32>,
    /// Refused starts so far, by image.
    pub(crate) starts_refused: BTreeMap<String, u32>,
    /// Ends and refused starts of each task: as many restarts may be counted.
    pub(crate) ends: BTreeMap<TaskId, u32>,
    /// When each task was started.
    pub(crate) starts: BTreeMap<TaskId, VecDeque<u64>>,
}

/// Which replica a container belongs to.
pub(crate) type Replica<'a> = (&'a StackName, &'a ServiceName, u32);

impl Held {
    pub(crate) fn is_running(&self) -> bool {
        self.shown.state == ContainerState::Running
    }

    pub(crate) fn replica(&self) -> Replica<'_> {
        let held = &self.assignment;
        (&held.stack, &held.service, held.slot)
    }

    /// `web.1 e2 (c0003)`
    pub(crate) fn name(&self) -> String {
        let held = &self.assignment;
        let Assignment { stack, service, slot, epoch, .. } = &**held;
        format!("{stack}/{service}.{slot} e{epoch} ({})", self.shown.id)
    }
}

pub(crate) fn unreachable() -> RuntimeError {
    RuntimeError::Unreachable { cause: "nobody answers".into() }
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self { up: true, ..Self::default() }
    }

    pub(crate) fn answers(&self) -> Result<(), RuntimeError> {
        if self.up { Ok(()) } else { Err(unreachable()) }
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Held> {
        self.containers.values().filter(|held| held.is_running())
    }

    pub(crate) fn look(&self) -> Result<Look, RuntimeError> {
        self.answers()?;
        Ok(Look {
            containers: self.containers.values().map(|held| held.shown.clone()).collect(),
            networks: self.networks.values().cloned().collect(),
        })
    }

    pub(crate) fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, RuntimeError> {
        self.answers()?;
        Ok(self.containers.get(id).map(|held| held.shown.clone()))
    }

    /// Makes a container, or finds the one that was made for this task before.
    pub(crate) fn create(
        &mut self,
        node: NodeId,
        task: &Arc<Assignment>,
    ) -> Result<ContainerId, RuntimeError> {
        self.answers()?;
        if !self.images.contains(&task.spec.image) {
            return Err(RuntimeError::ImageAbsent { image: task.spec.image.clone() });
        }
        let mut volumes = BTreeMap::new();
        for mount in &task.spec.mounts {
            let MountSource::Volume { name, .. } = &mount.source else { continue };
            let Some(volume) = task.volumes.get(name) else { continue };
            let name = volume.engine_name.clone();
            if !self.volumes.contains(&name) && (volume.must_exist || volume.external) {
                return Err(RuntimeError::VolumeAbsent { volume: name, why: "is gone" });
            }
            self.volumes.insert(name.clone());
            *volumes.entry(name).or_default() |= !mount.read_only;
        }
        let stack = task.stack.to_string();
        let network = Network { id: format!("net-{stack}"), stack };
        self.networks.insert(network.id.clone(), network);
        let found = self.containers.values().find(|held| held.shown.task == task.task);
        if let Some(found) = found {
            return Ok(found.shown.id.clone());
        }
        self.made += 1;
        let id = ContainerId(format!("{node}-c{:04}", self.made));
        let shown = Container {
            id: id.clone(),
            task: task.task,
            node: Some(node),
            place: Place::of(task),
            epoch: task.epoch,
            state: ContainerState::Created,
            health: Health::None,
            probe: None,
            started_at: None,
            finished_at: None,
            exit_code: None,
            oom_killed: false,
            leased: task.spec.strict_singleton.then_some(task.spec.stop_grace_ms),
            volumes,
            binds: BTreeMap::new(),
        };
        let held = Held { shown, assignment: Arc::clone(task), run: 0 };
        self.containers.insert(id.clone(), held);
        Ok(id)
    }

    /// Starts a container; answers whether it did not run before.
    pub(crate) fn start(
        &mut self,
        id: &ContainerId,
        (now, wall): (u64, Timestamp),
    ) -> Result<bool, RuntimeError> {
        self.answers()?;
        let held = self.containers.get(id);
        let absent = || RuntimeError::Absent { what: format!("container {id}") };
        let held = held.ok_or_else(absent)?;
        if held.is_running() {
            return Ok(false);
        }
        let task = held.shown.task;
        let ports = |held: &Held| -> BTreeSet<u16> {
            held.assignment.spec.ports.iter().filter_map(|port| port.published).collect()
        };
        let wanted = ports(held);
        let taken = self.running().any(|other| !ports(other).is_disjoint(&wanted));
        if taken {
            *self.ends.entry(task).or_default() += 1;
            let message = "port is already allocated".to_owned();
            return Err(RuntimeError::Refused { message });
        }
        let starts = self.starts.entry(task).or_default();
        starts.push_back(now);
        if starts.len() > STARTS {
            starts.pop_front();
        }
        let held = self.containers.get_mut(id).ok_or_else(absent)?;
        held.run += 1;
        held.shown.state = ContainerState::Running;
        held.shown.started_at = Some(wall);
        held.shown.exit_code = None;
        held.shown.oom_killed = false;
        let checked = held.assignment.spec.healthcheck.is_some();
        held.shown.health = if checked { Health::Starting } else { Health::None };
        Ok(true)
    }

    /// A container's process ends; answers whether it ran.
    pub(crate) fn end(&mut self, id: &ContainerId, code: i64, wall: Timestamp) -> bool {
        let Some(held) = self.containers.get_mut(id).filter(|held| held.is_running()) else {
            return false;
        };
        held.shown.state = ContainerState::Exited;
        held.shown.exit_code = Some(code);
        held.shown.finished_at = Some(wall);
        *self.ends.entry(held.shown.task).or_default() += 1;
        true
    }

    pub(crate) fn remove(&mut self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.answers()?;
        if self.containers.get(id).is_some_and(Held::is_running) {
            return Err(RuntimeError::Refused { message: "it is running".to_owned() });
        }
        if let Some(held) = self.containers.remove(id) {
            // An agent that sees its container gone may count that as an end.
            *self.ends.entry(held.shown.task).or_default() += 1;
        }
        Ok(())
    }

    pub(crate) fn remove_network(&mut self, id: &str) -> Result<(), RuntimeError> {
        self.answers()?;
        self.networks.remove(id);
        Ok(())
    }

    pub(crate) fn remove_volume(&mut self, name: &str) -> Result<(), RuntimeError> {
        self.answers()?;
        if self.containers.values().any(|held| held.shown.volumes.contains_key(name)) {
            return Err(RuntimeError::Refused { message: format!("volume {name} is in use") });
        }
        self.volumes.remove(name);
        Ok(())
    }

    /// Remembers what is told.
    pub(crate) fn tell(&mut self, told: Told) {
        if self.told.len() >= TOLD {
            self.told.pop_front();
        }
        self.told.push_back(told);
    }

    /// The engine or its machine went: everything ends, and nobody is told.
    pub(crate) fn fall(&mut self, code: i64, wall: Timestamp) {
        self.up = false;
        self.told.clear();
        let running: Vec<ContainerId> = self.running().map(|held| held.shown.id.clone()).collect();
        for id in running {
            self.end(&id, code, wall);
        }
    }
}
