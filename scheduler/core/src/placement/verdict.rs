//! A verdict for every node, in words and amounts.

use std::collections::BTreeMap;

use model::{Bytes, NodeId, Resources, Shortfall, view::Verdict};

use crate::placement::{Ask, Fleet, Misfit, Score};

/// The verdict on one node, with every rule the task breaks there.
pub(super) fn verdict_on(
    fleet: &Fleet<'_>,
    ask: &Ask<'_>,
    scores: &[Score],
    node: NodeId,
) -> Verdict {
    if let Some(score) = scores.iter().find(|score| score.node == node) {
        return fitting(fleet, ask, score, scores.first());
    }
    let mut misfits = fleet.misfits(ask, node);
    // One rule looks at both amounts and names the first that is short.
    let cpu = Resources { memory: Bytes::ZERO, ..ask.reserved() };
    let room = fleet.rooms().get(&node);
    let short = room.and_then(|room| room.free_for(ask.task).after(cpu).err()).map(Misfit::Short);
    if let Some(short) = short.filter(|short| !misfits.contains(short)) {
        misfits.push(short);
    }
    let first = misfits.first().unwrap_or(&Misfit::Gone);
    let reasons: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    Verdict { reason: reasons.join("; "), ..misfitting(fleet.name(node), first) }
}

/// What a task leaves free, and how much that is once what still stops there has.
pub(crate) fn leaves(now: Bytes, then: Bytes) -> String {
    let (short, long) = (now.to_string(), then.to_string());
    // So little more that it reads the same is not worth saying.
    if then > now && short != long {
        format!("leaves {short} free, {long} when what leaves there has stopped")
    } else {
        format!("leaves {long} free")
    }
}

pub(super) fn fitting(
    fleet: &Fleet<'_>,
    ask: &Ask<'_>,
    score: &Score,
    best: Option<&Score>,
) -> Verdict {
    let left = left(fleet, ask, score);
    fits(
        fleet,
        score,
        match best {
            Some(best) if best != score => {
                format!(
                    "fits, {left}; {} is better: {}",
                    fleet.name(best.node),
                    best.advantage(score)
                )
            }
            Some(_) | None => format!("fits best, {left}"),
        },
    )
}

/// The verdict on the node where it is.
pub(super) fn here(fleet: &Fleet<'_>, ask: &Ask<'_>, own: &Score) -> Verdict {
    fits(fleet, own, format!("is here, {}", left(fleet, ask, own)))
}

/// The same where it would not be placed again.
pub(super) fn stays(fleet: &Fleet<'_>, ask: &Ask<'_>, node: NodeId) -> Verdict {
    let verdict = refused(fleet, ask, node);
    Verdict {
        reason: format!("is here and stays; anew it could not be: {}", verdict.reason),
        ..verdict
    }
}

/// The verdict on another node that it fits on, beside that on its own.
pub(super) fn beside(
    fleet: &Fleet<'_>,
    ask: &Ask<'_>,
    score: &Score,
    own: Option<&Score>,
) -> Verdict {
    match own {
        Some(own) if score < own => {
            let left = left(fleet, ask, score);
            let better = score.advantage(own);
            fits(fleet, score, format!("fits, {left}; by now it would be better: {better}"))
        }
        Some(own) => fitting(fleet, ask, score, Some(own)),
        None => fits(fleet, score, format!("fits, {}", left(fleet, ask, score))),
    }
}

fn left(fleet: &Fleet<'_>, ask: &Ask<'_>, score: &Score) -> String {
    let room = fleet.rooms().get(&score.node);
    let going = room.map_or(Bytes::ZERO, |room| room.going(ask));
    leaves(score.left, score.left.saturating_add(going))
}

fn fits(fleet: &Fleet<'_>, score: &Score, reason: String) -> Verdict {
    Verdict {
        node: fleet.name(score.node),
        fits: true,
        reason,
        resource: None,
        needed: None,
        free: None,
        short: None,
        score: Some(score.numbers()),
    }
}

/// The verdict on a node it does not fit on, by the first rule it breaks there.
pub(super) fn refused(fleet: &Fleet<'_>, ask: &Ask<'_>, node: NodeId) -> Verdict {
    let why = fleet.fits(ask, node).err().unwrap_or(Misfit::Gone);
    misfitting(fleet.name(node), &why)
}

fn misfitting(node: String, why: &Misfit) -> Verdict {
    let (needed, free) = amounts(why).unzip();
    Verdict {
        node,
        fits: false,
        reason: why.to_string(),
        resource: Some(why.resource().to_owned()),
        needed,
        free,
        short: needed.zip(free).map(|(needed, free)| needed.saturating_sub(free)),
        score: None,
    }
}

/// Needed and free, in bytes or thousandths of a CPU.
const fn amounts(why: &Misfit) -> Option<(u64, u64)> {
    match why {
        Misfit::Short(Shortfall::Memory { needed, free }) => Some((needed.0, free.0)),
        Misfit::Short(Shortfall::Cpu { needed, free }) => Some((needed.0, free.0)),
        Misfit::ShortOfGeneric { needed, free, .. } => Some((*needed, *free)),
        Misfit::Gone
        | Misfit::NotThere(_)
        | Misfit::Cordoned
        | Misfit::NoEngine
        | Misfit::Constraint { .. }
        | Misfit::NotAllowed(_)
        | Misfit::NoVariant { .. }
        | Misfit::VolumeElsewhere { .. }
        | Misfit::TooManyReplicas { .. }
        | Misfit::PortTaken { .. }
        | Misfit::TooManyTasks { .. } => None,
    }
}

/// How far from fitting: a little memory short first, another kind of machine last.
pub(super) fn distance(why: &Misfit) -> (u8, u64) {
    let missing = amounts(why).map_or(0, |(needed, free)| needed.saturating_sub(free));
    let kind = match why {
        Misfit::Short(_) => 0,
        // What a node never has is another kind of machine.
        Misfit::ShortOfGeneric { needed, offered, .. } if needed <= offered => 0,
        Misfit::PortTaken { .. } | Misfit::TooManyReplicas { .. } => 1,
        Misfit::TooManyTasks { .. } | Misfit::Cordoned | Misfit::NotAllowed(_) => 2,
        Misfit::NoEngine | Misfit::NotThere(_) => 3,
        Misfit::VolumeElsewhere { .. }
        | Misfit::Constraint { .. }
        | Misfit::NoVariant { .. }
        | Misfit::ShortOfGeneric { .. } => 4,
        Misfit::Gone => 5,
    };
    (kind, missing)
}

/// On how many nodes something does not fit, by the word of what is in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    pub(super) fn add(&mut self, why: &Misfit) {
        let word = why.resource();
        // A handful: to look through them takes less than to look one up.
        match self.0.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.0.push((word, 1)),
        }
    }

    /// By word.
    pub(crate) fn by_word(self) -> BTreeMap<String, u64> {
        self.0.into_iter().map(|(word, count)| (word.to_owned(), count)).collect()
    }
}
