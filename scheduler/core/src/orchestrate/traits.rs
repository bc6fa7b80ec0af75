//! Questions about one task or specification that every part of orchestration asks.

use model::{
    ServiceSpec, Task, TaskState,
    planted::{Bug, is_planted},
    spec::MountSource,
};

use crate::{
    cluster::{Cluster, Service, same_container, same_request, task_volumes, writable_volumes},
    placement,
};

/// Whether a new task may run beside the one it replaces: not when both would write to the same
/// data, listen on the same host port, or must never be two.
pub fn starts_first(spec: &ServiceSpec) -> bool {
    is_planted(Bug::WritersSideBySide)
        || writable_volumes(spec).next().is_none()
            && !spec.ports.iter().any(|port| port.published.is_some())
            && !spec.strict_singleton
}

/// The task that has to end before this one may run, if there is one.
pub fn in_the_way<'a>(cluster: &'a Cluster, task: &Task) -> Option<&'a Task> {
    if starts_first(&task.spec) {
        return None;
    }
    let alone = task.spec.strict_singleton;
    let lost = |other: &Task| other.status.state == TaskState::Lost;
    // What is bound to its node may run there still, beside what would write to the same data.
    let given_up = |other: &Task| lost(other) && is_movable(other);
    // It was given up only when its lease was over.
    let fenced = |other: &Task| given_up(other) && other.spec.strict_singleton;
    let others = cluster.tasks_of_service(&task.stack, &task.service).filter(|other| {
        (other.slot == task.slot || alone) && other.id != task.id && other.holds_resources()
    });
    // Of one that was lost with its node and is not bound to it, the successor is to serve now; one that
    // must be alone only when what was lost has surely ended.
    let mut others = others.filter(|other| if alone { !fenced(other) } else { !given_up(other) });
    others.next()
}

/// Whether the task may be made anew on another node when its own is down. Data stays where it is,
/// in a named volume or a directory it may write to. One that must never run twice moves as well, once
/// its lease is over.
pub fn is_movable(task: &Task) -> bool {
    let writes_to_the_node = task
        .spec
        .mounts
        .iter()
        .any(|mount| matches!(mount.source, MountSource::Bind { .. }) && !mount.read_only);
    let without = task.volumes.is_empty() || is_planted(Bug::HomeLeftWhenDown);
    without && !writes_to_the_node
}

/// Whether the task waits in vain for its image, which has no variant for the platform of its node.
pub fn lacks_variant(cluster: &Cluster, service: &Service, task: &Task) -> bool {
    let found = task.status.failure.as_ref().is_some_and(|failure| failure.no_variant);
    let platform = || cluster.node(task.node?)?.inventory.platform();
    found
        && task.status.state <= TaskState::Preparing
        // Where that could not be kept, another task would come to the same node again.
        && platform().is_some_and(|platform| service.lacks.contains(&platform))
}

/// Whether the task is what its service wants now, so that it need not be replaced.
pub fn is_current(cluster: &Cluster, service: &Service, task: &Task) -> bool {
    let least = service.slots.get(&task.slot).map(|slot| slot.least);
    if least.is_some_and(|least| task.epoch < least) {
        return false;
    }
    if lacks_variant(cluster, service, task) {
        return false;
    }
    if task.spec_revision == service.spec_revision {
        return true;
    }
    let spec = cluster.stack(&task.stack).and_then(|stack| stack.spec());
    let same_data = spec.is_some_and(|spec| task_volumes(spec, &service.spec) == task.volumes);
    // Who has no place yet goes by what is wanted now.
    if task.node.is_none() {
        return same_data && same_request(&task.spec, &service.spec);
    }
    // Constraints are asked again only when they changed: a label taken away moves nothing.
    let node = task.node.and_then(|node| cluster.node(node));
    let wanted = &service.spec.placement.constraints;
    let may_stay = *wanted == task.spec.placement.constraints
        || node.is_none_or(|node| wanted.iter().all(|wanted| placement::holds(wanted, node)));
    same_data && may_stay && same_container(&task.spec, &service.spec)
}
