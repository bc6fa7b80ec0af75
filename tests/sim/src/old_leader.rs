//! A leader that was deposed and does not know it: cut off with some of the agents, it goes on serving
//! them for a while. It finds no majority, so nothing it writes is taken and no lease is renewed.

use std::collections::BTreeMap;

use model::{
    NodeId,
    planted::{Bug, is_planted},
};
use node_agent::lease::Granted;
use scheduler_core::{Cluster, lease};

use crate::{
    event::{Down, Event, Up},
    leader::Leading,
    world::World,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct OldLeader {
    serial: u64,
    /// What it knows, which goes on without it.
    cluster: Cluster,
    sessions: BTreeMap<NodeId, u64>,
}

impl OldLeader {
    pub(crate) fn serves(&self, node: NodeId, session: u64) -> bool {
        self.sessions.get(&node) == Some(&session)
    }
}

impl World {
    /// Perhaps it keeps some of its agents; answers which.
    pub(crate) fn keeps_agents(&mut self, leading: &Leading) -> BTreeMap<NodeId, u64> {
        if !self.faults.on || self.log.old_leader.is_some() || !self.chance.one_in(2) {
            return BTreeMap::new();
        }
        let Some(replica) = self.log.replicas.get(leading.replica) else { return BTreeMap::new() };
        let cluster = replica.cluster.clone();
        let mut sessions = BTreeMap::new();
        for (node, served) in &leading.sessions {
            if self.chance.one_in(2) {
                sessions.insert(*node, served.session);
            }
        }
        let serial = self.log.term;
        self.log.old_leader = Some(OldLeader { serial, cluster, sessions: sessions.clone() });
        let long = self.chance.one_in(2);
        let lasts = self.chance.between(1_000, if long { 120_000 } else { 5_000 });
        self.queue.push(self.now + lasts, Event::OldLeaderEnds { serial });
        self.trace(|| format!("log: it goes on with {:?} for {lasts} ms", sessions.keys()));
        sessions
    }

    /// An old leader finds out.
    pub(crate) fn old_leader_ends(&mut self, serial: u64) {
        if self.log.old_leader.as_ref().is_some_and(|old| old.serial == serial) {
            self.end_old_leader();
        }
    }

    /// The old leader there is knows now, and so do its agents.
    pub(crate) fn end_old_leader(&mut self) {
        let Some(old) = self.log.old_leader.take() else { return };
        for node in old.sessions.keys() {
            self.end_session(*node);
        }
    }

    pub(crate) fn hear_at_old_leader(&mut self, node: NodeId, session: u64, message: &Up) {
        let Up::Heartbeat(sent) = message else { return };
        let Some(old) = &self.log.old_leader else { return };
        if is_planted(Bug::RenewedWithoutMajority) {
            let tasks = lease::grant(&old.cluster, node);
            self.send_down(node, session, Down::Lease(Granted { sent: *sent, tasks }));
        }
    }
}
