//! `deploy.placement.constraints`: which nodes may be chosen at all.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// What of a node is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConstraintKey {
    /// `node.id`
    Id,
    /// `node.hostname`: the node's name.
    Hostname,
    /// `node.platform.arch`
    Arch,
    /// `node.platform.os`
    Os,
    /// `node.labels.KEY`
    Label(String),
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConstraintOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// One condition a node must meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// What is compared.
    pub key: ConstraintKey,
    /// How.
    pub op: ConstraintOp,
    /// With what.
    pub value: String,
}

/// Why a text is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConstraintError {
    /// Neither `==` nor `!=`.
    #[error("expected `KEY == VALUE` or `KEY != VALUE`")]
    NoOperator,
    /// Nothing to compare with.
    #[error("nothing stands after the operator")]
    NoValue,
    /// A key no node has.
    #[error(
        "unknown key `{0}`: use node.labels.NAME, node.hostname, node.id, node.platform.arch or \
         node.platform.os"
    )]
    UnknownKey(String),
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let split = |operator| text.split_once(operator);
        let (key, op, value) = match (split("!="), split("==")) {
            (Some((key, value)), _) => (key, ConstraintOp::NotEqual, value),
            (None, Some((key, value))) => (key, ConstraintOp::Equal, value),
            (None, None) => return Err(ConstraintError::NoOperator),
        };
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() {
            return Err(ConstraintError::NoValue);
        }
        let key = match key {
            "node.id" => ConstraintKey::Id,
            "node.hostname" => ConstraintKey::Hostname,
            "node.platform.arch" => ConstraintKey::Arch,
            "node.platform.os" => ConstraintKey::Os,
            _ => match key.strip_prefix("node.labels.") {
                Some(label) if !label.is_empty() => ConstraintKey::Label(label.to_owned()),
                _ => return Err(ConstraintError::UnknownKey(key.to_owned())),
            },
        };
        Ok(Self { key, op, value: value.to_owned() })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            ConstraintKey::Id => f.write_str("node.id")?,
            ConstraintKey::Hostname => f.write_str("node.hostname")?,
            ConstraintKey::Arch => f.write_str("node.platform.arch")?,
            ConstraintKey::Os => f.write_str("node.platform.os")?,
            ConstraintKey::Label(label) => write!(f, "node.labels.{label}")?,
        }
        let op = match self.op {
            ConstraintOp::Equal => "==",
            ConstraintOp::NotEqual => "!=",
        };
        write!(f, " {op} {}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_prints_what_it_read() {
        for (text, printed) in [
            ("node.labels.role == database", "node.labels.role == database"),
            ("node.hostname!=mini-1", "node.hostname != mini-1"),
            ("node.platform.arch==arm64", "node.platform.arch == arm64"),
            ("node.id == n3", "node.id == n3"),
        ] {
            let constraint: Constraint = text.parse().unwrap();
            assert_eq!(constraint.to_string(), printed);
            assert_eq!(printed.parse(), Ok(constraint));
        }
        for bad in ["", "node.hostname", "node.hostname ==", "role == db", "node.labels. == x"] {
            assert!(bad.parse::<Constraint>().is_err(), "{bad}");
        }
    }
}
