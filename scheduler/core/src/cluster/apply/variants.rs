//! What agents find out about the platforms of images.

use model::{ServiceName, StackName, Task, TaskState};

use crate::cluster::{Cluster, limits};

impl Cluster {
    /// The image of that task has no variant for the platform of its node. It is kept only of the image that
    /// its service has now: what was found of an earlier one decides nothing any more.
    pub(super) fn learn_lack(&mut self, task: &Task) {
        let node = task.node.and_then(|node| self.nodes.get(&node));
        let platform = node.and_then(|node| node.inventory.platform());
        let stack = self.stacks.get_mut(&task.stack);
        let service = stack.and_then(|stack| stack.services.get_mut(&task.service));
        if let (Some(platform), Some(service)) = (platform, service)
            && service.spec.image == task.spec.image
            && service.lacks.len() < limits::MAX_LACKS
        {
            service.lacks.insert(platform);
        }
    }

    /// A person asks again: where a replica waits because of what its image lacks, it may have that by now,
    /// and is tried anew everywhere. What has its place keeps what is known, for it is not asked about.
    /// Answers whether anything is tried.
    pub(super) fn try_lacking(&mut self, name: &StackName, only: Option<&ServiceName>) -> bool {
        let Some(stack) = self.stacks.get(name) else { return false };
        let lacking = stack.services.iter().filter(|(service, held)| {
            !held.lacks.is_empty() && only.is_none_or(|only| only == *service)
        });
        let waits = |task: &&Task| {
            let found = task.status.failure.as_ref().is_some_and(|failure| failure.no_variant);
            let tries = found && task.status.state <= TaskState::Preparing;
            !task.desired.is_leaving() && (task.node.is_none() || tries)
        };
        // With the slots of those that found out: their agent says it once, so another task has to try.
        let waiting: Vec<(ServiceName, Vec<u32>)> = lacking
            .filter_map(|(service, _)| {
                let waiting = self.tasks_of_service(name, service).filter(waits);
                let waiting: Vec<&Task> = waiting.collect();
                let placed = waiting.iter().filter(|task| task.node.is_some());
                let slots = placed.map(|task| task.slot).collect();
                (!waiting.is_empty()).then(|| (service.clone(), slots))
            })
            .collect();
        let any = !waiting.is_empty();
        let Some(stack) = self.stacks.get_mut(name) else { return false };
        for (service, slots) in waiting {
            let Some(held) = stack.services.get_mut(&service) else { continue };
            held.lacks.clear();
            for slot in slots {
                if let Some(memory) = held.slots.get_mut(&slot) {
                    memory.least = memory.last.next();
                }
            }
        }
        any
    }
}
