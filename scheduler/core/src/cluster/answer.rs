//! What `apply` answers: what was done, or why not, in words for a person.

use model::{
    NodeId, NodeName, OperatorName, Revision, ServiceName, StackName, TaskId, TokenId, VolumeName,
};
use thiserror::Error;

/// The answer to one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a rejection must reach whoever asked"]
pub struct Applied {
    /// The cluster's revision afterwards.
    pub revision: Revision,
    /// What was done, or why not.
    pub result: Result<Outcome, Rejection>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// All is already as asked.
    Unchanged,
    /// The stack has this revision now.
    Stack(Revision),
    /// The node that joined.
    Node(NodeId),
    /// The token that was made.
    Token(TokenId),
    /// A plan was taken, except for these changes.
    Planned {
        /// Why each refused change no longer held.
        refused: Vec<String>,
    },
}

/// Why an entry was not done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The cluster has its identity already.
    #[error("the cluster was founded already")]
    AlreadyFounded,
    /// No stack of this name.
    #[error("there is no stack `{0}`")]
    UnknownStack(StackName),
    /// No service of this name.
    #[error("stack `{stack}` has no service `{service}`")]
    UnknownService {
        /// The stack.
        stack: StackName,
        /// What was asked for.
        service: ServiceName,
    },
    /// No replica of this number.
    #[error("`{stack}/{service}` has {}, there is no replica {slot}", replicas_in_words(*replicas))]
    UnknownReplica {
        /// The stack.
        stack: StackName,
        /// The service.
        service: ServiceName,
        /// What was asked for.
        slot: u32,
        /// How many there are.
        replicas: u32,
    },
    /// No node of this id.
    #[error("there is no node {0}")]
    UnknownNode(NodeId),
    /// No task of this id.
    #[error("there is no task {0}")]
    UnknownTask(TaskId),
    /// No token of this id.
    #[error("there is no token {0}")]
    UnknownToken(TokenId),
    /// The revision is not remembered.
    #[error(
        "stack `{stack}` does not remember revision {revision}: see `sisoctl stack history {stack}`"
    )]
    UnknownRevision {
        /// The stack.
        stack: StackName,
        /// What was asked for.
        revision: Revision,
    },
    /// There is no earlier, different specification that was ready.
    #[error("stack `{stack}` {}", no_way_back(stack, *unready))]
    NothingToRollBack {
        /// The stack.
        stack: StackName,
        /// The newest earlier one that says something else, if there is one; it never was ready.
        unready: Option<Revision>,
    },
    /// Somebody else changed the stack meanwhile.
    #[error(
        "stack `{stack}` was changed meanwhile: it has revision {current}, the plan was made on {basis}"
    )]
    StackMoved {
        /// The stack.
        stack: StackName,
        /// What the person saw.
        basis: Revision,
        /// What it is.
        current: Revision,
    },
    /// The stack is on its way out.
    #[error("stack `{0}` is being removed: wait until its tasks have stopped")]
    Removing(StackName),
    /// The data of a volume of an earlier stack of the same name is being removed.
    #[error("the data of volume `{volume}` of stack `{stack}` is still being removed on its node")]
    VolumeRemoving {
        /// The stack.
        stack: StackName,
        /// The engine's name of the volume.
        volume: String,
    },
    /// Two stacks would share the data of a volume without saying so.
    #[error(
        "volume `{volume}` belongs to stack `{owner}`: give it another name, or declare it \
         `external: true` to share it"
    )]
    VolumeTaken {
        /// The engine's name of the volume.
        volume: String,
        /// Whose it is.
        owner: StackName,
    },
    /// Several replicas would write to the same data.
    #[error(
        "service `{service}` has {replicas} replicas that write to volume `{volume}`: two copies \
         on the same data destroy it; mount it `read_only`, or keep one replica"
    )]
    VolumeShared {
        /// The service.
        service: ServiceName,
        /// How many replicas.
        replicas: u32,
        /// The volume.
        volume: VolumeName,
    },
    /// A mount names a volume the stack does not declare.
    #[error("service `{service}` mounts volume `{volume}`, which the stack does not declare")]
    UndeclaredVolume {
        /// The service.
        service: ServiceName,
        /// The volume.
        volume: VolumeName,
    },
    /// A service depends on one that is not there.
    #[error("service `{service}` depends on `{dependency}`, which the stack does not have")]
    UnknownDependency {
        /// The service.
        service: ServiceName,
        /// What it depends on.
        dependency: ServiceName,
    },
    /// Services wait for each other.
    #[error("services wait for each other: {}", names(.0))]
    DependencyCycle(Vec<ServiceName>),
    /// A service publishes the same port twice.
    #[error("service `{service}` publishes host port {port} twice")]
    PortTwice {
        /// The service.
        service: ServiceName,
        /// The port on the node.
        port: u16,
    },
    /// A named limit is met.
    #[error("too many {what}: {count}, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were asked for.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A strict singleton was to have several replicas.
    #[error("service `{0}` is a strict singleton: it can have only one replica")]
    StrictReplicas(ServiceName),
    /// A member has this name.
    #[error(
        "a node named `{0}` is a member already: choose another with `--name`, or remove the old one \
         with `sisoctl node rm {0}`"
    )]
    NodeNameTaken(NodeName),
    /// A machine was imagined with the name of a member.
    #[error("a node named `{0}` is a member already: give the imagined one another name")]
    ImaginedTwice(NodeName),
    /// Something on the node would be lost with it, and nobody said that it may be.
    #[error("node `{node}` still has {}", held_in_words(tasks, volumes))]
    NodeHolds {
        /// The node.
        node: NodeName,
        /// Whether it is down: only then its tasks may be given up.
        down: bool,
        /// `STACK/SERVICE.N` of its tasks, where they may not go.
        tasks: Vec<String>,
        /// The engine's names of the volumes that live there, where they may not go.
        volumes: Vec<String>,
    },
    /// What must never run twice may still run on a node that is down.
    #[error(
        "{} must never run twice and may still run on node `{node}`, until the lease is surely over",
        tasks.join(", ")
    )]
    LeaseNotOver {
        /// The node.
        node: NodeName,
        /// `STACK/SERVICE.N` of the strict singletons.
        tasks: Vec<String>,
    },
    /// A task cannot be moved to a node, or not now.
    #[error("{task} cannot move to {to}: {why}")]
    NotMoved {
        /// `STACK/SERVICE.N` of the task.
        task: String,
        /// The node it was to be on.
        to: NodeName,
        /// Why.
        why: String,
    },
    /// A step of replacing the certificate authority that cannot be taken.
    #[error("{0}")]
    Authority(String),
    /// Nodes would be shut out with an authority.
    #[error("with authority {authority} these nodes would be shut out: {}", some(nodes))]
    AuthorityNeeded {
        /// The older one.
        authority: u64,
        /// The names of those that hold no certificate of the newer one.
        nodes: Vec<String>,
    },
    /// There is no such operator.
    #[error("there is no operator {0}")]
    UnknownOperator(OperatorName),
    /// Somebody has or had that name.
    #[error(
        "{}", if *removed {
            format!("operator {name} was removed, and a name is given once: choose another")
        } else {
            format!("there is an operator {name}: choose another name, or remove that one first")
        }
    )]
    OperatorTaken {
        /// The name.
        name: OperatorName,
        /// Nobody has it any more.
        removed: bool,
    },
    /// That name is for the certificates beside the schedulers' data.
    #[error("{0} is what schedulers write in their admin.yaml: choose another name")]
    OperatorReserved(OperatorName),
    /// Nobody else could ask for anything.
    #[error("{0} is the last operator: add another one first (`sisoctl operator add NAME`)")]
    LastOperator(OperatorName),
    /// The token is not valid for this; which reason is not told to whoever holds it.
    #[error("the join token is not valid: it is expired, used, revoked or for another role")]
    BadToken,
    /// A node spoke of tasks that are not its own; its other reports were taken.
    #[error("node {node} reported on task {task}, which is not its own")]
    NotItsTask {
        /// Who reported.
        node: NodeId,
        /// On which task.
        task: TaskId,
    },
    /// Another plan was applied since.
    #[error("the plan was made on revision {basis}, but a later one was applied at {planned}")]
    StalePlan {
        /// What it was made on.
        basis: Revision,
        /// When the last plan was applied.
        planned: Revision,
    },
    /// The same request was rejected before; this is what was said then.
    #[error("{text}")]
    Repeated {
        /// What was said.
        text: String,
        /// Whether it was the asker's mistake.
        input: bool,
    },
}

