//! What people ask of stacks.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use model::{
    Epoch, Revision, ServiceName, ServiceSpec, StackName, StackSpec, TaskState, Timestamp,
};

use super::{Answered, Happened, check};
use crate::cluster::{
    Cluster, Memory, Outcome, PastRevision, Rejection, Removal, Service, Slot, Stack, limits,
    same_container, same_volumes,
};

/// From this form on what fails is made anew also when no replacement was given up: every scheduler that
/// applies the entry has to do the same.
const TRY_AGAIN_FORM: u32 = 4;
/// From this form on only a person who names it is led back to a revision that never was ready: every
/// scheduler that applies the entry has to do the same.
const READY_ONLY_FORM: u32 = 6;

impl Cluster {
    pub(super) fn apply_stack(
        &mut self,
        at: Timestamp,
        spec: &StackSpec,
        basis: Option<Revision>,
    ) -> Answered {
        let held = self.stacks.get(&spec.name);
        let current = held.map_or(Revision(0), Stack::revision);
        if held.is_some_and(|stack| stack.removal.is_some()) {
            return Err(Rejection::Removing(spec.name.clone()));
        }
        if let Some(basis) = basis.filter(|basis| *basis != current) {
            return Err(Rejection::StackMoved { stack: spec.name.clone(), basis, current });
        }
        if held.is_none() {
            check::at_most("stacks", self.stacks.len().saturating_add(1), limits::MAX_STACKS)?;
        }
        let spec = self.sized(spec);
        self.check_stack(&spec)?;
        if held.and_then(Stack::spec).is_some_and(|held| **held == spec) {
            return Ok(self.try_again(at, &spec.name, current));
        }
        self.try_lacking(&spec.name, None);
        Ok(self.revise(at, Arc::new(spec), "apply".to_owned()))
    }

    /// The same file again: nothing to do, unless a replacement was given up or a replica fails. What has
    /// failed is made anew: else it would be given up for it at once, or its agent would go on after
    /// pauses that have grown.
    fn try_again(&mut self, at: Timestamp, name: &StackName, current: Revision) -> Outcome {
        let alone = self.form >= TRY_AGAIN_FORM;
        let lacked = self.try_lacking(name, None);
        let mut newest: BTreeMap<(ServiceName, u32), (Epoch, bool)> = BTreeMap::new();
        for task in self.tasks_of(name).filter(|task| !task.desired.is_leaving()) {
            let stuck = task.status.state < TaskState::Running && task.status.failure.is_some();
            let failed = task.status.state == TaskState::Failed;
            let is = (task.epoch, failed || (alone && stuck));
            let held = newest.entry((task.service.clone(), task.slot)).or_insert(is);
            *held = is.max(*held);
        }
        let Some(stack) = self.stacks.get_mut(name) else { return Outcome::Unchanged };
        let mut any = lacked;
        for (service, held) in &mut stack.services {
            let given_up = held.failed.take().is_some();
            any |= given_up;
            for (slot, memory) in &mut held.slots {
                let failed =
                    newest.get(&(service.clone(), *slot)).is_some_and(|(_, failed)| *failed);
                if failed && (given_up || alone) {
                    memory.least = memory.last.next();
                    any = true;
                }
            }
        }
        if !any {
            return Outcome::Unchanged;
        }
        let message = format!("revision {current} of stack {name} is tried again");
        self.note(Happened::new(at, "applied", message).stack(name));
        Outcome::Stack(current)
    }

    /// Makes `spec` the current specification of its stack.
    fn revise(&mut self, at: Timestamp, spec: Arc<StackSpec>, cause: String) -> Outcome {
        let name = spec.name.clone();
        let busy: BTreeSet<ServiceName> =
            self.tasks_of(&name).map(|task| task.service.clone()).collect();
        let stack = self.stacks.get_or_insert(name.clone(), || Stack {
            revision: Revision(0),
            history: VecDeque::new(),
            services: BTreeMap::new(),
            removal: None,
        });
        let before = stack.spec().cloned();
        stack.revision = stack.revision.next();
        let revision = stack.revision;
        let replaced = stack.take_services(&spec, before.as_deref());
        stack.services.retain(|service, held| held.wanted || busy.contains(service));
        for (dependent, service) in &spec.services {
            let restarts =
                service.depends_on.iter().any(|(on, rule)| rule.restart && replaced.contains(on));
            if restarts && !replaced.contains(dependent) {
                stack.outdate(dependent, None);
            }
        }
        let message = format!("revision {revision} of stack {name}: {cause}");
        stack.history.push_back(PastRevision { revision, at, cause, spec, ready: false });
        while stack.history.len() > limits::MAX_HISTORY {
            stack.history.pop_front();
        }
        self.note(Happened::new(at, "applied", message).stack(&name));
        Outcome::Stack(revision)
    }

