//! What people and scripts are shown. The serde form of these types is the JSON contract: a field
//! renamed here breaks scripts. Sizes are bytes, CPUs decimals, times RFC 3339, absent is null.

mod moving;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use moving::{
    AutomaticRow, AutomaticView, DrainMove, DrainStay, DrainView, RebalanceMove, RebalanceView,
};

use crate::{Bytes, MilliCpu};

mod sizing;

pub use sizing::{AdviceRow, MemorySource};

/// Which of two tasks of one replica it is, while one hands over to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Succession {
    /// The one that is replaced.
    Old,
    /// The one that replaces it.
    New,
}

/// A row of `ps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct TaskRow {
    pub stack: String,
    pub service: String,
    pub replica: u32,
    pub task: String,
    pub node: Option<String>,
    pub desired: String,
    pub state: String,
    pub health: Option<String>,
    pub image: String,
    pub memory_reservation: Bytes,
    pub memory_limit: Bytes,
    pub memory_used: Option<Bytes>,
    #[serde(with = "decimal_cpu")]
    pub cpus: MilliCpu,
    pub container: Option<String>,
    pub started_at: Option<String>,
    pub restarts: u32,
    pub epoch: u64,
    pub error: Option<String>,
    /// Stack revision of its specification.
    pub revision: u64,
    /// Whether it is running and, where it has a health check, healthy.
    pub ready: bool,
    /// Image bytes fetched and to fetch, while preparing.
    pub pull: Option<PullProgress>,
    /// Why it waits, when it waits for something: a dependency, room, a backoff.
    pub waiting_for: Option<String>,
    /// Set while its replica has another task beside it.
    pub succession: Option<Succession>,
}

/// How far an image has been fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct PullProgress {
    pub done: Bytes,
    pub total: Bytes,
}

/// A row of `node ls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct NodeRow {
    pub name: String,
    pub id: String,
    pub state: String,
    pub schedulable: bool,
    pub labels: BTreeMap<String, String>,
    pub address: String,
    pub arch: String,
    pub engine: String,
    pub version: String,
    pub memory: NodeMemory,
    pub cpus: NodeCpus,
    pub tasks: u32,
    pub disk: NodeDisk,
    /// False while the container engine does not answer.
    pub engine_ready: bool,
    /// Until when its tasks are moved away, while they are.
    pub drain_until: Option<String>,
    /// What else it offers a number of, by kind; absent in JSON when it offers nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, NodeGeneric>,
}

/// A generic resource of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct NodeGeneric {
    pub capacity: u64,
    pub reserved: u64,
}

/// Memory of a node. `limits` may exceed `allocatable`: that is burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct NodeMemory {
    pub capacity: Bytes,
    pub reserve: Bytes,
    pub allocatable: Bytes,
    pub reserved: Bytes,
    pub limits: Bytes,
    pub used: Option<Bytes>,
}

/// CPUs of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct NodeCpus {
    #[serde(with = "decimal_cpu")]
    pub capacity: MilliCpu,
    #[serde(with = "decimal_cpu")]
    pub reserved: MilliCpu,
}

/// The disk that holds the engine's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct NodeDisk {
    pub capacity: Bytes,
    pub free: Bytes,
}

/// `placement`: who sits where and what is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct PlacementView {
    pub nodes: Vec<PlacementNode>,
    pub pending: Vec<PlacedTask>,
}

/// One node of [`PlacementView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct PlacementNode {
    pub name: String,
    pub allocatable: Bytes,
    pub reserved: Bytes,
    pub free: Bytes,
    pub tasks: Vec<PlacedTask>,
    /// What else it offers a number of, by kind; absent in JSON when it offers nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, NodeGeneric>,
}

/// One task of [`PlacementView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct PlacedTask {
    pub task: String,
    pub stack: String,
    pub service: String,
    pub replica: u32,
    pub memory: Bytes,
    /// For a pending task: why, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Set while its replica has another task beside it.
    pub succession: Option<Succession>,
    /// Generic resources it reserves, by kind; absent in JSON when there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, u64>,
}

/// What would be done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeAction {
    /// It is new.
    Create,
    /// Its number of replicas or its labels change; what runs stays.
    Update,
    /// Its tasks are replaced.
    Replace,
    /// It is removed.
    Remove,
    /// It stays as it is.
    Keep,
}

impl ChangeAction {
    /// The word shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::Keep => "keep",
        }
    }
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct ServiceChange {
    pub action: ChangeAction,
    pub service: String,
    /// Which fields differ, by their Compose path (`image`, `deploy.resources.limits.memory`).
    pub fields: Vec<String>,
    /// From what to what they change.
    pub values: Vec<FieldChange>,
}

