//! Hard rules. A rule is one function, one [`Misfit`] and one line in [`OF_NODES`] or
//! [`OF_ROOMS`]; it answers with the reason, never with `false`.

use std::collections::BTreeSet;

use model::{
    GenericName, Liveness, NodeId, Shortfall, VolumeName,
    allow::Lack,
    generic::Amount,
    planted::{Bug, is_planted},
    spec::{Constraint, ConstraintKey, ConstraintOp, Port, Protocol},
};
use thiserror::Error;

use crate::{
    cluster::limits,
    placement::{Ask, NodeView},
};

/// One hard rule.
pub type Filter = fn(&Ask<'_>, &NodeView<'_, '_>) -> Result<(), Misfit>;

/// The hard rules that ask only what the node is and what the task's constraints, permissions and generic
/// resources are, and what its image lacks: tasks that are alike in these have the same answer.
pub(super) const OF_NODES: &[Filter] = &[
    is_there,
    accepts_work,
    engine_answers,
    matches_constraints,
    permits_it,
    has_variant,
    offers_generic,
];

/// The hard rules that ask what is on the node, or where volumes are.
pub(super) const OF_ROOMS: &[Filter] = &[
    is_home_of_volumes,
    below_replicas_per_node,
    has_ports_free,
    has_room,
    has_generic_free,
    below_task_limit,
];

/// All hard rules; the first that is broken is the reason shown.
pub fn filters() -> impl Iterator<Item = &'static Filter> {
    OF_NODES.iter().chain(OF_ROOMS)
}

/// Why a task cannot be on a node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misfit {
    /// It is no member.
    #[error("is not a member any more")]
    Gone,
    /// No heartbeats.
    #[error("is {}", .0.as_str())]
    NotThere(Liveness),
    /// It is cordoned.
    #[error("is cordoned")]
    Cordoned,
    /// Its container engine does not answer.
    #[error("its container engine does not answer")]
    NoEngine,
    /// A constraint does not hold.
    #[error("{wanted} does not hold: {}", found(.wanted, .is.as_deref()))]
    Constraint {
        /// What is wanted.
        wanted: Constraint,
        /// What the node has.
        is: Option<String>,
    },
    /// Its agent was not told to permit what the service asks for.
    #[error("does not allow {}: start its agent with {} as well", asks(.0), flags(.0))]
    NotAllowed(Vec<Lack>),
    /// An agent found that the image is not for such machines.
    #[error("image {image} has no variant for {platform}")]
    NoVariant {
        /// The image.
        image: String,
        /// What the node is: `linux/arm64`.
        platform: String,
    },
    /// Data it needs lives on another node.
    #[error("its volume `{volume}` lives on {home}")]
    VolumeElsewhere {
        /// The volume.
        volume: VolumeName,
        /// The name of its home.
        home: String,
        /// The home.
        node: NodeId,
    },
    /// Enough replicas of the service are there.
    #[error("already has {max} replicas of it, max_replicas_per_node")]
    TooManyReplicas {
        /// How many there may be.
        max: u32,
    },
    /// A host port is taken.
    #[error("port {port}/{} is taken by {holder}", .protocol.as_str())]
    PortTaken {
        /// Which port.
        port: u16,
        /// Its transport.
        protocol: Protocol,
        /// `STACK/SERVICE.N` of the task that has it.
        holder: String,
    },
    /// A resource is short.
    #[error(transparent)]
    Short(#[from] Shortfall),
    /// A generic resource is short.
    #[error("needs {} {kind}, {} free{}", Amount(*needed), Amount(*free), of_all(*needed, *offered))]
    ShortOfGeneric {
        /// Which kind.
        kind: GenericName,
        /// What was asked.
        needed: u64,
        /// What is there.
        free: u64,
        /// What the node offers, taken or not.
        offered: u64,
    },
    /// As many tasks as a node may have.
    #[error("already has {max} tasks, the most a node may have")]
    TooManyTasks {
        /// How many there may be.
        max: u32,
    },
}

/// Said where a node could not do it even when it is empty.
fn of_all(needed: u64, offered: u64) -> String {
    match offered {
        0 => ": it offers none".to_owned(),
        _ if needed > offered => format!(": it offers {}", Amount(offered)),
        _ => String::new(),
    }
}