    pub(super) fn remove_stack(
        &mut self,
        at: Timestamp,
        name: &StackName,
        volumes: bool,
    ) -> Answered {
        let Some(stack) = self.stacks.get_mut(name) else {
            return self.remove_leftovers(at, name, volumes);
        };
        match &mut stack.removal {
            Some(removal) if removal.volumes || !volumes => return Ok(Outcome::Unchanged),
            Some(removal) => removal.volumes = true,
            None => stack.removal = Some(Removal { volumes, since: at }),
        }
        let data = if volumes { " with the data of its volumes" } else { "" };
        let message = format!("stack {name} is being removed{data}");
        self.note(Happened::new(at, "removing", message).stack(name));
        Ok(Outcome::Done)
    }

    /// The stack is gone, but its data may still be there.
    fn remove_leftovers(&mut self, at: Timestamp, name: &StackName, volumes: bool) -> Answered {
        let left = self.volumes.values().any(|volume| volume.stack == *name && !volume.external);
        if !volumes || !left {
            return Err(Rejection::UnknownStack(name.clone()));
        }
        if self.ask_for_removal(at, name) { Ok(Outcome::Done) } else { Ok(Outcome::Unchanged) }
    }

    pub(super) fn roll_back(
        &mut self,
        at: Timestamp,
        name: &StackName,
        to: Option<Revision>,
    ) -> Answered {
        let stack = self.standing(name)?;
        let current = stack.spec().cloned();
        let mut past = stack.history.iter().rev();
        let target = if let Some(revision) = to {
            let found = past.find(|past| past.revision == revision);
            let unknown = || Rejection::UnknownRevision { stack: name.clone(), revision };
            found.ok_or_else(unknown)?
        } else {
            let bad = stack.history.back().is_some_and(|held| !held.ready);
            let before = past.find(|past| Some(&past.spec) != current.as_ref());
            let unready = before.map(|past| past.revision);
            let before = before.filter(|_| bad && self.form < READY_ONLY_FORM);
            let found = stack.last_ready().or(before);
            found.ok_or_else(|| Rejection::NothingToRollBack { stack: name.clone(), unready })?
        };
        let (spec, cause) = (Arc::clone(&target.spec), format!("rollback to {}", target.revision));
        if Some(&spec) == current.as_ref() {
            return Ok(Outcome::Unchanged);
        }
        self.check_stack(&spec)?;
        Ok(self.revise(at, spec, cause))
    }

    pub(super) fn scale(
        &mut self,
        at: Timestamp,
        name: &StackName,
        service: &ServiceName,
        replicas: u32,
    ) -> Answered {
        let stack = self.standing(name)?;
        let unknown =
            || Rejection::UnknownService { stack: name.clone(), service: service.clone() };
        let mut spec = stack.spec().map(|spec| StackSpec::clone(spec)).ok_or_else(unknown)?;
        let held = spec.services.get_mut(service).ok_or_else(unknown)?;
        if held.replicas == replicas {
            let current = stack.revision;
            return Ok(self.try_again(at, name, current));
        }
        held.replicas = replicas;
        self.check_stack(&spec)?;
        Ok(self.revise(at, Arc::new(spec), format!("scale {service} to {replicas}")))
    }

    pub(super) fn restart(
        &mut self,
        at: Timestamp,
        name: &StackName,
        service: Option<&ServiceName>,
        slot: Option<u32>,
    ) -> Answered {
        let stack = self.standing(name)?;
        let chosen: Vec<(ServiceName, u32)> = stack
            .wanted()
            .filter(|(held, _)| service.is_none_or(|service| service == *held))
            .map(|(held, known)| (held.clone(), known.spec.replicas))
            .collect();
        if let Some(service) = service.filter(|_| chosen.is_empty()) {
            let (stack, service) = (name.clone(), service.clone());
            return Err(Rejection::UnknownService { stack, service });
        }
        if let (Some(slot), Some((service, replicas))) = (slot, chosen.first())
            && (slot == 0 || slot > *replicas)
        {
            let (stack, service, replicas) = (name.clone(), service.clone(), *replicas);
            return Err(Rejection::UnknownReplica { stack, service, slot, replicas });
        }
        self.try_lacking(name, service);
        if let Some(stack) = self.stacks.get_mut(name) {
            for (service, _) in &chosen {
                stack.outdate(service, slot);
            }
        }
        for (service, _) in &chosen {
            let which = slot.map_or(String::new(), |slot| format!(".{slot}"));
            let message = format!("{name}/{service}{which} is to be restarted");
            self.note(Happened::new(at, "restarting", message).stack(name).service(service));
        }
        Ok(if chosen.is_empty() { Outcome::Unchanged } else { Outcome::Done })
    }

