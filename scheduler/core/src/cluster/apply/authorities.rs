//! One authority takes the place of another, step by step.

use model::{NodeId, Timestamp};

use super::{Answered, Happened, check};
use crate::cluster::{Authorities, Authority, AuthorityPhase, Cluster, Outcome, Rejection, limits};

impl Cluster {
    pub(super) fn introduce_authority(
        &mut self,
        at: Timestamp,
        current: &[u8],
        next: &[u8],
    ) -> Answered {
        for certificate in [current, next] {
            check::at_most(
                "bytes of a certificate",
                certificate.len(),
                limits::MAX_CERTIFICATE_BYTES,
            )?;
        }
        let mut held = match &self.authorities {
            Some(held) => held.clone(),
            None => Authorities::founded(current.to_vec()),
        };
        let refused = |why: &str| Err(Rejection::Authority(why.to_owned()));
        if held.phase > AuthorityPhase::Introduced {
            return Err(Rejection::Authority(format!(
                "authority {} is taking the place of authority {}: finish that first",
                held.newest(),
                held.oldest()
            )));
        }
        if held.trusted.first().is_none_or(|first| first.certificate != current) {
            return refused("the leader's authority is another than the cluster's");
        }
        if current.is_empty() || next.is_empty() || current == next {
            return refused("the same authority cannot take its own place");
        }
        // One whose key nobody has any more was not used by anybody.
        held.trusted.truncate(1);
        held.last = held.last.saturating_add(1);
        let number = held.last;
        held.trusted.push(Authority { number, certificate: next.to_vec(), since: at });
        held.step = held.step.saturating_add(1);
        held.phase = AuthorityPhase::Introduced;
        held.forced = false;
        self.authorities = Some(held);
        self.note(Happened::new(at, "authority", format!("authority {number} is trusted")));
        Ok(Outcome::Done)
    }

    pub(super) fn advance_authority(
        &mut self,
        at: Timestamp,
        (number, to): (u64, AuthorityPhase),
        force: bool,
    ) -> Answered {
        let Some(mut held) = self.authorities.clone().filter(|held| held.newest() == number) else {
            return Err(Rejection::Authority(format!("authority {number} is not the newest")));
        };
        if held.phase == to {
            return Ok(Outcome::Unchanged);
        }
        let older = held.oldest();
        let words = match (held.phase, to) {
            (AuthorityPhase::Introduced, AuthorityPhase::Issuing) => {
                format!("authority {number} signs from now on")
            }
            (AuthorityPhase::Issuing, AuthorityPhase::Presented) => {
                let behind = self.behind(&held);
                if !behind.is_empty() && !force {
                    return Err(Rejection::AuthorityNeeded { authority: older, nodes: behind });
                }
                held.forced = force;
                // They name the older one, which nobody shows any more.
                self.tokens.retain(|_, token| token.used_at.is_some());
                let message = format!("authority {older} is being given up");
                match behind.len() {
                    0 => message,
                    _ => format!("{message}, and with it {}", behind.join(", ")),
                }
            }
            (AuthorityPhase::Presented, AuthorityPhase::Settled) => {
                held.trusted.remove(0);
                held.forced = false;
                format!("authority {older} is trusted no more")
            }
            _ => {
                let text = format!("authority {number} cannot take this step now");
                return Err(Rejection::Authority(text));
            }
        };
        held.step = held.step.saturating_add(1);
        held.phase = to;
        self.authorities = Some(held);
        self.note(Happened::new(at, "authority", words));
        Ok(Outcome::Done)
    }

    /// The names of the nodes that do not hold a certificate of the newest authority.
    fn behind(&self, held: &Authorities) -> Vec<String> {
        let behind = self.nodes.values().filter(|node| held.held_by(node.id) < held.newest());
        behind.map(|node| node.name.to_string()).collect()
    }

    pub(super) fn hold_authority(&mut self, node: NodeId, number: u64) -> Answered {
        if !self.nodes.contains_key(&node) {
            return Err(Rejection::UnknownNode(node));
        }
        let known = self.authorities.as_mut().filter(|held| number <= held.last);
        let Some(held) = known else {
            return Err(Rejection::Authority(format!("there is no authority {number}")));
        };
        if held.held_by(node) == number {
            return Ok(Outcome::Unchanged);
        }
        held.nodes.insert(node, number);
        Ok(Outcome::Done)
    }

    /// A node that joins is given a certificate of the one that signs.
    pub(super) fn joins_with_authority(&mut self, node: NodeId) {
        if let Some(held) = &mut self.authorities {
            let issuing = held.issuing();
            held.nodes.insert(node, issuing);
        }
    }
}
