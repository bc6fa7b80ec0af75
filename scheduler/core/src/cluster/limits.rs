//! How large a cluster may grow. Each limit keeps a snapshot, a plan or an answer small enough for
//! the machines Siso is for; an error names the limit it met.

/// Stacks in a cluster: each is read at every plan.
pub const MAX_STACKS: usize = 256;
/// Services in one stack. Files of stacks to apply have far fewer (`stackfile`); plans on imagined machines
/// are made of so many.
pub const MAX_SERVICES: usize = 10_000;
/// Replicas of one service.
pub const MAX_REPLICAS: u32 = 1_000;
/// Replicas in the whole cluster: a plan looks at every task.
pub const MAX_TASKS: usize = 20_000;
/// Tasks on one node: a container engine on a small machine serves about this many.
pub const MAX_TASKS_PER_NODE: u32 = 250;
/// Nodes that are members.
pub const MAX_NODES: usize = 10_000;
/// Named volumes, those of removed stacks included.
pub const MAX_VOLUMES: usize = 10_000;
/// Platforms an image is known to have no variant for: there are not so many that an engine runs on.
pub const MAX_LACKS: usize = 16;
/// Join tokens remembered, used and expired ones included.
pub const MAX_TOKENS: usize = 1_000;
/// How long a used or expired token is still listed: a week, in milliseconds.
pub const TOKEN_MEMORY_MS: u64 = 7 * 24 * 3_600_000;
/// Specifications of a stack that are kept for `rollback`.
pub const MAX_HISTORY: usize = 20;
/// Schedulers that were removed: their numbers are remembered for ever.
pub const MAX_REMOVED_SCHEDULERS: usize = 1_000;
/// Operators: a small team, and what acts for it.
pub const MAX_OPERATORS: usize = 256;
/// Operators that were removed: their names are remembered for ever.
pub const MAX_REMOVED_OPERATORS: usize = 10_000;
/// Bytes of an authority's certificate: one with a P-256 key has about 400.
pub const MAX_CERTIFICATE_BYTES: usize = 8 << 10;
/// Events kept; at a dozen per apply this is some hundred applies.
pub const MAX_EVENTS: usize = 2_000;
/// Answers kept for repeated requests: no client retries while so many others are answered.
pub const MAX_REQUESTS: usize = 4_096;
/// How long an answer is kept in a cluster of a form before 4: an hour, in milliseconds.
pub const REQUEST_MEMORY_MS: u64 = 3_600_000;
/// Ended tasks kept per replica so that `ps` and `explain` can tell of the last failures.
pub const MAX_ENDED_PER_SLOT: usize = 2;
/// Changes in one plan; the rest comes with the next plan.
pub const MAX_CHANGES: usize = 5_000;
/// Reports in one entry; agents send more in several.
pub const MAX_REPORTS: usize = 1_000;
/// Needs in one entry: as many services as a large cluster has.
pub const MAX_NEEDS: usize = 1_000;
/// Characters of a message an agent or a plan may leave behind.
pub const MAX_MESSAGE: usize = 1_000;
/// Labels of a node.
pub const MAX_LABELS: usize = 64;
/// Verdicts kept with a decision; the best first.
pub const MAX_VERDICTS: usize = 64;
/// Verdicts in one answer, of all its tasks together: some 300 bytes each.
const VERDICTS_TOLD: usize = 20_000;
/// Verdicts kept with the decisions of a whole cluster, about: each takes some 300 bytes.
const VERDICTS_KEPT: usize = 20_000;
/// Verdicts that are kept with a decision in any case: that on the node it chose, and that on the next best.
const MIN_VERDICTS: usize = 2;

/// How many verdicts an answer about so many tasks tells of each: one for every node where there are not very many
/// of both.
pub fn verdicts_told(tasks: usize) -> usize {
    VERDICTS_TOLD.checked_div(tasks).unwrap_or(VERDICTS_TOLD).max(MAX_VERDICTS)
}

/// How many verdicts are kept with one decision in a cluster of so many tasks: all of them while
/// machines and tasks are few.
pub fn verdicts_kept(tasks: usize) -> usize {
    VERDICTS_KEPT.checked_div(tasks).unwrap_or(MAX_VERDICTS).clamp(MIN_VERDICTS, MAX_VERDICTS)
}
