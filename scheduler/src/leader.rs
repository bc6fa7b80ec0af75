//! The leader's loop: wakes, plans, proposes. It decides nothing; `scheduler_core::plan` does.
//!
//! **Invariant:** only a scheduler that leads proposes plans. The first part of a plan names the revision it was
//! made on, each other one the revision that the part before it made; what no longer holds by the time it is
//! applied is refused there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join;
use model::{Liveness, NodeId, Revision, Timestamp};
use scheduler_core::{
    Change, Command, Draft, Outcome, Part, Plan, Waits, cluster::limits, plan_in_parts,
};
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep};

use crate::{
    clock,
    dispatch::Dispatch,
    log::{LogError, Standing},
    metrics::Figures,
    needs,
};

/// After a plan that could not be proposed: the log is busy or changing hands.
const RETRY: Duration = Duration::from_secs(1);
/// Plans in a row that change nothing although they wanted to; then it is time to wait for something
/// else to happen instead of asking again at once.
const REFUSED_MAX: u32 = 3;
/// Refused changes of one entry that are told of by themselves.
const REFUSED_SAID: usize = 5;
/// Between two plans when nothing happens: bounds the harm of a wake-up that was forgotten.
const PLAN_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// Parts of a plan that wait for those before them to be durable, while it goes on.
const PARTS_AHEAD: usize = 2;
/// Between two plans where nothing happens: a plan that wants to be made again at once must not take the core.
const PLAN_AT_MOST_EVERY: Duration = Duration::from_millis(20);
/// From the beginning of a plan to that of the next that a change asks for: what changes meanwhile is planned
/// together, and a single change waits for nothing. A plan that takes longer is followed at once.
const CHANGES_TOGETHER: Duration = Duration::from_millis(5);

/// What made the leader plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// The cluster changed.
    Changed,
    /// A node that was not ready is heard again.
    HeardAgain,
    /// The plan before asked for this time.
    Due,
    /// It leads no longer, or the scheduler stops.
    Deposed,
}

/// Leads whenever this scheduler is the leader, until the log is gone.
pub(crate) async fn run(dispatch: Arc<Dispatch>, figures: Arc<Figures>, needs_every: Duration) {
    let mut standing = dispatch.log.standing();
    loop {
        // One that follows waits here, and must not hold up the end for it.
        let elected = dispatch.stop.run_until_cancelled(standing.wait_for(Standing::leads)).await;
        let Some(Ok(term)) = elected.map(|led| led.map(|standing| standing.term)) else { return };
        tracing::info!(term, "leading");
        dispatch.sessions.start_afresh(clock::uptime());
        tokio::select! {
            () = lead(&dispatch, &figures, term) => {}
            () = dispatch.rounds.run(&*dispatch.log) => {}
            () = dispatch.sessions.note_work() => {}
            () = needs::run(&dispatch, needs_every) => {}
        }
        tracing::info!(term, "leads no longer");
        if dispatch.stop.is_cancelled() {
            return;
        }
    }
}

/// Leads in this term alone: in the next one there may have been another leader in between, whose leases
/// nobody here knows of.
async fn lead(dispatch: &Dispatch, figures: &Figures, term: u64) {
    let goes_on = |standing: &Standing| standing.leads() && standing.term == term;
    let mut revision = dispatch.log.revision();
    let mut standing = dispatch.log.standing();
    let mut refused = 0;
    let mut waits = Waits::new(clock::ticks());
    loop {
        revision.mark_unchanged();
        let (began, now) = (Instant::now(), clock::now());
        let (parts, handed) = mpsc::channel(PARTS_AHEAD);
        let draft = Draft::of(&dispatch.log.cluster());
        let goes_on_now = || goes_on(&standing.borrow()) && !dispatch.stop.is_cancelled();
        let proposing = Proposing { dispatch, goes_on: goes_on_now, basis: draft.revision() };
        let proposed = proposing.all(handed);
        let planned = plan(dispatch, figures, (&mut waits, now), (draft, parts));
        let (Some(plan), proposed) = join(planned, proposed).await else { return };
        let due = due(&plan, now);
        if !goes_on(&standing.borrow()) {
            return;
        }
        match proposed {
            Ok(true) => refused = 0,
            Ok(false) => refused += 1,
            Err(error) => {
                tracing::warn!(%error, "a plan could not be proposed");
                tokio::select! {
                    () = sleep(RETRY) => {}
                    _ = standing.wait_for(|standing| !goes_on(standing)) => return,
                    () = dispatch.stop.cancelled() => return,
                }
                continue;
            }
        }
        if refused >= REFUSED_MAX {
            tracing::warn!("plans are refused again and again; waiting for something to change");
            refused = 0;
            revision.mark_unchanged();
        }
        let wake = tokio::select! {
            biased;
            () = dispatch.stop.cancelled() => Wake::Deposed,
            _ = standing.wait_for(|standing| !goes_on(standing)) => Wake::Deposed,
            changed = revision.changed() => {
                if changed.is_ok() { Wake::Changed } else { Wake::Deposed }
            }
            () = dispatch.sessions.heard_again.notified() => Wake::HeardAgain,
            () = sleep(due) => Wake::Due,
        };
        tracing::trace!(?wake, "woken");
        match wake {
            Wake::Deposed => return,
            Wake::Changed => sleep(CHANGES_TOGETHER.saturating_sub(began.elapsed())).await,
            Wake::HeardAgain | Wake::Due => {}
        }
    }
}

