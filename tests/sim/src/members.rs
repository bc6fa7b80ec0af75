//! Schedulers that join and are removed while everything else goes on: in every fifth world.

use model::{TokenId, token::Role};
use scheduler_core::{Cluster, Command, Outcome, cluster::scheduler_number};

use crate::{
    event::Event,
    log::{Replica, majority},
    world::World,
};

/// A world has so many voters at most.
const VOTERS_MAX: usize = 5;
/// One world of so many has members that change.
const ONE_WORLD_IN: u64 = 5;
/// A form of entries that is not the first.
const NEXT_FORM: u32 = 2;
/// How long the token of a scheduler is good.
const TOKEN_MS: u64 = 60_000;
/// The longest pause between two changes.
const PAUSE: u64 = 12_000;

impl World {
    /// Lets members change in some worlds.
    pub(crate) fn members_of(&mut self, seed: u64) {
        if seed.is_multiple_of(ONE_WORLD_IN) {
            self.queue.push(PAUSE, Event::MembersChange);
        }
    }

    /// Somebody adds a scheduler or takes one away.
    pub(crate) fn change_members(&mut self) {
        if !self.faults.on {
            return;
        }
        let next = self.chance.between(1_000, PAUSE);
        self.queue.push(self.now + next, Event::MembersChange);
        let voters = self.log.voters();
        if voters.len() < VOTERS_MAX && self.chance.one_in(2) {
            let expires_at = self.wall().plus_millis(TOKEN_MS);
            let secret_hash = secret(self.log.replicas.len());
            self.ask(Command::CreateToken { role: Role::Scheduler, secret_hash, expires_at });
            return;
        }
        // One after the other: what was not answered is asked again.
        let still =
            |number: u64| self.log.replicas.iter().any(|held| held.votes && held.number == number);
        let under_way = self.people.asks.iter().find_map(|ask| match ask.command {
            Command::RemoveScheduler { scheduler } if still(scheduler) => Some(scheduler),
            _ => None,
        });
        if let Some(scheduler) = under_way {
            self.ask(Command::RemoveScheduler { scheduler });
            return;
        }
        // What remains must be able to agree, as the one that is asked makes sure of.
        let at = *self.chance.pick(&voters);
        let up = |other: &&usize| {
            **other != at && self.log.replicas.get(**other).is_some_and(|held| held.up)
        };
        if voters.iter().filter(up).count() >= majority(voters.len().saturating_sub(1))
            && voters.len() > 1
            && let Some(held) = self.log.replicas.get(at)
        {
            let scheduler = held.number;
            self.ask(Command::RemoveScheduler { scheduler });
        }
    }

    /// A person got the answer to something that changes members.
    pub(crate) fn members_answered(&mut self, command: &Command, outcome: &Outcome) {
        if let (
            Command::CreateToken { role: Role::Scheduler, secret_hash, .. },
            Outcome::Token(token),
        ) = (command, outcome)
        {
            let (token, secret_hash) = (*token, *secret_hash);
            self.ask(Command::JoinScheduler { token, secret_hash });
            // Another machine tries the same token.
            if self.chance.one_in(2) {
                self.ask(Command::JoinScheduler { token, secret_hash });
            }
        }
    }

    /// An entry that changes members was taken.
    pub(crate) fn members_changed(&mut self, command: &Command, outcome: Option<&Outcome>) {
        match (command, outcome) {
            (Command::JoinScheduler { token, .. }, Some(Outcome::Done)) => self.joins(*token),
            (Command::RemoveScheduler { scheduler }, Some(Outcome::Done)) => self.goes(*scheduler),
            _ => {}
        }
    }

    /// A scheduler gets a snapshot and what came after it, and votes.
    fn joins(&mut self, token: TokenId) {
        let number = scheduler_number(token);
        if self.log.replicas.iter().any(|held| held.number == number) {
            return self.broken(format!("{token} let two schedulers join"));
        }
        let from = self.log.replicas.iter().find(|held| held.up);
        let Some((image, applied)) = from.map(|held| held.snapshot.clone()) else { return };
        let cluster = match Cluster::try_from(image.clone()) {
            Ok(cluster) => cluster,
            Err(bad) => return self.broken(format!("the snapshot for scheduler {number}: {bad}")),
        };
        let replica = self.log.replicas.len();
        let snapshot = (image, applied);
        let (up, votes) = (true, true);
        self.log.replicas.push(Replica { number, cluster, applied, up, votes, snapshot });
        self.trace(|| format!("log: replica {replica} joins as scheduler {number}"));
        let at = self.now + self.chance.delay(300, 5_000);
        let to = self.log.entries.len();
        self.queue.push(at, Event::Apply { replica, to });
        // The newest version is understood by all, as soon as the last old one is gone.
        if self.chance.one_in(2) {
            self.ask(Command::RaiseForm { form: NEXT_FORM });
        }
    }

    /// A scheduler is shut out, from the entry on that says so.
    fn goes(&mut self, scheduler: u64) {
        let found = self.log.replicas.iter().position(|held| held.number == scheduler);
        let Some(replica) = found else {
            return self.broken(format!("scheduler {scheduler} was removed, which never joined"));
        };
        self.trace(|| format!("log: replica {replica}, scheduler {scheduler}, is removed"));
        if let Some(held) = self.log.replicas.get_mut(replica) {
            (held.up, held.votes) = (false, false);
        }
        if self.log.leading.as_ref().is_some_and(|leading| leading.replica == replica) {
            self.depose();
        }
    }

    /// Whether all know who was removed, and nobody else.
    pub(crate) fn check_members(&mut self) {
        let wrong = self.log.replicas.iter().find(|held| {
            let out = self.log.reference.shuts_out(held.number);
            out == held.votes
        });
        if let Some(held) = wrong {
            let (number, votes) = (held.number, held.votes);
            self.broken(format!(
                "scheduler {number} votes: {votes}, and the cluster thinks not so"
            ));
        }
    }
}

/// What only the holder of a token knows; each has its own.
fn secret(count: usize) -> [u8; 32] {
    let mut secret = [9; 32];
    if let Some(first) = secret.first_mut() {
        *first = u8::try_from(count).unwrap_or(u8::MAX);
    }
    secret
}
