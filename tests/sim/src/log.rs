//! A replicated log as an enemy would run it. What it has taken it never loses; until then it loses,
//! delays, forgets to answer, changes leaders, and restarts replicas from a snapshot.

use std::collections::BTreeMap;

use model::{
    NodeId, RequestId, Revision,
    lease::Uptime,
    planted::{Bug, is_planted},
};
use scheduler_core::{Applied, Cluster, ClusterImage, Command, Entry, Leases, Outcome, Rejection};

use crate::{event::Event, leader::Leading, old_leader::OldLeader, world::World};

/// Schedulers of a cluster in the beginning.
const REPLICAS: u64 = 3;
/// Entries between two snapshots of a replica.
const SNAPSHOT_EVERY: u64 = 60;
/// Whole clusters are compared at every so many entries; their answers at each.
const COMPARE_EVERY: usize = 16;

/// Who proposed, and so who is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Proposer {
    /// The leader of this term.
    Leader { term: u64 },
    /// A message of an agent that has to be in the log.
    Session { node: NodeId, session: u64, sequence: u64 },
    /// An agent's hello.
    Hello { node: NodeId, session: u64 },
    /// A person, by the number of what was asked.
    Person { ask: usize },
    /// Nobody waits for it.
    Nobody,
}

#[derive(Debug)]
struct Proposal {
    term: u64,
    entry: Entry,
    proposer: Proposer,
}

/// One scheduler.
#[derive(Debug)]
pub(crate) struct Replica {
    /// The scheduler's number.
    pub(crate) number: u64,
    pub(crate) cluster: Cluster,
    pub(crate) applied: usize,
    pub(crate) up: bool,
    /// Whether it was not removed.
    pub(crate) votes: bool,
    pub(crate) snapshot: (ClusterImage, usize),
}

/// How many of so many voters have to agree.
pub(crate) const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    /// What is durable.
    pub(crate) entries: Vec<Entry>,
    answers: Vec<Applied>,
    /// A replica that never restarted and is never behind.
    pub(crate) reference: Cluster,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) leading: Option<Leading>,
    /// One that was deposed and does not know it yet.
    pub(crate) old_leader: Option<OldLeader>,
    /// The leases each replica granted when it led last, for a bug that keeps them.
    waits: BTreeMap<usize, Leases>,
    pub(crate) term: u64,
    proposals: BTreeMap<u64, Proposal>,
    waiting: BTreeMap<usize, Proposer>,
    next: u64,
    /// After the last plan that was taken, as the log itself remembers it.
    planned: Revision,
    /// The next plan is held up and its leader deposed.
    pub(crate) hold_plan: bool,
}

impl Log {
    pub(crate) fn new() -> Self {
        let replica = |number| Replica {
            number,
            cluster: Cluster::new(),
            applied: 0,
            up: true,
            votes: true,
            snapshot: (ClusterImage::from(&Cluster::new()), 0),
        };
        Self {
            entries: Vec::new(),
            answers: Vec::new(),
            reference: Cluster::new(),
            replicas: (1..=REPLICAS).map(replica).collect(),
            leading: None,
            old_leader: None,
            waits: BTreeMap::new(),
            term: 0,
            proposals: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            planned: Revision(0),
            hold_plan: false,
        }
    }

    /// After the last plan that was taken.
    pub(crate) const fn planned(&self) -> Revision {
        self.planned
    }

    /// Those that vote.
    pub(crate) fn voters(&self) -> Vec<usize> {
        let votes = |(at, held): (usize, &Replica)| held.votes.then_some(at);
        self.replicas.iter().enumerate().filter_map(votes).collect()
    }

    /// The cluster as the leader knows it.
    pub(crate) fn led(&self) -> Option<&Cluster> {
        let leading = self.leading.as_ref()?;
        self.replicas.get(leading.replica).map(|replica| &replica.cluster)
    }
}

impl World {
    /// Hands the log an entry; whoever proposes hears of it, or not.
    pub(crate) fn propose(
        &mut self,
        request: Option<RequestId>,
        command: Command,
        proposer: Proposer,
    ) {
        let entry = Entry { at: self.wall(), request, command };
        let term = self.log.term;
        let is_plan = matches!(entry.command, Command::Plan { .. });
        self.watch_plan(&entry);
        let mut at = self.now + self.chance.delay(8, 400);
        if is_plan && std::mem::take(&mut self.log.hold_plan) {
            at += self.chance.between(1_000, 15_000);
            self.trace(|| "log: holds a plan up".to_owned());
            self.depose();
        }
        let mut proposer = proposer;
        if is_planted(Bug::AcknowledgedBeforeDurable)
            && let (Proposer::Person { .. }, Some(cluster)) = (proposer, self.log.led())
        {
            let answer = cluster.clone().apply(&entry);
            self.answered(proposer, Some(answer));
            proposer = Proposer::Nobody;
        }
        self.log.next += 1;
        let proposal = self.log.next;
        self.log.proposals.insert(proposal, Proposal { term, entry, proposer });
        self.queue.push(at, Event::Append { proposal });
    }

