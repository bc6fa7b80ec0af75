//! What agents do and say.

use model::{Assignment, Desired, NodeId, TaskId, TaskState, TaskStatus, lease::LEASE_MS};
use node_agent::reconcile::Step;

use crate::world::World;

/// How long after the disk took writes again the ledger may lag behind, in milliseconds.
const LEDGER_LAG: u64 = 12_000;

impl World {
    /// Before a step begins: what is wanted and runs is never stopped.
    pub(crate) fn check_step(&mut self, node: NodeId, step: &Step) {
        if let Step::Fence { task, .. } = step {
            return self.check_fence(node, *task);
        }
        let (Step::Stop { task, container } | Step::Remove { task, container }) = step else {
            return;
        };
        let Some(machine) = self.machines.get(&node) else { return };
        let Some(held) = machine.engine.containers.get(container) else { return };
        let others = machine.engine.containers.values();
        let alone = others.filter(|other| other.shown.task == held.shown.task).count() == 1;
        let given_up = machine
            .agent
            .as_ref()
            .and_then(|process| process.mind.attempts().get(task))
            .is_some_and(node_agent::attempt::Attempt::is_over);
        let wanted =
            self.log.reference.task(held.shown.task).is_some_and(|known| {
                known.desired == Desired::Run && !known.status.state.is_over()
            });
        if wanted && alone && !given_up && held.is_running() {
            let text = format!("{node} stops {}, which is wanted", held.name());
            self.broken(text);
        }
    }

    /// What must never run twice runs for as long as its lease by each of its machine's clocks, unless a
    /// newer one is to run in its place.
    fn check_fence(&mut self, node: NodeId, task: TaskId) {
        let Some(machine) = self.machines.get(&node) else { return };
        let set = machine.agent.as_ref().and_then(|process| process.mind.set());
        let assigned = |task| set.and_then(|set| set.tasks.iter().find(|held| held.task == task));
        let gives_way = assigned(task).is_none_or(|old| {
            let newer = |new: &&Assignment| {
                (&new.stack, &new.service, new.slot) == (&old.stack, &old.service, old.slot)
                    && new.epoch > old.epoch
                    && new.desired == Desired::Run
            };
            set.is_some_and(|set| set.tasks.iter().any(|new| newer(&new)))
        });
        if gives_way {
            return;
        }
        let now = machine.awake(self.now);
        let renewed = machine.agent.as_ref().and_then(|process| process.renewed.get(&task));
        let Some(renewed) = renewed.filter(|then| then.boot <= now.boot) else { return };
        let hardware = now.hardware.zip(renewed.hardware);
        let hardware = hardware.map(|(now, then)| now.saturating_sub(then) * 1_000);
        let passed = (now.boot - renewed.boot).max(hardware.unwrap_or_default());
        if let Some(left) = LEASE_MS.checked_sub(passed).filter(|left| *left > 0) {
            self.broken(format!("{node} ends {task} with {left} ms of its lease left"));
        }
    }

    /// Before statuses are reported: they tell what is.
    pub(crate) fn check_reports(&mut self, node: NodeId, news: &[(TaskId, TaskStatus)]) {
        let Some(machine) = self.machines.get(&node) else { return };
        let engine = &machine.engine;
        let wrong = news.iter().find_map(|(task, status)| {
            let running = status.state == TaskState::Running;
            let id = status.container.as_deref().filter(|_| running);
            let held = engine.containers.values().find(|held| Some(&*held.shown.id.0) == id);
            if held.is_some_and(|held| held.assignment.task != *task) {
                return Some(format!("{node} takes {id:?} for a container of {task}"));
            }
            let ends = engine.ends.get(task).copied().unwrap_or_default();
            (status.restarts > ends).then(|| {
                let counted = status.restarts;
                format!("{node} counts {counted} restarts of {task}, which ended {ends} times")
            })
        });
        if let Some(text) = wrong {
            self.broken(text);
        }
    }

    /// After the ledger was written, or could not be: what is acted on is in it, and is no older than
    /// what was acted on before.
    pub(crate) fn check_ledger(&mut self, node: NodeId) {
        let process = self.machines.get_mut(&node).and_then(|machine| machine.agent.as_mut());
        if let Some(process) = process
            && let Some(now) = process.mind.set().map(|set| set.generation)
        {
            let before = std::mem::replace(&mut process.generation, now);
            if now < before {
                return self.broken(format!("{node} went back to {now:?} from {before:?}"));
            }
        }
        let Some(machine) = self.machines.get(&node) else { return };
        let recent = machine.disk_full || self.now < machine.disk_freed_at + LEDGER_LAG;
        let set = machine.agent.as_ref().and_then(|process| process.mind.set());
        let Some(set) = set.filter(|_| !recent) else { return };
        if machine.ledger_generation != Some(set.generation) {
            let held = machine.ledger_generation;
            let text = format!("{node} acts on {:?}, its ledger holds {held:?}", set.generation);
            self.broken(text);
        }
    }
}
