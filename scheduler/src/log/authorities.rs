//! The steps in which one certificate authority takes the place of another, as far as schedulers have to
//! be ready for them; and the keys, which they give each other and which are in no log.

use futures::future::join_all;
use proto::v1::{AuthorityKeyRequest, ProbeReply};
use rustls::pki_types::CertificateDer;
use scheduler_core::{
    Command,
    cluster::{SchedulerStand, next_step},
};
use tokio::time::{Duration, sleep, timeout};
use tonic::Status;

use super::{Door, ReplicatedLog, Standing, members::changing};
use crate::{
    pki::{View, fingerprint},
    story,
};

/// How long another scheduler may take to hand a key over.
const KEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts at what did not succeed, and two looks of the leader at the others.
const RETRY: Duration = Duration::from_millis(500);

/// A scheduler, and how far it is.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) number: u64,
    pub(crate) address: String,
    pub(crate) stand: SchedulerStand,
    /// Why it does not answer.
    pub(crate) silent: Option<String>,
}

impl Door {
    /// How far every scheduler is with replacing the authority.
    pub(crate) async fn authority_members(&self) -> Vec<Member> {
        let probed = self.probe_members().await.into_iter();
        let member = |(number, address, probed): (u64, String, Result<ProbeReply, String>)| {
            let (stand, silent) = match probed {
                Ok(reply) => {
                    let (step, ready) = (Some(reply.authority_step), reply.authority_ready);
                    (SchedulerStand { step, ready }, None)
                }
                Err(why) => (SchedulerStand { step: None, ready: false }, Some(why)),
            };
            Member { number, address, stand, silent }
        };
        probed.map(member).collect()
    }

    /// The key of a certificate that is trusted, from whichever scheduler has it.
    pub(crate) async fn fetch_key(&self, certificate: &CertificateDer<'_>) -> Option<String> {
        let sha256 = fingerprint(certificate).to_vec();
        let members = self.members();
        let others = members.nodes().filter(|(id, _)| **id != self.own.number);
        let asked = others.map(|(_, node)| {
            let request = AuthorityKeyRequest { sha256: sha256.clone() };
            async move {
                let mut client = self.own.peers.client_at(&node.addr).ok()?;
                let reply = timeout(KEY_TIMEOUT, client.authority_key(request)).await.ok()?;
                reply.ok().map(|reply| reply.into_inner().key)
            }
        });
        join_all(asked).await.into_iter().flatten().next()
    }

    /// Puts in force here what the log says of authorities, for as long as the scheduler runs.
    pub(crate) async fn follow_authorities(self, log: std::sync::Arc<dyn ReplicatedLog>) {
        let (keys, mut revision) = (std::sync::Arc::clone(&self.own.keys), log.revision());
        let mut told = String::new();
        loop {
            revision.mark_unchanged();
            let (own, complete) = keys.stand();
            let view = {
                let cluster = log.cluster();
                cluster.authorities().filter(|held| held.step > own).map(View::from)
            };
            if view.is_some() || !complete {
                let mut failed = view.map_or_else(|| keys.refresh(), |view| keys.take(view)).err();
                for certificate in keys.missing() {
                    let Some(key) = self.fetch_key(&certificate).await else { continue };
                    failed = failed.or(keys.add(&certificate, &key).err());
                }
                // Tried again twice a second, and told of once.
                let why = failed.as_ref().map_or_else(String::new, |error| story(error));
                if !why.is_empty() && why != told {
                    tracing::warn!(
                        why,
                        "what is said of authorities cannot be put in force; trying again"
                    );
                }
                told = why;
            } else {
                told.clear();
            }
            let complete = keys.stand().1 && told.is_empty();
            tokio::select! {
                changed = revision.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = sleep(RETRY), if !complete => {}
            }
        }
    }

    /// Takes the next step whenever all schedulers are ready for it and this one leads, for as long as it
    /// runs.
    pub(crate) async fn advance_authorities(self, log: std::sync::Arc<dyn ReplicatedLog>) {
        let (mut standing, mut revision) = (log.standing(), log.revision());
        while standing.wait_for(Standing::leads).await.is_ok() {
            revision.mark_unchanged();
            let due = log.cluster().authorities().is_some_and(|held| held.by_itself().is_some());
            if due {
                if let Err(why) = self.advance(&*log).await {
                    tracing::debug!(why = why.message(), "the authorities stay as they are");
                }
                sleep(RETRY).await;
            } else if revision.changed().await.is_err() {
                return;
            }
        }
    }

    async fn advance(&self, log: &dyn ReplicatedLog) -> Result<(), Status> {
        // Nobody is admitted meanwhile who would not be ready.
        let _turn = self.changing.try_lock().map_err(|_| changing())?;
        let stands: Vec<_> =
            self.authority_members().await.into_iter().map(|member| member.stand).collect();
        let command = {
            let cluster = log.cluster();
            let held = cluster.authorities();
            let step = held.and_then(|held| Some((held.newest(), next_step(held, &stands)?)));
            let Some((authority, to)) = step else { return Ok(()) };
            Command::AdvanceAuthority { authority, to, force: false }
        };
        let applied = log.propose(None, command).await;
        let applied = applied.map_err(|error| Status::unavailable(error.to_string()))?;
        applied.result.map(drop).map_err(|why| Status::unavailable(why.to_string()))
    }
}