    /// The moment at which a proposal becomes durable, or is lost.
    pub(crate) fn append(&mut self, proposal: u64) {
        let Some(held) = self.log.proposals.remove(&proposal) else { return };
        if held.term == self.log.term && self.faults.loses_proposal(&mut self.chance) {
            self.trace(|| format!("log: loses {}", word(&held.entry.command)));
            self.answered(held.proposer, None);
            return;
        }
        let answers = held.term == self.log.term && self.log.leading.is_some();
        let proposer = if answers { held.proposer } else { Proposer::Nobody };
        if self.faults.repeats(&held.entry.command, &mut self.chance) {
            // Reports may come again, and late.
            let at = self.now + self.chance.between(100, 20_000);
            self.log.next += 1;
            let again = self.log.next;
            let (entry, term) = (held.entry.clone(), held.term);
            let late = Proposal { term, entry, proposer: Proposer::Nobody };
            self.log.proposals.insert(again, late);
            self.queue.push(at, Event::Append { proposal: again });
        }
        let _ = self.commit(held.entry, proposer);
    }

    /// The log has taken an entry: from here on it is never lost.
    pub(crate) fn commit(&mut self, entry: Entry, proposer: Proposer) -> Applied {
        let removes = match &entry.command {
            Command::RemoveNode { node, .. } => self.log.reference.node(*node).cloned(),
            _ => None,
        };
        let moves = self.watch_moves(&entry);
        self.watch_deadlines(&entry);
        let stopping = self.watch_takeovers(&entry);
        let before = self.log.reference.revision();
        let answer = self.log.reference.apply(&entry);
        self.check_moves(moves);
        self.check_takeovers(&stopping);
        self.note_deadlines();
        self.check_entry(&entry, &answer);
        self.trace(|| {
            let said = match &answer.result {
                Ok(outcome) => format!("{outcome:?}"),
                Err(why) => format!("no: {why}"),
            };
            format!("log: {} -> {said}", describe(&entry.command))
        });
        let command = entry.command.clone();
        self.log.entries.push(entry);
        self.log.answers.push(answer.clone());
        let index = self.log.entries.len();
        self.log.waiting.insert(index, proposer);
        let leader = self.log.leading.as_ref().map(|leading| leading.replica);
        for replica in self.log.voters() {
            let lag = if leader == Some(replica) { 2 } else { self.chance.delay(30, 3_000) };
            self.queue.push(self.now + lag, Event::Apply { replica, to: index });
        }
        self.check_cluster();
        // What was asked twice is answered as the first time, and happens once.
        if answer.revision > before {
            self.members_changed(&command, answer.result.as_ref().ok());
        }
        if let Some(node) = removes.filter(|_| answer.result == Ok(Outcome::Done)) {
            self.goes_for_good(&node);
        }
        answer
    }

    /// A stale plan must be refused as a whole; every answer is checked as the entry is taken.
    fn check_entry(&mut self, entry: &Entry, answer: &Applied) {
        let Command::Plan { basis, changes } = &entry.command else { return };
        let stale = matches!(answer.result, Err(Rejection::StalePlan { .. }));
        if *basis < self.log.planned && !stale {
            let planned = self.log.planned;
            self.broken(format!("a plan made on {basis} was taken after one at {planned}"));
        }
        if let Ok(Outcome::Planned { refused }) = &answer.result
            && refused.len() < changes.len()
        {
            self.log.planned = answer.revision;
        }
    }

