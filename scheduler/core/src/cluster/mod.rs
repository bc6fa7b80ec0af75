//! The replicated tables: what every scheduler agrees on. Only [`Cluster::apply`] changes them.

mod answer;
mod apply;
mod authority;
mod automatic;
mod command;
mod equality;
pub mod invariants;
pub mod limits;
mod memory;
mod operator;
mod recover;
mod request;
pub mod snapshot;
mod stack;
mod table;
mod tasks;
mod volume;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{
    Event, Generation, ImaginedNode, Liveness, Node, NodeId, NodeName, OperatorName, RequestId,
    Revision, ServiceName, StackName, Task, TaskId, Timestamp, TokenId, token::Token,
};

pub use answer::{Applied, Outcome, Rejection};
pub use authority::{
    Authorities, Authority, AuthorityPhase, FIRST_AUTHORITY, SchedulerStand, next_step,
};
pub use automatic::{AN_HOUR, AUTOMATIC_FORM, Automatic, AutomaticMove, MOST_AN_HOUR};
pub use command::{Change, Command, Entry, RolloutOutcome};
pub(crate) use equality::same_request;
pub use equality::{changed_fields, same_container};
pub use memory::{
    Kills, LEAST_RESERVED, LONG_ENOUGH_MS, MARGIN_PERCENT, MOST_RESERVED, Memory, NEEDS_FORM, Need,
    ServiceNeed,
};
pub(crate) use memory::{is_worth_changing, with_margin};
use request::Requests;
pub use request::{Answer, Remembered};
pub use stack::{FailedRollout, PastRevision, Removal, Service, Slot, Stack};
pub use table::{Rows, Table};
use tasks::Tasks;
pub use volume::Volume;
pub(crate) use {
    equality::same_volumes,
    volume::{task_volumes, writable_volumes},
};

/// The number of the scheduler that founds a cluster.
pub const FOUNDER: u64 = 1;

/// The number of the scheduler that joins with this token: no other token's, and never given again.
pub const fn scheduler_number(token: TokenId) -> u64 {
    FOUNDER.saturating_add(token.raw())
}