impl Rejection {
    /// Whether the asker's input is wrong (exit code 1) rather than the cluster unable (3).
    pub const fn is_input_error(&self) -> bool {
        match self {
            Self::UnknownStack(_)
            | Self::UnknownService { .. }
            | Self::UnknownReplica { .. }
            | Self::UnknownNode(_)
            | Self::UnknownTask(_)
            | Self::UnknownToken(_)
            | Self::UnknownOperator(_)
            | Self::OperatorReserved(_)
            | Self::UnknownRevision { .. }
            | Self::NothingToRollBack { .. }
            | Self::VolumeTaken { .. }
            | Self::VolumeShared { .. }
            | Self::UndeclaredVolume { .. }
            | Self::UnknownDependency { .. }
            | Self::DependencyCycle(_)
            | Self::PortTwice { .. }
            | Self::TooMany { .. }
            | Self::StrictReplicas(_) => true,
            Self::AlreadyFounded
            | Self::StackMoved { .. }
            | Self::Removing(_)
            | Self::VolumeRemoving { .. }
            | Self::NodeNameTaken(_)
            | Self::ImaginedTwice(_)
            | Self::NodeHolds { .. }
            | Self::LeaseNotOver { .. }
            | Self::NotMoved { .. }
            | Self::Authority(_)
            | Self::AuthorityNeeded { .. }
            | Self::OperatorTaken { .. }
            | Self::LastOperator(_)
            | Self::BadToken
            | Self::NotItsTask { .. }
            | Self::StalePlan { .. } => false,
            Self::Repeated { input, .. } => *input,
        }
    }

