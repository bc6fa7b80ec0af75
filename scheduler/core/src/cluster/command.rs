//! What may be asked of the cluster: the entries of the replicated log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    Desired, Epoch, Inventory, Liveness, NodeId, NodeName, OperatorName, RequestId, Revision,
    ServiceName, StackName, StackSpec, TaskId, TaskReport, Timestamp, TokenId, event::Severity,
    task::Decision, token::Role,
};

use super::{AuthorityPhase, ServiceNeed};

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was proposed, by the proposer's clock: `apply` has none of its own.
    pub at: Timestamp,
    /// Chosen by whoever asks, so that asking twice does it once.
    pub request: Option<RequestId>,
    /// What is asked.
    pub command: Command,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time is looked at, and none is kept")]
pub enum Command {
    /// The first entry of a cluster gives it its identity.
    Found {
        /// The cluster's id in hexadecimal.
        id: String,
        /// Its name, for people.
        name: String,
    },
    /// Make the stack what `spec` says.
    ApplyStack {
        /// What a person wants.
        spec: StackSpec,
        /// The stack revision the person saw (0: none); refused when it is another by now.
        basis: Option<Revision>,
    },
    /// Stop all tasks of the stack, then forget it.
    RemoveStack {
        /// Which stack.
        stack: StackName,
        /// Whether the data of its volumes goes too; external volumes never do.
        volumes: bool,
    },
    /// Make an earlier specification the current one, as a new revision.
    RollbackStack {
        /// Which stack.
        stack: StackName,
        /// Which revision; the latest one with another specification when absent.
        to: Option<Revision>,
    },
    /// Change the number of replicas, as a new revision.
    Scale {
        /// Which stack.
        stack: StackName,
        /// Which service.
        service: ServiceName,
        /// How many.
        replicas: u32,
    },
    /// Replace tasks by new ones of the same specification.
    Restart {
        /// Which stack.
        stack: StackName,
        /// Which service; all when absent.
        service: Option<ServiceName>,
        /// Which replica, from 1; all when absent.
        slot: Option<u32>,
    },
    /// Move a task to a node that is named: a successor takes over from it there, as at a replacement.
    /// When that fails, the task stays. Asked again, it is the same move.
    MoveTask {
        /// Which task.
        task: TaskId,
        /// Where it is to be.
        to: NodeId,
    },
    /// Turn the automatic mode of `rebalance` on or off. Turned on again it goes on at once after a move
    /// that failed.
    SetAutomatic {
        /// Whether tasks are moved with nobody asking for it.
        on: bool,
    },
    /// A machine joins with a token; answers its new id, which is never used again.
    JoinNode {
        /// Its name.
        name: NodeName,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Where its agent can be reached.
        address: String,
        /// The token's public name.
        token: TokenId,
        /// SHA-256 of the token's secret.
        secret_hash: [u8; 32],
    },
    /// An agent registered or what its machine offers changed.
    UpdateNode {
        /// Which node, from its certificate.
        node: NodeId,
        /// What it offers.
        inventory: Inventory,
        /// Where its agent can be reached.
        address: String,
    },
    /// Heartbeats stopped or came back.
    SetLiveness {
        /// Which node.
        node: NodeId,
        /// What it is now.
        liveness: Liveness,
    },
    /// Cordon, or uncordon and end a drain.
    SetSchedulable {
        /// Which node.
        node: NodeId,
        /// Whether new tasks may be placed there.
        schedulable: bool,
    },
    /// Cordon a node and move its tasks to others.
    DrainNode {
        /// Which node.
        node: NodeId,
        /// When what has not moved by then stays.
        until: Timestamp,
    },
    /// Change a node's labels. What runs stays, whatever its constraints say of the new ones.
    LabelNode {
        /// Which node.
        node: NodeId,
        /// Labels it has from now on.
        set: BTreeMap<String, String>,
        /// Labels it has no longer.
        remove: BTreeSet<String>,
    },
    /// A machine is no member any more; its id is never used again.
    RemoveNode {
        /// Which node.
        node: NodeId,
        /// Whether the tasks of a node that is down are given up.
        tasks: bool,
        /// Whether the volumes that live there are given up.
        volumes: bool,
        /// Of a node that is down the time it has been so, when whoever leads knows that all leases of its
        /// strict singletons are over ([`lease::all_over`](crate::lease::all_over)).
        down_since: Option<Timestamp>,
    },
    /// What an agent observed; it may only speak of its own tasks.
    ReportTasks {
        /// Which node, from its certificate.
        node: NodeId,
        /// What it observed.
        reports: Vec<TaskReport>,
    },
    /// Make a join token; answers its id.
    CreateToken {
        /// What it lets its holder become.
        role: Role,
        /// SHA-256 of its secret.
        secret_hash: [u8; 32],
        /// When it ends.
        expires_at: Timestamp,
    },
    /// A token must not be used any more.
    RevokeToken {
        /// Which token.
        token: TokenId,
    },
    /// A scheduler joins; its number follows from its token ([`scheduler_number`]).
    ///
    /// [`scheduler_number`]: crate::cluster::scheduler_number
    JoinScheduler {
        /// The token it joins with.
        token: TokenId,
        /// SHA-256 of the token's secret.
        secret_hash: [u8; 32],
    },
    /// Every scheduler reads entries up to this form now: they may be written from here on.
    RaiseForm {
        /// The form.
        form: u32,
    },
    /// A scheduler is no member any more, whatever its certificate says; its number is never used
    /// again.
    RemoveScheduler {
        /// Which.
        scheduler: u64,
    },
    /// Another authority is trusted beside the one there is, whose place it is to take. Its key lies on the
    /// disk of whoever proposes this.
    IntroduceAuthority {
        /// The certificate of the one there is, DER.
        current: Vec<u8>,
        /// That of the other.
        next: Vec<u8>,
    },
    /// The newest authority takes the next step; everybody who has to be is ready for it.
    AdvanceAuthority {
        /// Its number.
        authority: u64,
        /// The step.
        to: AuthorityPhase,
        /// Whoever still needs the older one is given up.
        force: bool,
    },
    /// A node trusts all authorities, and holds a certificate of this one.
    HoldAuthority {
        /// Which node, from its certificate.
        node: NodeId,
        /// The authority's number.
        authority: u64,
    },
    /// Somebody else is given a certificate of their own.
    AddOperator {
        /// The name in it.
        name: OperatorName,
    },
    /// Whoever has a certificate of that name is nobody from now on.
    RemoveOperator {
        /// The name.
        name: OperatorName,
    },
    /// An agent removed the data of volumes it was asked to remove.
    ConfirmVolumesRemoved {
        /// Which node, from its certificate.
        node: NodeId,
        /// The engine's names of the volumes.
        volumes: Vec<String>,
        /// The engine's names of those that were left: the cluster did not make them.
        left: Vec<String>,
    },
    /// What services were seen to need. Proposed by the leader, seldom: when it is markedly other than what
    /// is known ([`needs`](crate::needs)).
    RecordNeeds {
        /// Of which services.
        needs: Vec<ServiceNeed>,
    },
    /// What the leader decided. Each change is checked again; one that no longer holds is refused
    /// alone, but a plan older than the last one that was applied is refused as a whole.
    Plan {
        /// The cluster revision it was made on.
        basis: Revision,
        /// The changes, in order.
        changes: Vec<Change>,
    },
}