/// What is not permitted, as part of a sentence.
fn asks(lacks: &[Lack]) -> String {
    let asks: Vec<&str> = lacks.iter().map(|lack| lack.asks.as_str()).collect();
    asks.join(", ")
}

/// The flags that would permit it, each once.
pub(crate) fn flags(lacks: &[Lack]) -> String {
    let flags: BTreeSet<&str> = lacks.iter().map(|lack| lack.flag.as_str()).collect();
    Vec::from_iter(flags).join(" ")
}

/// What a node has where a constraint wants something else.
fn found(wanted: &Constraint, is: Option<&str>) -> String {
    let what = match &wanted.key {
        ConstraintKey::Id => "its id",
        ConstraintKey::Hostname => "its name",
        ConstraintKey::Arch => "its architecture",
        ConstraintKey::Os => "its system",
        ConstraintKey::Label(_) => "the label",
    };
    match is {
        Some(is) => format!("{what} is {is}"),
        None => format!("{what} is missing"),
    }
}

impl Misfit {
    /// The word scripts know it by.
    pub const fn resource(&self) -> &'static str {
        match self {
            Self::Gone | Self::NotThere(_) | Self::Cordoned | Self::NoEngine => "node",
            Self::Constraint { .. } => "constraint",
            Self::NotAllowed(_) => "permission",
            Self::NoVariant { .. } => "image",
            Self::VolumeElsewhere { .. } => "volume",
            Self::TooManyReplicas { .. } => "replicas",
            Self::PortTaken { .. } => "port",
            Self::Short(Shortfall::Memory { .. }) => "memory",
            Self::Short(Shortfall::Cpu { .. }) => "cpus",
            Self::ShortOfGeneric { .. } => "generic",
            Self::TooManyTasks { .. } => "tasks",
        }
    }
}

fn is_there(_: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    match view.room.node.liveness {
        Liveness::Ready => Ok(()),
        other @ (Liveness::Unreachable | Liveness::Down) => Err(Misfit::NotThere(other)),
    }
}

fn accepts_work(_: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    if view.room.node.schedulable { Ok(()) } else { Err(Misfit::Cordoned) }
}

fn engine_answers(_: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    if view.room.node.inventory.engine_ready { Ok(()) } else { Err(Misfit::NoEngine) }
}

fn matches_constraints(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    let broken = |wanted: &&Constraint| !holds(wanted, view.room.node);
    match ask.spec.placement.constraints.iter().find(broken) {
        Some(wanted) => {
            Err(Misfit::Constraint { wanted: wanted.clone(), is: value(wanted, view.room.node) })
        }
        None => Ok(()),
    }
}

/// Whether the node meets the constraint; a missing label equals nothing. An imagined machine of any architecture is of
/// the one that is wanted, as with what images lack ([`model::Inventory::platform`]); one that joined is of none until its
/// engine has answered.
pub(crate) fn holds(wanted: &Constraint, node: &model::Node) -> bool {
    let inventory = &node.inventory;
    if wanted.key == ConstraintKey::Arch && inventory.arch.is_empty() && inventory.engine_ready {
        return true;
    }
    let equal = value(wanted, node).is_some_and(|value| value == wanted.value);
    match wanted.op {
        ConstraintOp::Equal => equal,
        ConstraintOp::NotEqual => !equal,
    }
}

fn value(wanted: &Constraint, node: &model::Node) -> Option<String> {
    match &wanted.key {
        ConstraintKey::Id => Some(node.id.to_string()),
        ConstraintKey::Hostname => Some(node.name.to_string()),
        ConstraintKey::Arch => Some(node.inventory.arch.clone()),
        ConstraintKey::Os => Some(node.inventory.os.clone()),
        ConstraintKey::Label(label) => node.labels.get(label).cloned(),
    }
}

/// What its agent would refuse anyway; one that does not say what it permits is asked.
fn permits_it(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    let allows = view.room.node.inventory.allows.as_ref();
    let lacks = allows.map(|allows| allows.lacks(ask.spec)).unwrap_or_default();
    if lacks.is_empty() { Ok(()) } else { Err(Misfit::NotAllowed(lacks)) }
}