    /// Whether what was named does not exist.
    pub const fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::UnknownStack(_)
                | Self::UnknownService { .. }
                | Self::UnknownReplica { .. }
                | Self::UnknownNode(_)
                | Self::UnknownTask(_)
                | Self::UnknownToken(_)
                | Self::UnknownOperator(_)
                | Self::UnknownRevision { .. }
        )
    }
}

/// The services of a cycle, closed: `a -> b -> a`.
fn names(cycle: &[ServiceName]) -> String {
    let closed = cycle.iter().chain(cycle.first());
    closed.map(ServiceName::as_str).collect::<Vec<_>>().join(" -> ")
}

/// `2 tasks (shop/db.1, shop/web.1) and 1 volume (shop_data)`.
fn held_in_words(tasks: &[String], volumes: &[String]) -> String {
    let kinds = [("task", tasks), ("volume", volumes)];
    let parts = kinds.into_iter().filter(|(_, names)| !names.is_empty()).map(|(word, names)| {
        let count = names.len();
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {word}{plural} ({})", some(names))
    });
    parts.collect::<Vec<_>>().join(" and ")
}

/// The first names, and how many more there are.
fn some(names: &[String]) -> String {
    /// More would not be read.
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown}, and {more} more"),
    }
}

fn no_way_back(stack: &StackName, unready: Option<Revision>) -> String {
    match unready {
        None => "has no earlier revision that says something else".to_owned(),
        Some(revision) => format!(
            "has no earlier revision that was ready: revision {revision} never was, and \
             `sisoctl stack rollback {stack} --to {revision}` goes back to it all the same"
        ),
    }
}

fn replicas_in_words(count: u32) -> String {
    if count == 1 { "1 replica".to_owned() } else { format!("{count} replicas") }
}
