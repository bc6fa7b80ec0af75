//! The certificate authorities of the cluster, and how one takes the place of another.
//!
//! A step is taken once everybody who has to be ready for it is: schedulers before another authority
//! signs, machines before its certificates are shown. So whoever holds what is trusted reaches everybody
//! at any time, and whoever was away meanwhile can still come back until the older one is given up.
//! Keys are not in here: they lie on the disks of schedulers.

use std::collections::BTreeMap;

use model::{NodeId, Timestamp};

/// The number of the authority a cluster was founded with.
pub const FIRST_AUTHORITY: u64 = 1;

/// One authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Counted from [`FIRST_AUTHORITY`]; never given twice.
    pub number: u64,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// When the cluster was told of it; 0 for the first, whose certificate says.
    pub since: Timestamp,
}

/// How far one authority has taken the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorityPhase {
    /// There is one.
    Settled,
    /// A second one is trusted; schedulers are given its key.
    Introduced,
    /// The second one signs; everybody gets a certificate of it. Schedulers still show machines and
    /// people one of the first.
    Issuing,
    /// Schedulers show certificates of the second one. Once all of them do, the first is given up.
    Presented,
}

impl AuthorityPhase {
    /// The step after this one.
    const fn next(self) -> Self {
        match self {
            Self::Settled => Self::Introduced,
            Self::Introduced => Self::Issuing,
            Self::Issuing => Self::Presented,
            Self::Presented => Self::Settled,
        }
    }
}

/// The authorities of a cluster in which one was replaced, or is being replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// Counts what changed about them.
    pub step: u64,
    /// The last number that was given.
    pub last: u64,
    /// How far the newest has taken the place of the one before.
    pub phase: AuthorityPhase,
    /// Whoever still needs the older one was given up.
    pub forced: bool,
    /// Those that are trusted, the newest last: one, or two.
    pub trusted: Vec<Authority>,
    /// The newest authority whose certificate a node holds, and which it trusts. One that is not in here
    /// holds one of the first.
    pub nodes: BTreeMap<NodeId, u64>,
}

impl Authorities {
    /// Those of a cluster that has the one it was founded with.
    pub(super) fn founded(certificate: Vec<u8>) -> Self {
        let first = Authority { number: FIRST_AUTHORITY, certificate, since: Timestamp(0) };
        Self {
            step: 0,
            last: FIRST_AUTHORITY,
            phase: AuthorityPhase::Settled,
            forced: false,
            trusted: vec![first],
            nodes: BTreeMap::new(),
        }
    }

    /// The number of the oldest that is trusted.
    pub fn oldest(&self) -> u64 {
        self.trusted.first().map_or(FIRST_AUTHORITY, |authority| authority.number)
    }

    /// The number of the newest.
    pub fn newest(&self) -> u64 {
        self.trusted.last().map_or(FIRST_AUTHORITY, |authority| authority.number)
    }

    /// The number of the one that signs.
    pub fn issuing(&self) -> u64 {
        if self.phase >= AuthorityPhase::Issuing { self.newest() } else { self.oldest() }
    }

    /// The number of the one whose certificates schedulers show.
    pub fn presented(&self) -> u64 {
        if self.phase >= AuthorityPhase::Presented { self.newest() } else { self.oldest() }
    }

    /// The newest authority whose certificate a node is known to hold.
    pub fn held_by(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).copied().unwrap_or(FIRST_AUTHORITY)
    }

    /// The step the leader takes by itself when all schedulers are ready for it.
    pub const fn by_itself(&self) -> Option<AuthorityPhase> {
        match self.phase {
            AuthorityPhase::Introduced | AuthorityPhase::Presented => Some(self.phase.next()),
            // To go on is for a person to say.
            AuthorityPhase::Settled | AuthorityPhase::Issuing => None,
        }
    }

    /// Whether these can be.
    pub(super) fn are_whole(&self) -> bool {
        let count = if self.phase == AuthorityPhase::Settled { 1 } else { 2 };
        let numbers = || self.trusted.iter().map(|authority| authority.number);
        self.trusted.len() == count
            && numbers().zip(numbers().skip(1)).all(|(older, newer)| older < newer)
            && self.oldest() >= FIRST_AUTHORITY
            && self.newest() <= self.last
            && self.nodes.values().all(|held| *held <= self.last)
    }
}

/// What a scheduler answers when it is asked how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerStand {
    /// The step in force there; `None` when it does not answer.
    pub step: Option<u64>,
    /// Whether it holds all keys and the certificates that step asks for.
    pub ready: bool,
}

impl SchedulerStand {
    /// Whether it is ready for the step after `step`.
    pub fn is_ready(self, step: u64) -> bool {
        self.ready && self.step.is_some_and(|own| own >= step)
    }
}

/// The step to be taken now, the schedulers being as they say. Those that do not answer are waited for,
/// unless they were given up.
pub fn next_step(
    authorities: &Authorities,
    schedulers: &[SchedulerStand],
) -> Option<AuthorityPhase> {
    let next = authorities.by_itself()?;
    // Another leader must be able to sign: before that nobody is left out.
    let may_be_away = authorities.forced && next == AuthorityPhase::Settled;
    let ready = schedulers.iter().all(|scheduler| {
        scheduler.is_ready(authorities.step) || (may_be_away && scheduler.step.is_none())
    });
    ready.then_some(next)
}
