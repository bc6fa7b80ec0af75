//! Join tokens: is this secret the one, and may it still be used?

use model::{
    Timestamp,
    token::{Role, Token},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// What the cluster remembers of a secret.
pub(crate) fn hash_secret(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Why a token is refused. Only who knows the secret learns more than the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TokenRefusal {
    #[error("the join token is not valid in this cluster")]
    Unknown,
    #[error("the join token has expired")]
    Expired,
    #[error("the join token is for joining as {}, not as {}", of.as_str(), wanted.as_str())]
    WrongRole { of: Role, wanted: Role },
}

/// Whether `secret` opens `token` for somebody of this role at `now`. Whether it was used before is for the log to
/// say: only there is "once" decided. Takes the same time for every wrong secret.
pub(crate) fn check_token(
    token: Option<&Token>,
    secret: &[u8],
    wanted: Role,
    now: Timestamp,
) -> Result<(), TokenRefusal> {
    let expected = token.map_or([0; 32], |token| token.secret_hash);
    let matches = bool::from(hash_secret(secret).ct_eq(&expected));
    let token = token.filter(|_| matches).ok_or(TokenRefusal::Unknown)?;
    if token.role != wanted {
        return Err(TokenRefusal::WrongRole { of: token.role, wanted });
    }
    if token.ended_at.is_some() || now >= token.expires_at {
        return Err(TokenRefusal::Expired);
    }
    Ok(())
}
