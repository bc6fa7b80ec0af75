//! Steps as an engine carries them out: each takes its time, and its answer may get lost.

use std::sync::Arc;

use model::{Health, NodeId};
use node_agent::{
    agent::Wake,
    perform::{Outcome, Subject},
    reconcile::Step,
    runtime::{ContainerId, Happening, PullError, RuntimeError},
};

use crate::{
    engine::unreachable,
    event::{Boot, Event, ForAgent, OnMachine},
    image::Behaviour,
    machine::{Machine, TERMINATED},
    world::World,
};

/// How long most containers take to stop, in milliseconds.
const STOPS_WITHIN: u64 = 1_500;

impl World {
    /// A request reaches the engine. It is carried out though the agent that sent it may be gone, unless that
    /// was killed before it sent it.
    pub(crate) fn call(&mut self, node: NodeId, boot: Boot, step: Step, subject: Option<Subject>) {
        let reaches =
            |machine: &Machine| machine.power && boot > machine.dark_boot.max(machine.cut_boot);
        if !self.machines.get(&node).is_some_and(reaches) {
            return;
        }
        match &step {
            Step::Permit { .. } => {
                let wake = Wake::Done { step, outcome: Outcome::Permitted(Ok(())) };
                self.answer(node, boot, ForAgent::Wake(Box::new(wake)));
            }
            Step::Fetch { image } => {
                let takes = Behaviour::of(image).fetch_takes(&mut self.chance);
                self.on_machine(node, takes, OnMachine::Pulled { boot, step });
            }
            Step::Create { .. } => self.create(node, boot, step, subject),
            Step::Start { container, .. } => {
                let container = container.clone();
                self.start(node, boot, step, (container, subject));
            }
            Step::Stop { container, .. } => {
                let container = container.clone();
                self.stop(node, boot, step, (container, None));
            }
            Step::Fence { container, grace_ms, .. } => {
                let (container, grace) = (container.clone(), Some(*grace_ms));
                self.stop(node, boot, step, (container, grace));
            }
            Step::Remove { container, .. } => {
                let container = container.clone();
                let engine = self.machines.get_mut(&node).map(|machine| &mut machine.engine);
                let done = engine.map_or(Ok(()), |engine| engine.remove(&container));
                self.work_done(node, boot, step, (Some(container), done));
            }
            Step::RemoveNetwork { network } => {
                let engine = self.machines.get_mut(&node).map(|machine| &mut machine.engine);
                let done = engine.map_or(Ok(()), |engine| engine.remove_network(network));
                let wake = Wake::Done { step, outcome: Outcome::Removed(done) };
                self.answer(node, boot, ForAgent::Wake(Box::new(wake)));
            }
            Step::RemoveVolume { volume } => {
                let engine = self.machines.get_mut(&node).map(|machine| &mut machine.engine);
                let done = engine.map_or(Ok(()), |engine| engine.remove_volume(volume));
                let wake = Wake::Done { step, outcome: Outcome::Removed(done) };
                self.answer(node, boot, ForAgent::Wake(Box::new(wake)));
            }
        }
    }

    /// The engine's answer travels to the agent that asked.
    fn answer(&mut self, node: NodeId, boot: Boot, what: ForAgent) {
        let after = self.chance.delay(10, 400);
        self.on_machine(node, after, OnMachine::Agent { boot, what });
    }

    fn work_done(
        &mut self,
        node: NodeId,
        boot: Boot,
        step: Step,
        (container, done): (Option<ContainerId>, Result<(), RuntimeError>),
    ) {
        let machine = self.machines.get_mut(&node);
        let lost = machine.is_some_and(|machine| {
            let lost = machine.lost_answers > 0;
            machine.lost_answers = machine.lost_answers.saturating_sub(1);
            lost
        });
        // Of a container whose making was not answered, nobody knows the id.
        let (container, done) = match step {
            Step::Create { .. } if lost => (None, Err(unreachable())),
            _ if lost => (container, Err(unreachable())),
            _ => (container, done),
        };
        self.answer(node, boot, ForAgent::Worked { step, container, done });
    }

    /// What a step on a container came to: its answer, and a look at the container.
    pub(crate) fn worked(
        &mut self,
        node: NodeId,
        container: Option<ContainerId>,
        done: Result<(), RuntimeError>,
    ) -> Outcome {
        let engine = self.machines.get(&node).map(|machine| &machine.engine);
        let shown = match (container, engine) {
            (Some(id), Some(engine)) => engine.inspect(&id),
            _ => Ok(None),
        };
        Outcome::Container { done, shown: shown.map(|found| found.map(Box::new)) }
    }

