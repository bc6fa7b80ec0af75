//! Join tokens whose time is over.

use model::Timestamp;

use super::Steps;
use crate::{
    cluster::{Change, Cluster},
    liveness::Heartbeats,
    waits::Wait,
};

/// Since this form it is written down that a token has ended.
const ENDED_FORM: u32 = 6;

/// Ends tokens that nobody used in time, by the wall clock or by the leader's own, whichever comes first: from
/// then on no clock makes them good again.
pub(super) fn end(cluster: &Cluster, beats: &Heartbeats, now: Timestamp, steps: &mut Steps) {
    if cluster.form() < ENDED_FORM {
        return;
    }
    for token in cluster.tokens().values().filter(|token| token.is_open()) {
        let life = token.expires_at.millis_since(token.created_at);
        let wait = Wait::Token { token: token.id, since: token.created_at };
        if steps.waited(beats, now, (wait, life)) || now >= token.expires_at {
            steps.push(Change::EndToken { token: token.id });
        } else {
            steps.wake(token.expires_at);
        }
    }
}
