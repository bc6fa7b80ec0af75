//! The one way the cluster changes. No clock, no randomness, no error: every entry has an answer,
//! and a refused entry changes nothing.

mod authorities;
mod automatic;
mod check;
mod memory;
mod moves;
mod nodes;
mod operators;
mod plan;
mod schedulers;
mod stacks;
mod tasks;
mod tokens;
mod variants;

use model::{
    Event, Node, NodeId, RequestId, ServiceName, StackName, Task, Timestamp,
    event::Severity,
    planted::{Bug, is_planted},
    token::Role,
};

use crate::cluster::{
    Answer, Applied, Cluster, Command, Entry, Outcome, Rejection, Remembered, limits,
};

type Answered = Result<Outcome, Rejection>;

impl Cluster {
    /// Folds one entry in and answers. The same request id is answered as the first time.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        let known = entry.request.and_then(|request| self.answered(request));
        if let Some(known) = known.filter(|_| !is_planted(Bug::RequestDoneTwice)) {
            return known;
        }
        // Events and stamps of this entry carry the revision it makes; it counts only if it does.
        let before = self.revision;
        self.revision = before.next();
        let result = self.run(entry.at, &entry.command);
        if matches!(result, Ok(Outcome::Unchanged)) || result.as_ref().is_err_and(changes_nothing) {
            self.revision = before;
        }
        if let Some(request) = entry.request {
            self.remember(request, entry.at, &result);
        }
        Applied { revision: self.revision, result }
    }

    fn run(&mut self, at: Timestamp, command: &Command) -> Answered {
        match command {
            Command::Found { id, name } => self.found(id, name),
            Command::ApplyStack { spec, basis } => self.apply_stack(at, spec, *basis),
            Command::RemoveStack { stack, volumes } => self.remove_stack(at, stack, *volumes),
            Command::RollbackStack { stack, to } => self.roll_back(at, stack, *to),
            Command::Scale { stack, service, replicas } => {
                self.scale(at, stack, service, *replicas)
            }
            Command::Restart { stack, service, slot } => {
                self.restart(at, stack, service.as_ref(), *slot)
            }
            Command::MoveTask { task, to } => self.move_task(at, *task, *to),
            Command::SetAutomatic { on } => Ok(self.set_automatic(at, *on)),
            Command::JoinNode { name, labels, address, token, secret_hash } => {
                self.use_token(at, (*token, Role::Node), secret_hash)?;
                let joined = self.join(at, name, labels, address);
                if let Ok(Outcome::Node(node)) = joined {
                    self.spend_token(at, *token);
                    self.joins_with_authority(node);
                }
                joined
            }
            Command::UpdateNode { node, inventory, address } => {
                self.update_node(at, *node, inventory, address)
            }
            Command::SetLiveness { node, liveness } => self.set_liveness(at, *node, *liveness),
            Command::SetSchedulable { node, schedulable } => {
                self.set_schedulable(at, *node, *schedulable)
            }
            Command::DrainNode { node, until } => self.drain(at, *node, *until),
            Command::LabelNode { node, set, remove } => self.label(at, *node, set, remove),
            Command::RemoveNode { node, tasks, volumes, down_since } => {
                self.remove_node(at, *node, (*tasks, *volumes), *down_since)
            }
            Command::ReportTasks { node, reports } => self.report(at, *node, reports),
            Command::CreateToken { role, secret_hash, expires_at } => {
                self.create_token(at, *role, *secret_hash, *expires_at)
            }
            Command::JoinScheduler { token, secret_hash } => {
                self.join_scheduler(at, *token, secret_hash)
            }
            Command::RaiseForm { form } => Ok(self.raise_form(*form)),
            Command::RemoveScheduler { scheduler } => self.remove_scheduler(at, *scheduler),
            Command::IntroduceAuthority { current, next } => {
                self.introduce_authority(at, current, next)
            }
            Command::AdvanceAuthority { authority, to, force } => {
                self.advance_authority(at, (*authority, *to), *force)
            }
            Command::HoldAuthority { node, authority } => self.hold_authority(*node, *authority),
            Command::AddOperator { name } => self.add_operator(at, name),
            Command::RemoveOperator { name } => self.remove_operator(at, name),
            Command::RevokeToken { token } => self.revoke_token(at, *token),
            Command::ConfirmVolumesRemoved { node, volumes, left } => {
                self.confirm_removed(at, *node, (volumes, left))
            }
            Command::RecordNeeds { needs } => self.record_needs(at, needs),
            Command::Plan { basis, changes } => self.take_plan(at, *basis, changes),
        }
    }

    fn found(&mut self, id: &str, name: &str) -> Answered {
        if !self.id.is_empty() {
            return Err(Rejection::AlreadyFounded);
        }
        id.clone_into(&mut self.id);
        name.clone_into(&mut self.name);
        Ok(Outcome::Done)
    }

    fn remember(&mut self, request: RequestId, at: Timestamp, result: &Answered) {
        let answer = Answer::of(result);
        let held = Remembered { at, revision: self.revision, answer };
        self.requests.remember(request, held, self.form);
    }

    /// Writes down what happened, at the revision being made.
    pub(super) fn note(&mut self, happened: Happened) {
        // What might be is no event.
        if self.is_draft {
            return;
        }
        while self.events.len() >= limits::MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            revision: self.revision,
            at: happened.at,
            severity: happened.severity,
            kind: happened.kind,
            stack: happened.stack,
            service: happened.service,
            task: happened.task,
            node: happened.node,
            message: bounded(&happened.message),
        });
    }

    /// What the node must have changed with this entry.
    fn touch(&mut self, node: NodeId) {
        self.generations.insert(node, model::Generation(self.revision.0));
    }
}

/// Whether a rejection left everything as it was.
const fn changes_nothing(why: &Rejection) -> bool {
    // The node's reports on its own tasks were taken.
    !matches!(why, Rejection::NotItsTask { .. })
}

/// The text, cut to what an event or status may hold.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(limits::MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// An event before it has its revision.
pub(super) struct Happened {
    at: Timestamp,
    severity: Severity,
    kind: String,
    stack: Option<StackName>,
    service: Option<ServiceName>,
    task: Option<model::TaskId>,
    node: Option<NodeId>,
    message: String,
}

impl Happened {
    pub(super) fn new(at: Timestamp, kind: &str, message: String) -> Self {
        Self {
            at,
            severity: Severity::Normal,
            kind: kind.to_owned(),
            stack: None,
            service: None,
            task: None,
            node: None,
            message,
        }
    }

    pub(super) fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    fn stack(self, stack: &StackName) -> Self {
        Self { stack: Some(stack.clone()), ..self }
    }

    fn service(self, service: &ServiceName) -> Self {
        Self { service: Some(service.clone()), ..self }
    }

    fn task(self, task: &Task) -> Self {
        let of = self.stack(&task.stack).service(&task.service);
        Self { task: Some(task.id), node: task.node, ..of }
    }

    fn node(self, node: &Node) -> Self {
        Self { node: Some(node.id), ..self }
    }
}