    /// A replica goes on to this entry of the log.
    pub(crate) fn apply(&mut self, replica: usize, to: usize) {
        let leads = self.log.leading.as_ref().is_some_and(|leading| leading.replica == replica);
        loop {
            let Some(held) = self.log.replicas.get_mut(replica) else { return };
            if !held.up || held.applied >= to {
                break;
            }
            let Some(entry) = self.log.entries.get(held.applied) else { break };
            let answer = held.cluster.apply(entry);
            held.applied += 1;
            let index = held.applied;
            if self.log.answers.get(index - 1) != Some(&answer) {
                self.broken(format!("replica {replica} answers entry {index} with {answer:?}"));
                return;
            }
            if index == self.log.entries.len() && index.is_multiple_of(COMPARE_EVERY) {
                self.compare(replica);
            }
            if leads && let Some(proposer) = self.log.waiting.remove(&index) {
                self.answered(proposer, Some(answer));
            }
        }
        if self.chance.one_in(SNAPSHOT_EVERY)
            && let Some(held) = self.log.replicas.get_mut(replica)
        {
            held.snapshot = (ClusterImage::from(&held.cluster), held.applied);
        }
        if leads {
            self.cluster_changed();
        }
    }

    fn compare(&mut self, replica: usize) {
        let held = self.log.replicas.get(replica);
        if held.is_some_and(|held| held.cluster != self.log.reference) {
            let entries = self.log.entries.len();
            self.broken(format!("replica {replica} differs after {entries} entries"));
        }
    }

    /// Compares every replica with the one that never restarted, once all have caught up.
    pub(crate) fn compare_all(&mut self) {
        self.check_members();
        for replica in self.log.voters() {
            let all = self.log.entries.len();
            self.apply(replica, all);
            self.compare(replica);
        }
    }

    /// Nobody leads any more. What was on its way is in the log or not, and nobody is told which;
    /// only a plan may come much later.
    pub(crate) fn depose(&mut self) {
        let Some(leading) = self.log.leading.take() else { return };
        self.trace(|| format!("log: replica {} leads no longer", leading.replica));
        self.log.term += 1;
        self.log.waits.insert(leading.replica, leading.beats.leases.clone());
        let kept = self.keeps_agents(&leading);
        for node in leading.sessions.keys().filter(|node| !kept.contains_key(*node)) {
            self.end_session(*node);
        }
        let plan = |held: &Proposal| matches!(held.entry.command, Command::Plan { .. });
        let under_way = |(id, held): (&u64, &Proposal)| (!plan(held)).then_some(*id);
        let ids: Vec<u64> = self.log.proposals.iter().filter_map(under_way).collect();
        for id in ids {
            let Some(held) = self.log.proposals.remove(&id) else { continue };
            if self.chance.one_in(2) {
                let _ = self.commit(held.entry, Proposer::Nobody);
            }
            self.answered(held.proposer, None);
        }
        let unanswered = std::mem::take(&mut self.log.waiting);
        for proposer in unanswered.into_values() {
            self.answered(proposer, None);
        }
        let at = self.now + self.chance.between(300, 3_000);
        self.queue.push(at, Event::Elect);
    }

    /// Some replica leads.
    pub(crate) fn elect(&mut self) {
        if self.log.leading.is_some() {
            return;
        }
        let voters = self.log.voters();
        let is_up = |at: &usize| self.log.replicas.get(*at).is_some_and(|held| held.up);
        let up: Vec<usize> = voters.iter().copied().filter(is_up).collect();
        if up.len() < majority(voters.len()) {
            let at = self.now + 200;
            self.queue.push(at, Event::Elect);
            return;
        }
        let replica = *self.chance.pick(&up);
        self.log.term += 1;
        let term = self.log.term;
        self.trace(|| format!("log: replica {replica} leads, term {term}"));
        let mut leading = Leading::new(term, replica, (self.wall(), Uptime(self.now)));
        if is_planted(Bug::WaitKeptByNewLeader)
            && let Some(waits) = self.log.waits.get(&replica)
        {
            leading.beats.leases = waits.clone();
        }
        self.log.leading = Some(leading);
        let to = self.log.entries.len();
        // It leads before it has read all that it has.
        let at = self.now + self.chance.delay(300, 5_000);
        self.queue.push(at, Event::Apply { replica, to });
        self.plan_soon(1);
        self.check_acknowledged();
    }

    /// A scheduler's process ends; when it comes back, it begins from its snapshot.
    pub(crate) fn stop_replica(&mut self, replica: usize) {
        let up = self.log.replicas.iter().filter(|replica| replica.up).count();
        let needed = majority(self.log.voters().len());
        let Some(held) = self.log.replicas.get_mut(replica).filter(|held| held.up) else { return };
        if up <= needed {
            return;
        }
        held.up = false;
        self.trace(|| format!("log: replica {replica} stops"));
        if self.log.leading.as_ref().is_some_and(|leading| leading.replica == replica) {
            self.depose();
        }
        let at = self.now + self.chance.between(100, 8_000);
        self.queue.push(at, Event::ReplicaStarts { replica });
    }

