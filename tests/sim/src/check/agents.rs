//! What agents do and say.

use model::{NodeId, TaskId, TaskState, TaskStatus};
use node_agent::reconcile::Step;

use crate::world::World;

/// How long after the disk took writes again the ledger may lag behind, in milliseconds.
const LEDGER_LAG: u64 = 12_000;

impl World {
    /// Before a step begins: what is wanted and runs is never stopped.
    pub(crate) fn check_step(&mut self, node: NodeId, step: &Step) {
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
        let wanted = self.log.reference.task(held.shown.task).is_some_and(|known| {
            known.desired == model::Desired::Run && !known.status.state.is_over()
        });
        if wanted && alone && !given_up && held.is_running() {
            let text = format!("{node} stops {}, which is wanted", held.name());
            self.broken(text);
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