    fn create(&mut self, node: NodeId, boot: Boot, step: Step, subject: Option<Subject>) {
        let Some(subject) = subject else { return self.unassigned(node, boot, step) };
        let engine = self.machines.get_mut(&node).map(|machine| &mut machine.engine);
        let Some(engine) = engine else { return };
        let (id, done) = match engine.create(node, &Arc::clone(&subject.assignment)) {
            Ok(id) => (Some(id), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.check_volumes(node);
        self.work_done(node, boot, step, (id, done));
    }

    /// The set changed while the step waited for its turn.
    fn unassigned(&mut self, node: NodeId, boot: Boot, step: Step) {
        let message = "the task is not assigned any more".to_owned();
        let done = Err(RuntimeError::Refused { message });
        self.answer(node, boot, ForAgent::Worked { step, container: None, done });
    }

    fn start(
        &mut self,
        node: NodeId,
        boot: Boot,
        step: Step,
        (id, subject): (ContainerId, Option<Subject>),
    ) {
        let Some(subject) = subject else { return self.unassigned(node, boot, step) };
        let (now, wall) = (self.now, self.wall_of(node));
        if !self.has_lease(node, boot, &subject) {
            return self.work_done(node, boot, step, (Some(id), Err(unreachable())));
        }
        let behaviour = Behaviour::of(&subject.assignment.spec.image);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let engine = &mut machine.engine;
        let refusals = engine.starts_refused.entry(subject.assignment.spec.image.clone());
        let refusals = refusals.or_default();
        if engine.up && *refusals < behaviour.refused_starts() {
            *refusals += 1;
            *engine.ends.entry(subject.assignment.task).or_default() += 1;
            let message = "the runtime does not want to".to_owned();
            let done = Err(RuntimeError::Refused { message });
            return self.work_done(node, boot, step, (Some(id), done));
        }
        let started = engine.start(&id, (now, wall));
        let run = engine.containers.get(&id).map(|held| (held.run, held.shown.health));
        if let (Ok(true), Some((run, health))) = (&started, run) {
            if let Some((after, how)) = behaviour.end(&mut self.chance) {
                let ends = OnMachine::Ends { container: id.clone(), run, how };
                self.on_machine(node, after, ends);
            }
            if health == Health::Starting {
                let sick = behaviour == Behaviour::Sick;
                let health = if sick { Health::Unhealthy } else { Health::Healthy };
                let after = self.chance.between(500, 4_000);
                let verdict = OnMachine::Health { container: id.clone(), run, health };
                self.on_machine(node, after, verdict);
            }
            self.tell(node, &id, Happening::Changed);
            self.trace(|| format!("{node} engine: {id} runs"));
            self.check_start(node, &id);
        }
        self.work_done(node, boot, step, (Some(id), started.map(|_| ())));
    }

    /// Whether a start may be carried out: it is asked right before it is.
    fn has_lease(&self, node: NodeId, boot: Boot, subject: &Subject) -> bool {
        let Some(machine) = self.machines.get(&node) else { return true };
        let lives = machine.agent.as_ref().filter(|process| process.boot == boot);
        match lives {
            Some(process) => process.board.has_lease(&subject.assignment, machine.awake(self.now)),
            None => machine.leases_on_disk(self.now).allow(&subject.assignment),
        }
    }

    fn stop(
        &mut self,
        node: NodeId,
        boot: Boot,
        step: Step,
        (id, within): (ContainerId, Option<u64>),
    ) {
        let takes = self.chance.delay(STOPS_WITHIN, 10_000);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let answers = machine.engine.answers();
        let held = machine.engine.containers.get(&id).filter(|held| held.is_running());
        let Some((run, grace)) = held.map(|held| (held.run, held.assignment.spec.stop_grace_ms))
        else {
            return self.work_done(node, boot, step, (Some(id), answers));
        };
        if answers.is_err() {
            return self.work_done(node, boot, step, (Some(id), answers));
        }
        self.tell(node, &id, Happening::Killed);
        let stopped = OnMachine::Stopped { boot, step, container: id, run };
        self.on_machine(node, takes.min(within.unwrap_or(grace)), stopped);
    }

    pub(crate) fn stopped(
        &mut self,
        node: NodeId,
        boot: Boot,
        step: Step,
        (id, run): (ContainerId, u64),
    ) {
        let wall = self.wall_of(node);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let same = machine.engine.containers.get(&id).is_some_and(|held| held.run == run);
        if same && machine.engine.end(&id, TERMINATED, wall) {
            self.trace(|| format!("{node} engine: {id} has stopped"));
            self.tell(node, &id, Happening::Died);
        }
        let Some(machine) = self.machines.get(&node) else { return };
        let done = machine.engine.answers();
        self.work_done(node, boot, step, (Some(id), done));
    }

    pub(crate) fn pulled(&mut self, node: NodeId, boot: Boot, step: Step) {
        let Step::Fetch { image } = &step else { return };
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let engine = &mut machine.engine;
        let failed = engine.fetches_failed.entry(image.clone()).or_default();
        let fetched = if !engine.up {
            Err(PullError::Engine(unreachable()))
        } else if engine.images.contains(image) {
            Ok(())
        } else {
            match Behaviour::of(image).fetch_failures() {
                None => Err(PullError::NotFound { image: image.clone() }),
                Some(failures) if *failed < failures => {
                    *failed += 1;
                    Err(PullError::Limited { image: image.clone() })
                }
                Some(_) => {
                    engine.images.insert(image.clone());
                    Ok(())
                }
            }
        };
        let wake = Wake::Done { step, outcome: Outcome::Fetched(fetched) };
        let what = ForAgent::Wake(Box::new(wake));
        self.queue
            .push(self.now + 1, Event::Machine { node, what: OnMachine::Agent { boot, what } });
    }
}