/// How a field of a service changes. Long values are shortened; values that may be secret are
/// withheld, and the field then names what holds them (`environment.DB_PASSWORD`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct FieldChange {
    pub field: String,
    /// `added`, `removed`, `changed`.
    pub what: String,
    /// Null when there was none, or when it is withheld.
    pub old: Option<String>,
    /// Null when there is none, or when it is withheld.
    pub new: Option<String>,
}

/// Why a node was or was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The node's name.
    pub node: String,
    /// Whether the task fits there.
    pub fits: bool,
    /// In words, with amounts.
    pub reason: String,
    /// What was short or compared: `memory`, `cpus`, `generic`, `port`, `constraint`, `volume`, …
    pub resource: Option<String>,
    /// Bytes, thousandths of a CPU or units of a generic resource needed.
    pub needed: Option<u64>,
    /// What is free of it.
    pub free: Option<u64>,
    /// How much is missing.
    pub short: Option<u64>,
    /// Its score, compared left to right, lowest wins; null when it does not fit.
    pub score: Option<Vec<i64>>,
}

/// Where one replica goes, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct ReplicaPlacement {
    pub stack: String,
    pub service: String,
    pub replica: u32,
    pub node: Option<String>,
    /// The node it would leave, where something is imagined.
    #[serde(rename = "from")]
    pub origin: Option<String>,
    pub memory: Bytes,
    /// Where the figure came from; null from a scheduler that does not say.
    pub memory_basis: Option<MemorySource>,
    #[serde(with = "decimal_cpu")]
    pub cpus: MilliCpu,
    pub verdicts: Vec<Verdict>,
    /// What would make it fit, the cheapest first.
    pub fixes: Vec<String>,
    /// Set while its replica has another task beside it.
    pub succession: Option<Succession>,
    /// Generic resources it reserves, by kind; absent in JSON when there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, u64>,
    /// On how many nodes it does not fit, of all there are, by [`Verdict::resource`]; only of one that has no
    /// node, absent in JSON otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub misfits: BTreeMap<String, u64>,
}

/// A node before and after a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct PlanNode {
    pub name: String,
    pub allocatable: Bytes,
    pub reserved_before: Bytes,
    pub reserved_after: Bytes,
    pub free_after: Bytes,
    /// `STACK/SERVICE.N` of the tasks that would be there.
    pub tasks: Vec<String>,
}

/// `plan`, `apply --dry-run`: what would happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct PlanView {
    pub stack: String,
    /// The stack revision applying this would make (or the current one when nothing changes).
    pub revision: u64,
    pub changes: Vec<ServiceChange>,
    pub placements: Vec<ReplicaPlacement>,
    pub nodes: Vec<PlanNode>,
    pub unplaced: u32,
    pub warnings: Vec<String>,
    /// How good it is; `None` of a scheduler of an earlier version.
    pub outlook: Option<OutlookView>,
}

/// How good a plan is while nothing else moves: the memory that has a place counts, by priority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct OutlookView {
    /// Whether it is proven that no plan gives more a place.
    pub optimal: bool,
    /// So much more memory could have a place at most.
    pub off: Bytes,
    /// What is short, where no plan has a place for everything and that is known.
    pub short: Option<String>,
}

/// `whatif`: what the cluster would come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct WhatIfView {
    /// The stack that would be applied, when it is one.
    pub stack: Option<String>,
    /// The revision that would make.
    pub revision: Option<u64>,
    pub changes: Vec<ServiceChange>,
    /// What would move, what would be nowhere, and all of a stack that would be applied.
    pub placements: Vec<ReplicaPlacement>,
    pub nodes: Vec<PlanNode>,
    pub unplaced: u32,
    pub warnings: Vec<String>,
}

/// `explain`: a placement with the task it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct ExplainView {
    /// With the verdicts of now, also of a task that has its place.
    #[serde(flatten)]
    pub placement: ReplicaPlacement,
    /// Those that were kept when it was placed; absent in JSON when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided: Vec<Verdict>,
    pub task: Option<String>,
    pub decided_at: Option<String>,
    pub revision: Option<u64>,
    pub state: String,
    /// The last thing that went wrong, or what it waits for.
    pub error: Option<String>,
}

/// `status`: the cluster on one screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct StatusView {
    pub cluster: String,
    pub healthy: bool,
    pub leader: Option<String>,
    pub schedulers: Vec<SchedulerRow>,
    /// How many nodes are in each state.
    pub nodes: BTreeMap<String, u32>,
    /// How many tasks are in each state.
    pub tasks: BTreeMap<String, u32>,
    pub problems: Vec<Problem>,
    /// What the loss of one node would leave without a place; nodes that can be spared are not named.
    pub losses: Vec<LossRow>,
    /// How many nodes were not looked at for that: in a large cluster it would take too long.
    pub losses_unknown: u32,
    /// The nodes that take nothing new, by name.
    #[serde(default)]
    pub cordoned: Vec<String>,
    /// Moves that nobody asked for; null from schedulers that know of none.
    #[serde(default)]
    pub automatic_rebalance: Option<AutomaticView>,
}

