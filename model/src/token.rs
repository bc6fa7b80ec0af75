//! Join tokens as the cluster remembers them: never the secret, only its hash.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

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
    /// When the leader found its time over: from then on it is refused, whatever a clock says. Written by the
    /// leader.
    pub ended_at: Option<Timestamp>,
}

impl Token {
    /// Whether it was neither used nor ended.
    pub const fn is_open(&self) -> bool {
        self.used_at.is_none() && self.ended_at.is_none()
    }
}

/// A join token as it is handed over, once: `siso1.ROLE.ID.EXPIRES.CA.SECRET`.
///
/// The certificate authority's hash stands in it so that whoever joins can tell the right cluster
/// from an impostor *before* it sends the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// What it lets its holder become.
    pub role: Role,
    /// Its public name.
    pub id: TokenId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// SHA-256 of the authority's certificate (DER).
    pub authority: [u8; 32],
    /// 256 random bits.
    pub secret: [u8; 32],
}

/// Why a text is not a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadToken {
    /// Not six parts beginning with `siso1`.
    #[error("this is not a join token: make one with `sisoctl token create --role node`")]
    Shape,
    /// A part is damaged.
    #[error("the join token's {0} is damaged: copy the whole token, it is one line")]
    Part(&'static str),
}

/// The secret does not appear.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, {})", self.role.as_str(), self.id)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (role, id, expires) = (self.role.as_str(), self.id, self.expires_at.0);
        write!(f, "siso1.{role}.{id}.{expires}.{}.{}", Hex(&self.authority), Hex(&self.secret))
    }
}

impl FromStr for JoinToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let ["siso1", role, id, expires, authority, secret] = parts.as_slice() else {
            return Err(BadToken::Shape);
        };
        let role = match *role {
            "node" => Role::Node,
            "scheduler" => Role::Scheduler,
            "admin" => Role::Admin,
            _ => return Err(BadToken::Part("role")),
        };
        Ok(Self {
            role,
            id: id.parse().map_err(|_| BadToken::Part("id"))?,
            expires_at: expires.parse().map(Timestamp).map_err(|_| BadToken::Part("expiry"))?,
            authority: unhex(authority).ok_or(BadToken::Part("authority"))?,
            secret: unhex(secret).ok_or(BadToken::Part("secret"))?,
        })
    }
}

/// Bytes as lower-case hexadecimal digits.
#[derive(Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads exactly 64 hexadecimal digits.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_damage_is_named() {
        let token = JoinToken {
            role: Role::Node,
            id: TokenId::new(7),
            expires_at: Timestamp(1_700_000_000_000),
            authority: [0xab; 32],
            secret: [0x01; 32],
        };
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!("{text}\n").parse(), Ok(token));
        assert_eq!("hello".parse::<JoinToken>(), Err(BadToken::Shape));
        let cut = text.get(..text.len() - 1).unwrap();
        assert_eq!(cut.parse::<JoinToken>(), Err(BadToken::Part("secret")));
        assert_eq!(
            text.replace("abab", "abax").parse::<JoinToken>(),
            Err(BadToken::Part("authority"))
        );
    }
}
