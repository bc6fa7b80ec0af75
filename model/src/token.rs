//! Join tokens as the cluster remembers them: never the secret, only its hash.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, TokenId};

/// What a token or certificate allows its holder to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A machine that runs tasks.
    Node,
    /// A voting member.
    Scheduler,
    /// A person or script.
    Admin,
}

impl Role {
    /// The word used in commands, certificates and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Scheduler => "scheduler",
            Self::Admin => "admin",
        }
    }
}

/// One join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its public name, for `token ls` and `token revoke`.
    pub id: TokenId,
    /// What it lets its holder become.
    pub role: Role,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was used; a used token is refused.
    pub used_at: Option<Timestamp>,
}
