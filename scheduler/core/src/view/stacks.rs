//! `stack ls`, `stack history`, `token ls`, `events`.

use model::{
    Revision, StackName, StackSpec, Task, Timestamp,
    view::{ChangeAction, EventRow, RevisionRow, ServiceChange, StackRow, TokenRow},
};

use crate::{
    cluster::{Cluster, Rejection, Stack, changed_fields, same_container, same_volumes},
    view::{rollout, values::values},
};

/// The stacks, by name.
pub fn stacks(cluster: &Cluster) -> Vec<StackRow> {
    cluster.stacks().iter().map(|(name, stack)| row(cluster, name, stack)).collect()
}

fn row(cluster: &Cluster, name: &StackName, stack: &Stack) -> StackRow {
    let services: Vec<_> = stack.wanted().map(|(_, service)| service).collect();
    let progress = rollout(cluster, name);
    let ready = cluster.tasks_of(name).filter(|task| serves(task)).count();
    let replicas = services.iter().map(|service| service.spec.replicas);
    let held = cluster.tasks_of(name).filter(|task| task.holds_resources());
    let state = if stack.removal().is_some() {
        "removing"
    } else if !progress.failed.is_empty() {
        "degraded"
    } else if !progress.settled {
        "updating"
    } else {
        "running"
    };
    StackRow {
        stack: name.to_string(),
        revision: stack.revision().0,
        services: u32::try_from(services.len()).unwrap_or(u32::MAX),
        replicas: replicas.fold(0, u32::saturating_add),
        ready: u32::try_from(ready).unwrap_or(u32::MAX),
        memory: held.map(|task| task.spec.resources.reserved.memory).sum(),
        applied_at: stack.applied_at().map(Timestamp::to_rfc3339),
        state: state.to_owned(),
        problems: progress
            .failed
            .iter()
            .map(|(service, why)| format!("{service}: {why}"))
            .collect(),
    }
}

/// Whether the task does what it is for: it runs, or it has completed.
pub(super) fn serves(task: &Task) -> bool {
    let completed = task.status.state == model::TaskState::Stopped;
    !task.desired.is_leaving() && (task.is_ready() || completed)
}

/// The specifications a stack had, the latest first.
pub fn history(cluster: &Cluster, name: &StackName) -> Result<Vec<RevisionRow>, Rejection> {
    let stack = cluster.stack(name).ok_or_else(|| Rejection::UnknownStack(name.clone()))?;
    let mut before: Option<&StackSpec> = None;
    let mut rows = Vec::new();
    for past in stack.history() {
        rows.push(RevisionRow {
            revision: past.revision.0,
            applied_at: past.at.to_rfc3339(),
            cause: past.cause.clone(),
            changes: changes(before, &past.spec),
            current: past.revision == stack.revision(),
            ready: past.ready,
        });
        before = Some(&past.spec);
    }
    rows.reverse();
    Ok(rows)
}

/// What becomes of each service from one specification to the next, by name.
pub(super) fn changes(before: Option<&StackSpec>, after: &StackSpec) -> Vec<ServiceChange> {
    let mut changes: Vec<ServiceChange> = after
        .services
        .iter()
        .map(|(name, new)| {
            let old = before.and_then(|before| Some((before, before.services.get(name)?)));
            let Some((stack, old)) = old else {
                return change(ChangeAction::Create, name.as_str());
            };
            let mut fields = changed_fields(old, new);
            let same_data = same_volumes(stack, after, name);
            if !same_data && !fields.contains(&"volumes") {
                fields.push("volumes");
            }
            let action = if fields.is_empty() {
                ChangeAction::Keep
            } else if same_data && same_container(old, new) {
                ChangeAction::Update
            } else {
                ChangeAction::Replace
            };
            ServiceChange {
                values: values(&fields, old, new),
                fields: fields.into_iter().map(str::to_owned).collect(),
                ..change(action, name.as_str())
            }
        })
        .collect();
    let gone = before.into_iter().flat_map(|before| before.services.keys());
    let gone = gone.filter(|name| !after.services.contains_key(*name));
    changes.extend(gone.map(|name| change(ChangeAction::Remove, name.as_str())));
    changes.sort_by(|a, b| a.service.cmp(&b.service));
    changes
}

fn change(action: ChangeAction, service: &str) -> ServiceChange {
    ServiceChange { action, service: service.to_owned(), fields: Vec::new(), values: Vec::new() }
}

/// The join tokens, never their secrets.
pub fn tokens(cluster: &Cluster, now: Timestamp) -> Vec<TokenRow> {
    let rows = cluster.tokens().values().map(|token| {
        let state = if token.used_at.is_some() {
            "used"
        } else if token.ended_at.is_some() || now >= token.expires_at {
            "expired"
        } else {
            "valid"
        };
        TokenRow {
            id: token.id.to_string(),
            role: token.role.as_str().to_owned(),
            created_at: token.created_at.to_rfc3339(),
            expires_at: token.expires_at.to_rfc3339(),
            state: state.to_owned(),
        }
    });
    rows.collect()
}

/// What happened after that revision, the oldest first.
pub fn events(cluster: &Cluster, since: Revision) -> Vec<EventRow> {
    let rows =
        cluster.events().iter().filter(|event| event.revision > since).map(|event| EventRow {
            revision: event.revision.0,
            at: event.at.to_rfc3339(),
            severity: event.severity.as_str().to_owned(),
            kind: event.kind.clone(),
            stack: event.stack.as_ref().map(ToString::to_string),
            service: event.service.as_ref().map(ToString::to_string),
            task: event.task.map(|task| task.to_string()),
            node: event.node.map(|node| cluster.node_name(node)),
            message: event.message.clone(),
        });
    rows.collect()
}