    /// The stack, if it is there to stay.
    fn standing(&self, name: &StackName) -> Result<&Stack, Rejection> {
        let stack = self.stacks.get(name).ok_or_else(|| Rejection::UnknownStack(name.clone()))?;
        if stack.removal.is_some() {
            return Err(Rejection::Removing(name.clone()));
        }
        Ok(stack)
    }

    /// All tasks of the stack are over: forgets it, and keeps or gives up its data as was asked.
    pub(super) fn forget_stack(&mut self, at: Timestamp, name: &StackName) {
        let removal = self.stacks.remove(name).and_then(|stack| stack.removal);
        let gone: Vec<_> = self.tasks_of(name).map(|task| task.id).collect();
        for task in gone {
            self.forget_task(task);
        }
        if removal.is_some_and(|removal| removal.volumes) {
            self.ask_for_removal(at, name);
        }
        self.note(Happened::new(at, "removed", format!("stack {name} is gone")).stack(name));
    }

    /// Asks the home nodes to remove the data of a stack that is gone, except what is external or
    /// what another stack uses. Answers whether there was any.
    fn ask_for_removal(&mut self, at: Timestamp, name: &StackName) -> bool {
        let shared: BTreeSet<String> = self
            .stacks
            .values()
            .filter_map(Stack::spec)
            .flat_map(|spec| spec.volumes.keys().map(|volume| spec.engine_volume(volume)))
            .collect();
        let mut homes = BTreeSet::new();
        let mut names = Vec::new();
        for (engine_name, volume) in &mut self.volumes {
            let goes = volume.stack == *name
                && !volume.external
                && !volume.removing
                && !shared.contains(engine_name);
            if goes {
                volume.removing = true;
                homes.insert(volume.home);
                names.push(engine_name.clone());
            }
        }
        for home in homes {
            self.touch(home);
        }
        for volume in &names {
            let message = format!("the data of volume {volume} is to be removed");
            self.note(Happened::new(at, "removing", message).stack(name));
        }
        !names.is_empty()
    }
}

impl Stack {
    /// Takes over the services of a new specification; answers those whose containers are replaced.
    fn take_services(
        &mut self,
        spec: &StackSpec,
        before: Option<&StackSpec>,
    ) -> BTreeSet<ServiceName> {
        let revision = self.revision;
        let mut replaced = BTreeSet::new();
        for (name, held) in &mut self.services {
            held.wanted = spec.services.contains_key(name);
            held.failed = None;
        }
        for (name, new) in &spec.services {
            let Some(held) = self.services.get_mut(name) else {
                self.services.insert(name.clone(), Service::new(new, revision));
                continue;
            };
            held.memory = held.memory_for(new);
            if held.spec.image != new.image {
                held.lacks.clear();
            }
            let same_data = before.is_some_and(|before| same_volumes(before, spec, name));
            if !same_data || !same_container(&held.spec, new) {
                replaced.insert(name.clone());
            }
            if *held.spec != *new || !same_data {
                held.spec = Arc::new(new.clone());
                held.spec_revision = revision;
            }
        }
        replaced
    }

    /// Makes the tasks a service has now outdated, so that they are replaced.
    fn outdate(&mut self, service: &ServiceName, only: Option<u32>) {
        let Some(service) = self.services.get_mut(service) else { return };
        service.failed = None;
        for (slot, held) in &mut service.slots {
            if only.is_none_or(|only| only == *slot) {
                held.least = held.last.next();
            }
        }
    }
}

impl Service {
    fn new(spec: &ServiceSpec, revision: Revision) -> Self {
        Self {
            spec: Arc::new(spec.clone()),
            spec_revision: revision,
            wanted: true,
            failed: None,
            moved_at: None,
            slots: BTreeMap::<u32, Slot>::new(),
            memory: Memory::default(),
            lacks: BTreeSet::new(),
        }
    }
}
