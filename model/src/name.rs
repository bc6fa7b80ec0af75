//! Names people choose: DNS labels for stacks, services and nodes; Compose's rule for volumes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest DNS label (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a {noun} name must not be empty")]
    Empty {
        /// What was to be named.
        noun: &'static str,
    },
    /// More than [`LABEL_MAX`] characters.
    #[error("a {noun} name has at most {LABEL_MAX} characters, this one has {length}")]
    TooLong {
        /// What was to be named.
        noun: &'static str,
        /// How many characters were given.
        length: usize,
    },
    /// A character the rule does not allow, or one that may not stand at an end.
    #[error("{text:?} is not a {noun} name: {rule}")]
    BadCharacter {
        /// What was to be named.
        noun: &'static str,
        /// The text as it was given.
        text: String,
        /// The rule in words.
        rule: &'static str,
    },
}

const LABEL_RULE: &str = "use a-z, 0-9 and `-`, beginning and ending with a letter or digit";
const VOLUME_RULE: &str = "use letters, digits, `.`, `_` and `-`, beginning with a letter or digit";

fn check_label(noun: &'static str, text: &str) -> Result<(), NameError> {
    check_length(noun, text)?;
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::BadCharacter { noun, text: text.to_owned(), rule: LABEL_RULE });
    }
    Ok(())
}

fn check_volume(noun: &'static str, text: &str) -> Result<(), NameError> {
    check_length(noun, text)?;
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if !text.bytes().all(allowed) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(NameError::BadCharacter { noun, text: text.to_owned(), rule: VOLUME_RULE });
    }
    Ok(())
}

fn check_length(noun: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { noun });
    }
    let length = text.chars().count();
    if length > LABEL_MAX {
        return Err(NameError::TooLong { noun, length });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $noun:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// Reads a name; the error states the rule that was broken.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                $check($noun, text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.into()
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a stack: a DNS label.
    StackName, "stack", check_label
);
name!(
    /// The name of a service within its stack: a DNS label.
    ServiceName, "service", check_label
);
name!(
    /// The name of a machine: a DNS label.
    NodeName, "node", check_label
);
name!(
    /// The name of somebody with a certificate of role admin: a DNS label.
    OperatorName, "operator", check_label
);
name!(
    /// The name of a volume or network within its stack, by Compose's wider rule.
    VolumeName, "volume", check_volume
);
name!(
    /// What a generic resource is called, by Compose's wider rule: engines and files write `NVIDIA-GPU`.
    GenericName, "resource", check_volume
);
name!(
    /// The name of a network within its stack, by Compose's wider rule.
    NetworkName, "network", check_volume
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_name_a_service() {
        for good in ["a", "web", "web-1", "0", &"x".repeat(63)] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "-a", "a-", "A", "a_b", "../x", "a.b", "\u{0}", "вeb", "😀", &"x".repeat(64)]
        {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_volume_may_have_dots_and_underscores_inside() {
        for good in ["pg_data", "a.b-c", "X"] {
            assert!(VolumeName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "_a", ".", "a/b", "a b"] {
            assert!(VolumeName::new(bad).is_err(), "{bad}");
        }
    }
}