/// Plans aside: neither the log nor those who ask have to wait for it. What is known of the plan goes to
/// `parts` meanwhile. `None` when the scheduler stops.
async fn plan(
    dispatch: &Dispatch,
    figures: &Figures,
    (waits, now): (&mut Waits, Timestamp),
    (draft, parts): (Draft, mpsc::Sender<Part>),
) -> Option<Plan> {
    waits.pass(clock::ticks());
    let beats = dispatch.sessions.beats(now, clock::uptime()).waiting(waits.clone());
    let planned = spawn_blocking(move || {
        let began = Instant::now();
        let mut waited = Duration::ZERO;
        // Once a part could not be proposed nobody takes the others: they are in the next plan again.
        let mut take = |part| {
            let full = Instant::now();
            let taken = parts.blocking_send(part).is_ok();
            waited += full.elapsed();
            taken
        };
        let plan = plan_in_parts(draft, &beats, now, &mut take);
        (plan, began.elapsed().saturating_sub(waited))
    });
    let (plan, took) = match planned.await {
        Ok(made) => made,
        // What must never happen ends the scheduler, here as anywhere.
        Err(failed) => match failed.try_into_panic() {
            Ok(why) => std::panic::resume_unwind(why),
            Err(_) => return None,
        },
    };
    figures.planned(took);
    waits.keep(&plan.waits, now);
    waits.remember(&plan);
    dispatch.sessions.waits(waits.clone());
    Some(plan)
}

fn due(plan: &Plan, now: Timestamp) -> Duration {
    let due = plan.wake_at.map(|at| Duration::from_millis(at.millis_since(now)));
    due.map_or(PLAN_AT_LEAST_EVERY, |due| due.clamp(PLAN_AT_MOST_EVERY, PLAN_AT_LEAST_EVERY))
}

/// What became of changes that were proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Whole,
    /// Some did not hold any more.
    InPart,
    /// None, nor will any after them: the plan was made on what is not so any more, or it is not this scheduler's
    /// to propose.
    Nothing,
}

/// A plan on its way into the log.
struct Proposing<'d, G> {
    dispatch: &'d Dispatch,
    /// Whether this scheduler still leads in the term it planned in.
    goes_on: G,
    /// The revision the next part was planned on.
    basis: Revision,
}

impl<G: Fn() -> bool> Proposing<'_, G> {
    /// Proposes the parts as they come; answers whether everything in them was taken.
    async fn all(mut self, mut parts: mpsc::Receiver<Part>) -> Result<bool, LogError> {
        let mut whole = true;
        while let Some(part) = parts.recv().await {
            let taken = match part {
                Part::Liveness(nodes) => self.set_liveness(nodes).await?,
                Part::Changes(changes) => self.changes(changes).await?,
            };
            match taken {
                Taken::Whole => {}
                Taken::InPart => whole = false,
                Taken::Nothing => return Ok(false),
            }
        }
        Ok(whole)
    }

    async fn set_liveness(&self, nodes: Vec<(NodeId, Liveness)>) -> Result<Taken, LogError> {
        for (node, liveness) in nodes {
            if !(self.goes_on)() {
                return Ok(Taken::Nothing);
            }
            tracing::info!(%node, liveness = liveness.as_str(), "node changes");
            let set = Command::SetLiveness { node, liveness };
            if let Err(rejection) = self.dispatch.log.propose(None, set).await?.result {
                tracing::warn!(%node, %rejection, "a node's liveness was refused");
            }
        }
        Ok(Taken::Whole)
    }

    async fn changes(&mut self, changes: Vec<Change>) -> Result<Taken, LogError> {
        tracing::debug!(basis = %self.basis, changes = changes.len(), "plan");
        let (mut left, mut at_once) = (changes.as_slice(), limits::MAX_CHANGES);
        let mut taken = Taken::Whole;
        while !left.is_empty() {
            if !(self.goes_on)() {
                return Ok(Taken::Nothing);
            }
            // Changes build on those before them only: the first of them stand alone, and the others were
            // planned on what these leave.
            let (some, rest) = left.split_at(at_once.min(left.len()));
            let command = Command::Plan { basis: self.basis, changes: some.to_vec() };
            let applied = match self.dispatch.log.propose(None, command).await {
                Err(LogError::TooLarge { .. }) if some.len() > 1 => {
                    at_once = some.len() / 2;
                    continue;
                }
                answer => answer?,
            };
            match applied.result {
                Ok(Outcome::Planned { refused }) if !refused.is_empty() => {
                    say_refused(&refused);
                    taken = Taken::InPart;
                }
                Ok(_) => {}
                Err(rejection) => {
                    tracing::debug!(%rejection, "a plan was refused");
                    return Ok(Taken::Nothing);
                }
            }
            (left, self.basis) = (rest, applied.revision);
        }
        Ok(taken)
    }
}

fn say_refused(refused: &[String]) {
    for why in refused.iter().take(REFUSED_SAID) {
        tracing::warn!(%why, "a change of the plan was refused");
    }
    if let Some(more) = refused.len().checked_sub(REFUSED_SAID).filter(|more| *more > 0) {
        tracing::warn!(more, "and others, which may build on these");
    }
}