    pub(crate) fn start_replica(&mut self, replica: usize) {
        let to = self.log.entries.len();
        let held = self.log.replicas.get_mut(replica).filter(|held| held.votes);
        let Some(held) = held else { return };
        let (image, applied) = held.snapshot.clone();
        match Cluster::try_from(image) {
            Ok(cluster) => (held.cluster, held.applied, held.up) = (cluster, applied, true),
            Err(bad) => return self.broken(format!("replica {replica}'s snapshot: {bad}")),
        }
        self.trace(|| format!("log: replica {replica} starts from entry {applied}"));
        self.apply(replica, to);
        self.compare(replica);
    }
}

fn word(command: &Command) -> &'static str {
    match command {
        Command::Found { .. } => "found",
        Command::ApplyStack { .. } => "apply",
        Command::RemoveStack { .. } => "remove",
        Command::RollbackStack { .. } => "rollback",
        Command::Scale { .. } => "scale",
        Command::Restart { .. } => "restart",
        Command::JoinNode { .. } => "join",
        Command::UpdateNode { .. } => "update node",
        Command::SetLiveness { .. } => "liveness",
        Command::SetSchedulable { .. } => "cordon",
        Command::DrainNode { .. } => "drain",
        Command::MoveTask { .. } => "move",
        Command::SetAutomatic { .. } => "automatic",
        Command::LabelNode { .. } => "label",
        Command::RemoveNode { .. } => "remove node",
        Command::JoinScheduler { .. } => "join scheduler",
        Command::RaiseForm { .. } => "raise form",
        Command::RemoveScheduler { .. } => "remove scheduler",
        Command::IntroduceAuthority { .. } => "introduce authority",
        Command::AdvanceAuthority { .. } => "advance authority",
        Command::HoldAuthority { .. } => "hold authority",
        Command::AddOperator { .. } => "add operator",
        Command::RemoveOperator { .. } => "remove operator",
        Command::RecordNeeds { .. } => "needs",
        Command::ReportTasks { .. } => "reports",
        Command::CreateToken { .. } => "token",
        Command::RevokeToken { .. } => "revoke",
        Command::ConfirmVolumesRemoved { .. } => "volumes removed",
        Command::Plan { .. } => "plan",
    }
}

/// A command in one line.
pub(crate) fn describe(command: &Command) -> String {
    let word = word(command);
    match command {
        Command::Plan { basis, changes } => {
            let changes: Vec<String> = changes.iter().map(brief).collect();
            format!("{word} on {basis}: {}", changes.join(", "))
        }
        Command::ReportTasks { node, reports } => {
            let reports = reports.iter().map(|report| {
                let status = &report.status;
                format!("{} {} r{}", report.task, status.state, status.restarts)
            });
            format!("{word} of {node}: {}", reports.collect::<Vec<_>>().join(", "))
        }
        Command::ApplyStack { spec, .. } => {
            let services = spec.services.iter().map(|(name, service)| {
                let memory = service.resources.reserved.memory;
                format!("{name}={}x{} {memory}", service.image, service.replicas)
            });
            format!("{word} {}: {}", spec.name, services.collect::<Vec<_>>().join(", "))
        }
        Command::UpdateNode { node, inventory, .. } => {
            format!("{word} {node}, engine ready: {}", inventory.engine_ready)
        }
        other => format!("{other:?}"),
    }
}

fn brief(change: &scheduler_core::Change) -> String {
    use scheduler_core::Change;
    match change {
        Change::CreateTask { task, stack, service, slot, epoch, .. } => {
            format!("{task} = {stack}/{service}.{slot} e{epoch}")
        }
        Change::Place { task, node, .. } => format!("{task} to {node}"),
        Change::SetDesired { task, desired } => format!("{task} {desired:?}"),
        Change::MarkLost { task, .. } => format!("{task} lost"),
        Change::Forget { task } => format!("forget {task}"),
        Change::RecordRollout { service, outcome, .. } => format!("{service} {outcome:?}"),
        Change::MarkReady { stack, .. } => format!("{stack} ready"),
        Change::MoveTask { task, to, reason } => format!("move {task} to {to} {reason}"),
        Change::EndMove { task, failed } => format!("end move of {task}: {failed:?}"),
        Change::EndDrain { node } => format!("end drain of {node}"),
        Change::EndToken { token } => format!("end token {token}"),
        Change::ForgetStack { stack } => format!("forget {stack}"),
        Change::Note { kind, task, .. } => format!("note {kind} {task}"),
    }
}