/// A node whose loss would leave something without a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct LossRow {
    pub node: String,
    /// `STACK/SERVICE.N` of what no other node has room for.
    pub homeless: Vec<String>,
    /// What that reserves.
    pub memory: Bytes,
    /// `STACK/SERVICE.N` of what its data binds to the node.
    pub bound: Vec<String>,
    /// The least memory of a further machine with which nothing would be homeless; null when none would do.
    pub cure: Option<Bytes>,
}

/// One voting member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct SchedulerRow {
    pub id: u64,
    pub address: String,
    pub role: String,
    pub version: String,
    pub applied: u64,
}

/// A scheduler as it answers now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct VoterRow {
    pub id: u64,
    pub address: String,
    /// `leader`, `follower`, or `joining` before it votes.
    pub role: String,
    pub reachable: bool,
    /// Entries of the log it lacks; `None` when nobody knows.
    pub behind: Option<u64>,
    pub version: Option<String>,
    /// Why it cannot be reached, or takes nothing.
    pub error: Option<String>,
}

/// The certificate authorities of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct AuthoritiesView {
    /// The newest last: one, or two while one takes the place of the other.
    pub authorities: Vec<AuthorityRow>,
    /// `settled`, `introduced`, `moving` or `finishing`.
    pub phase: String,
    /// Who holds no certificate of the newest one that signs.
    pub behind: Vec<HolderRow>,
}

/// A certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct AuthorityRow {
    pub number: u64,
    /// SHA-256 of its certificate, in hexadecimal.
    pub fingerprint: String,
    /// `current` signs, `coming` will, `leaving` did.
    pub state: String,
    pub since: String,
    pub until: String,
}

/// Somebody who needs an older authority than the newest one that signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct HolderRow {
    /// `node`, `scheduler` or `context`.
    pub kind: String,
    pub name: String,
    /// Whose certificate is held; `None` when nobody knows.
    pub authority: Option<u64>,
    /// Whether it is shut out when the older one goes; `false` when it is so already.
    pub needed: bool,
    pub why: String,
}

/// Somebody who may ask for things, with a certificate of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct OperatorRow {
    pub name: String,
    /// `None` for the one whose certificate schedulers write beside their data.
    pub added_at: Option<String>,
    /// As far as the scheduler that leads has seen.
    pub last_used_at: Option<String>,
    pub last_used_from: Option<String>,
    /// Whether it is whoever asks.
    pub own: bool,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct Problem {
    pub what: String,
    pub cause: String,
    pub since: Option<String>,
    pub fix: String,
}

/// A row of `stack ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct StackRow {
    pub stack: String,
    pub revision: u64,
    pub services: u32,
    pub replicas: u32,
    pub ready: u32,
    pub memory: Bytes,
    pub applied_at: Option<String>,
    /// `running`, `updating`, `degraded`, `removing`.
    pub state: String,
    /// Why it is not running as wanted, per service.
    pub problems: Vec<String>,
}

/// A row of `stack history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct RevisionRow {
    pub revision: u64,
    pub applied_at: String,
    /// What made it: `apply`, `scale`, `rollback to 3`.
    pub cause: String,
    pub changes: Vec<ServiceChange>,
    pub current: bool,
    /// Whether everything it wants has been ready at once.
    pub ready: bool,
}

/// A row of `token ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct TokenRow {
    pub id: String,
    pub role: String,
    pub created_at: String,
    pub expires_at: String,
    /// `valid`, `used`, `expired`.
    pub state: String,
}

/// A row of `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the contract and say what they hold")]
pub struct EventRow {
    pub revision: u64,
    pub at: String,
    pub severity: String,
    pub kind: String,
    pub stack: Option<String>,
    pub service: Option<String>,
    pub task: Option<String>,
    pub node: Option<String>,
    pub message: String,
}

/// CPUs as decimals (`1.5`) in JSON, thousandths inside.
mod decimal_cpu {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::MilliCpu;

    #[allow(
        clippy::cast_precision_loss,
        clippy::trivially_copy_pass_by_ref,
        reason = "core counts are far below 2^53; serde asks for a reference"
    )]
    pub(super) fn serialize<S: Serializer>(
        cpu: &MilliCpu,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(cpu.0 as f64 / 1000.0)
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded and never negative"
    )]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<MilliCpu, D::Error> {
        let cores = f64::deserialize(d)?;
        if !(0.0..=1e12).contains(&cores) {
            return Err(serde::de::Error::custom("CPUs must be between 0 and 10^12"));
        }
        Ok(MilliCpu((cores * 1000.0).round() as u64))
    }
}