/// What agents found out; of an image that nobody tried there, nothing is known.
fn has_variant(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    let lacks = view.fleet.lacks(ask);
    if lacks.is_empty() {
        return Ok(());
    }
    match view.room.node.inventory.platform().filter(|platform| lacks.contains(platform)) {
        Some(platform) => Err(Misfit::NoVariant { image: ask.spec.image.clone(), platform }),
        None => Ok(()),
    }
}

fn is_home_of_volumes(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    for (name, volume) in ask.volumes {
        let home = view.fleet.home(&volume.engine_name);
        if is_planted(Bug::HomeLeftWhenDown) && home.is_some_and(|home| view.fleet.is_down(home)) {
            continue;
        }
        if let Some(node) = home.filter(|home| *home != view.room.node.id) {
            let (volume, home) = (name.clone(), view.fleet.name(node));
            return Err(Misfit::VolumeElsewhere { volume, home, node });
        }
    }
    Ok(())
}

fn below_replicas_per_node(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    let Some(max) = ask.spec.placement.max_replicas_per_node else { return Ok(()) };
    let there = view.fleet.replicas_on(view.room.node.id, ask);
    if there < max { Ok(()) } else { Err(Misfit::TooManyReplicas { max }) }
}

fn has_ports_free(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    for port in ask.spec.ports.iter().filter(|port| port.published.is_some()) {
        // What it takes over from hands its port over: the two never run side by side.
        let holder = view.room.tasks.values().find(|(other, _)| {
            !(other.same_service(ask) && other.slot == ask.slot)
                && other.spec.ports.iter().any(|taken| clash(port, taken))
        });
        if let Some((other, _)) = holder {
            return Err(Misfit::PortTaken {
                port: port.published.unwrap_or_default(),
                protocol: port.protocol,
                holder: format!("{}/{}.{}", other.stack, other.service, other.slot),
            });
        }
    }
    Ok(())
}

/// Whether it listens on every address of its node.
pub(super) fn everywhere(port: &Port) -> bool {
    matches!(port.host_ip.as_deref(), None | Some("" | "0.0.0.0" | "::" | "[::]"))
}

/// Whether two published ports cannot be on one node.
pub(super) fn clash(one: &Port, other: &Port) -> bool {
    one.published.is_some()
        && one.published == other.published
        && one.protocol == other.protocol
        && (one.host_ip == other.host_ip || everywhere(one) || everywhere(other))
}

fn has_room(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    if !is_planted(Bug::ReservationIgnored) {
        view.room.free_for(ask.task).after(ask.reserved())?;
    }
    Ok(())
}

/// What a node offers no more of it has free for nobody.
fn offers_generic(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    short_of_generic(ask, view, |needed, _, offered| needed > offered)
}

fn has_generic_free(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    if is_planted(Bug::GenericIgnored) {
        return Ok(());
    }
    short_of_generic(ask, view, |needed, free, offered| needed > free && needed <= offered)
}

/// The first kind of which it is short by what is needed, free and offered.
fn short_of_generic(
    ask: &Ask<'_>,
    view: &NodeView<'_, '_>,
    short: impl Fn(u64, u64, u64) -> bool,
) -> Result<(), Misfit> {
    if !ask.spec.wants_generic() {
        return Ok(());
    }
    let offers = &view.room.node.inventory.generic;
    for (kind, needed) in ask.spec.generic_on(offers).iter() {
        let (free, offered) = (view.room.generic_free_for(ask.task, kind), offers.get(kind));
        if short(needed, free, offered) {
            return Err(Misfit::ShortOfGeneric { kind: kind.clone(), needed, free, offered });
        }
    }
    Ok(())
}

fn below_task_limit(_: &Ask<'_>, view: &NodeView<'_, '_>) -> Result<(), Misfit> {
    let max = limits::MAX_TASKS_PER_NODE;
    let there = u32::try_from(view.room.tasks.len()).unwrap_or(u32::MAX);
    if there < max { Ok(()) } else { Err(Misfit::TooManyTasks { max }) }
}