/// Everything the schedulers agree on. Equal entries in equal order make equal clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    id: String,
    name: String,
    revision: Revision,
    /// The revision after the last plan that was applied.
    planned: Revision,
    next_task: TaskId,
    next_node: NodeId,
    next_token: TokenId,
    stacks: Table<StackName, Stack>,
    tasks: Tasks,
    nodes: Table<NodeId, Node>,
    generations: BTreeMap<NodeId, Generation>,
    /// By the engine's name, which is what data is found by.
    volumes: BTreeMap<String, Volume>,
    tokens: BTreeMap<TokenId, Token>,
    requests: Requests,
    events: VecDeque<Event>,
    /// The form of entries that every scheduler reads.
    form: u32,
    /// What certificates and containers call the cluster; empty when that is its id.
    origin: String,
    /// Schedulers with a lower number are shut out.
    least_scheduler: u64,
    removed_schedulers: BTreeSet<u64>,
    /// `None` while the authority was never replaced.
    authorities: Option<Authorities>,
    /// Those that were added, with when.
    operators: BTreeMap<OperatorName, Timestamp>,
    /// The names of those that were removed.
    removed_operators: BTreeSet<OperatorName>,
    /// A copy to try changes on: whoever placed a task on it has just asked whether it fits.
    is_draft: bool,
    /// `None` while tasks were never to be moved with nobody asking for it.
    automatic: Option<Automatic>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// The cluster before its first entry.
    pub const fn new() -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            revision: Revision(0),
            planned: Revision(0),
            next_task: TaskId::new(1),
            next_node: NodeId::new(1),
            next_token: TokenId::new(1),
            stacks: Table::new(),
            tasks: Tasks::new(),
            nodes: Table::new(),
            generations: BTreeMap::new(),
            volumes: BTreeMap::new(),
            tokens: BTreeMap::new(),
            requests: Requests::new(),
            events: VecDeque::new(),
            form: 1,
            origin: String::new(),
            least_scheduler: 0,
            removed_schedulers: BTreeSet::new(),
            authorities: None,
            operators: BTreeMap::new(),
            removed_operators: BTreeSet::new(),
            is_draft: false,
            automatic: None,
        }
    }

    /// The cluster's id in hexadecimal; empty before it was founded.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What certificates and containers call the cluster: the id it was founded with. It stays when
    /// the cluster is recovered under a new id.
    pub fn origin(&self) -> &str {
        if self.origin.is_empty() { &self.id } else { &self.origin }
    }

    /// The form of entries that every scheduler reads; those of a higher one are not to be proposed.
    pub const fn form(&self) -> u32 {
        self.form
    }

    /// Whether this scheduler may take part no longer: it was removed, or left behind when the cluster
    /// was recovered.
    pub fn shuts_out(&self, scheduler: u64) -> bool {
        scheduler < self.least_scheduler || self.removed_schedulers.contains(&scheduler)
    }

    /// Why this scheduler may take part no longer, and what to do, in words for a person; `None` when it
    /// may.
    pub fn why_shut_out(&self, scheduler: u64) -> Option<String> {
        let name = &self.name;
        let what = if scheduler < self.least_scheduler {
            let id = &self.id;
            format!(
                "scheduler {scheduler} was left behind when cluster `{name}` was recovered as {id}: what it \
                 knows is of before"
            )
        } else if self.removed_schedulers.contains(&scheduler) {
            format!("scheduler {scheduler} was removed from cluster `{name}`")
        } else {
            return None;
        };
        Some(format!(
            "{what}\nhint: to make a scheduler of this machine again, move its data directory away and start \
             it with --join and a new token (`sisoctl token create --role scheduler`)"
        ))
    }

    /// The certificate authorities; `None` while the one it was founded with was never replaced.
    pub const fn authorities(&self) -> Option<&Authorities> {
        self.authorities.as_ref()
    }

    /// Counts the entries that changed something.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether anything changed since the cluster had that revision.
    pub fn changed_since(&self, revision: Revision) -> bool {
        revision < self.revision
    }

    /// The id the next task gets.
    pub const fn next_task(&self) -> TaskId {
        self.next_task
    }

    /// All stacks.
    pub const fn stacks(&self) -> &Table<StackName, Stack> {
        &self.stacks
    }

    /// The stack of that name.
    pub fn stack(&self, name: &StackName) -> Option<&Stack> {
        self.stacks.get(name)
    }

    /// The service as it is wanted now; `None` when its stack no longer has it.
    pub fn service(&self, stack: &StackName, service: &ServiceName) -> Option<&Service> {
        self.stacks.get(stack)?.services.get(service)
    }

    /// All tasks, ended ones that are still remembered included.
    pub const fn tasks(&self) -> &Table<TaskId, Task> {
        self.tasks.by_id()
    }

    /// The task of that id.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(id)
    }

    /// The tasks of a stack, by service and replica.
    pub fn tasks_of(&self, stack: &StackName) -> impl Iterator<Item = &Task> {
        self.tasks.of_stack(stack)
    }

    /// The services of a stack that have tasks, by name, each with them by replica, the older first.
    pub(crate) fn tasks_by_service(
        &self,
        stack: &StackName,
    ) -> impl Iterator<Item = (&ServiceName, impl Iterator<Item = &Task>)> {
        self.tasks.by_service(stack)
    }

    /// The tasks of a service, by replica.
    pub(crate) fn tasks_of_service(
        &self,
        stack: &StackName,
        service: &ServiceName,
    ) -> impl Iterator<Item = &Task> {
        self.tasks.of_service(stack, service)
    }

    /// The tasks of a replica, the older first.
    pub(crate) fn tasks_of_slot(
        &self,
        stack: &StackName,
        service: &ServiceName,
        slot: u32,
    ) -> impl Iterator<Item = &Task> {
        self.tasks.of_replica(stack, service, slot)
    }

    /// The tasks of the same replica, itself included.
    pub(crate) fn tasks_of_replica(&self, of: &Task) -> impl Iterator<Item = &Task> {
        self.tasks_of_slot(&of.stack, &of.service, of.slot)
    }

    /// The tasks placed on a node, ended ones included.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Task> {
        self.tasks.on(node)
    }

    /// All member nodes.
    pub const fn nodes(&self) -> &Table<NodeId, Node> {
        &self.nodes
    }

    /// The node of that id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// The node of that name.
    pub fn node_named(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.values().find(|node| node.name == *name)
    }

    /// The name of a node, or its id when it is no member.
    pub fn node_name(&self, id: NodeId) -> String {
        self.nodes.get(&id).map_or_else(|| id.to_string(), |node| node.name.to_string())
    }

    /// When what the node must have last changed.
    pub fn generation(&self, node: NodeId) -> Generation {
        self.generations.get(&node).copied().unwrap_or_default()
    }

    /// Named volumes that were given a home, by the engine's name.
    pub const fn volumes(&self) -> &BTreeMap<String, Volume> {
        &self.volumes
    }

    /// All remembered join tokens.
    pub const fn tokens(&self) -> &BTreeMap<TokenId, Token> {
        &self.tokens
    }

    /// What the request was answered, while that is remembered.
    pub fn answered(&self, request: RequestId) -> Option<Applied> {
        let known = self.requests.get(request)?;
        Some(Applied { revision: known.revision, result: known.answer.again() })
    }

    /// What happened, the oldest first.
    pub const fn events(&self) -> &VecDeque<Event> {
        &self.events
    }

    /// A copy to try changes on: without what no decision reads, such as events, remembered requests and
    /// tokens that were used. It moves no tasks by itself, for what is asked of it is what comes at once.
    pub(crate) fn draft(&self) -> Self {
        Self {
            id: self.id.clone(),
            name: self.name.clone(),
            stacks: self.stacks.clone(),
            tasks: self.tasks.clone(),
            nodes: self.nodes.clone(),
            generations: self.generations.clone(),
            volumes: self.volumes.clone(),
            tokens: self.open_tokens(),
            requests: Requests::new(),
            events: VecDeque::new(),
            origin: self.origin.clone(),
            removed_schedulers: BTreeSet::new(),
            authorities: None,
            operators: BTreeMap::new(),
            removed_operators: BTreeSet::new(),
            is_draft: true,
            automatic: None,
            ..*self
        }
    }

    fn open_tokens(&self) -> BTreeMap<TokenId, Token> {
        let open = self.tokens.iter().filter(|(_, token)| token.is_open());
        open.map(|(id, token)| (*id, token.clone())).collect()
    }

    /// The tasks that ask for a node.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Task> {
        self.tasks().values().filter(|task| {
            task.node.is_none() && !task.desired.is_leaving() && !task.status.state.is_over()
        })
    }

    /// Takes it for true in a draft that nodes came or went.
    pub(crate) fn assume_liveness(&mut self, now: Timestamp, changes: &[(NodeId, Liveness)]) {
        for (id, liveness) in changes {
            if let Some(node) = self.nodes.get_mut(id) {
                node.liveness = *liveness;
                node.since = now;
            }
        }
    }

    /// Adds a machine that never joined, to plan on; it gets the next id.
    pub(crate) fn imagine(&mut self, machine: &ImaginedNode) {
        let id = self.next_node;
        self.next_node = id.next().unwrap_or(id);
        self.nodes.insert(id, machine.node(id));
    }

    /// Imagines that the node went down then, after a long time without a fault.
    pub(crate) fn assume_lost(&mut self, node: NodeId, since: Timestamp) {
        self.assume_liveness(since, &[(node, Liveness::Down)]);
        if let Some(node) = self.nodes.get_mut(&node) {
            node.returned_at = None;
        }
    }
}
