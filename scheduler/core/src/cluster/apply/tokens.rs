//! Join tokens: used once, never shown again.

use model::{
    Timestamp, TokenId,
    planted::{Bug, is_planted},
    token::{Role, Token},
};

use super::{Answered, Happened, check};
use crate::cluster::{Cluster, Outcome, Rejection, limits, scheduler_number};

impl Cluster {
    pub(super) fn create_token(
        &mut self,
        at: Timestamp,
        role: Role,
        secret_hash: [u8; 32],
        expires_at: Timestamp,
    ) -> Answered {
        self.tokens.retain(|_, token| {
            let ended = token.used_at.or(token.ended_at).unwrap_or(token.expires_at);
            at.millis_since(ended) < limits::TOKEN_MEMORY_MS
        });
        check::at_most("tokens", self.tokens.len().saturating_add(1), limits::MAX_TOKENS)?;
        let id = self.next_token;
        self.next_token = id.next().unwrap_or(id);
        let (created_at, used_at, ended_at) = (at, None, None);
        let token = Token { id, role, secret_hash, created_at, expires_at, used_at, ended_at };
        self.tokens.insert(id, token);
        let message = format!("join token {id} for a {} was made", role.as_str());
        self.note(Happened::new(at, "token", message));
        Ok(Outcome::Token(id))
    }

    pub(super) fn revoke_token(&mut self, at: Timestamp, id: TokenId) -> Answered {
        self.tokens.remove(&id).ok_or(Rejection::UnknownToken(id))?;
        self.note(Happened::new(at, "token", format!("join token {id} was revoked")));
        Ok(Outcome::Done)
    }

    pub(super) fn join_scheduler(
        &mut self,
        at: Timestamp,
        id: TokenId,
        secret_hash: &[u8; 32],
    ) -> Answered {
        self.use_token(at, (id, Role::Scheduler), secret_hash)?;
        self.spend_token(at, id);
        let message = format!("scheduler {} joined", scheduler_number(id));
        self.note(Happened::new(at, "scheduler", message));
        Ok(Outcome::Done)
    }

    /// Whether the token lets somebody join in this role now.
    pub(super) fn use_token(
        &self,
        at: Timestamp,
        (id, role): (TokenId, Role),
        secret_hash: &[u8; 32],
    ) -> Result<(), Rejection> {
        let token = self.tokens.get(&id).ok_or(Rejection::BadToken)?;
        let unused = token.used_at.is_none() || is_planted(Bug::TokenGoodTwice);
        let valid = token.role == role
            && unused
            && token.ended_at.is_none()
            && at < token.expires_at
            && token.secret_hash == *secret_hash;
        if valid { Ok(()) } else { Err(Rejection::BadToken) }
    }

    /// The time of a token is over, whatever a clock says later.
    pub(super) fn end_token(&mut self, at: Timestamp, id: TokenId) -> Result<(), String> {
        let token = self.tokens.get_mut(&id).filter(|token| token.is_open());
        let token = token.ok_or_else(|| format!("there is no open join token {id}"))?;
        token.ended_at = Some(at);
        Ok(())
    }

    pub(super) fn spend_token(&mut self, at: Timestamp, id: TokenId) {
        if let Some(token) = self.tokens.get_mut(&id) {
            token.used_at = Some(at);
        }
    }
}