/// One decision of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A replica gets a task of its service's current specification.
    CreateTask {
        /// Its id, not used before.
        task: TaskId,
        /// Its stack.
        stack: StackName,
        /// Its service.
        service: ServiceName,
        /// Which replica, from 1.
        slot: u32,
        /// Higher than every epoch of that replica before.
        epoch: Epoch,
        /// The stack revision of the specification it was decided on.
        spec_revision: Revision,
    },
    /// A pending task gets its node.
    Place {
        /// Which task.
        task: TaskId,
        /// Where it goes.
        node: NodeId,
        /// Why: large, and kept by whoever has a copy of the change.
        decision: Arc<Decision>,
    },
    /// What is wanted of a task moves on.
    SetDesired {
        /// Which task.
        task: TaskId,
        /// What is wanted now.
        desired: Desired,
    },
    /// The task's node is gone and nobody waits for it any more.
    MarkLost {
        /// Which task.
        task: TaskId,
        /// Since when its node is down. Named for a task that must never run twice: its lease is over
        /// only while that lasts.
        down_since: Option<Timestamp>,
    },
    /// A task that is over or was never placed is no longer remembered.
    Forget {
        /// Which task.
        task: TaskId,
    },
    /// How the replacement of a service's tasks went.
    RecordRollout {
        /// Its stack.
        stack: StackName,
        /// Which service.
        service: ServiceName,
        /// How it went.
        outcome: RolloutOutcome,
    },
    /// Everything the current specification of a stack wants is ready.
    MarkReady {
        /// Which stack.
        stack: StackName,
        /// Its revision.
        revision: Revision,
    },
    /// Nothing that could move is on a drained node any more, or its time is over.
    EndDrain {
        /// Which node.
        node: NodeId,
    },
    /// The time of a join token that nobody used is over.
    EndToken {
        /// Which token.
        token: TokenId,
    },
    /// All tasks of a removed stack are gone.
    ForgetStack {
        /// Which stack.
        stack: StackName,
    },
    /// A task goes to another node by itself, as if somebody had asked for it ([`Command::MoveTask`]).
    MoveTask {
        /// Which task.
        task: TaskId,
        /// Where it is to be.
        to: NodeId,
        /// What for: `so that shop/db.1 has room`.
        reason: String,
    },
    /// A task that is moved on request serves where it was to be, or will not.
    EndMove {
        /// The task that was to take over.
        task: TaskId,
        /// Why it was given up, in one sentence; nothing when it serves.
        failed: Option<String>,
    },
    /// Something a person should read in the events.
    Note {
        /// How much it matters.
        severity: Severity,
        /// A short word for filters.
        kind: String,
        /// The task concerned.
        task: TaskId,
        /// One sentence.
        message: String,
    },
}

/// How the replacement of a service's tasks went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutOutcome {
    /// A new task failed; nothing more is tried until a person asks again.
    Failed {
        /// The stack revision that failed.
        revision: Revision,
        /// One sentence.
        reason: String,
    },
}
