//! Which keys there are, what their values look like, and the walk that brings a tree into
//! canonical form. The tables in `keys` are the whole grammar: adding a key is adding a line.

mod keys;
mod nearest;
mod unknown;
mod walk;

pub(crate) use keys::{
    DEPENDENCY, DEVICE, DEVICE_REQUEST, ENV_FILE, MOUNT, NODES_FILE, NOT_PROPAGATED,
    NOT_RELABELLED, PORT, SERVICE_NETWORK, SISO, STACK, ULIMIT,
};
pub(crate) use nearest::nearest;
pub(crate) use walk::Walk;

use std::fmt;

use crate::{source::Span, tree::Node};

/// A key of a mapping.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) support: Support,
}

/// What a cluster does with a key. `config` does not ask.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Support {
    /// It means the same, or is translated where it is lowered.
    Honoured,
    /// Accepted with a note: it has no effect, or a weaker one.
    Weaker(&'static str),
    /// Accepted with a note when it has this value; honoured with any other.
    WeakerAs(&'static str, &'static str),
    /// An error: why, and the way out.
    Refused(&'static str, &'static str),
    /// An error for `config` too, since the stack would be shown wrongly.
    Unread(&'static str, &'static str),
}

/// What a value looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Anything; not looked at.
    Any,
    /// A text. A number or a boolean is an error, since YAML may have changed its spelling.
    Text,
    /// Any scalar, kept as text.
    Word,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// true or false.
    Flag,
    /// A whole number in a range.
    Whole(i64, i64),
    /// A size, canonically its bytes as text.
    Size,
    /// A duration, canonically as Compose prints it.
    Duration,
    /// A number of CPUs, canonically a text.
    Cpus,
    /// A list.
    List(&'static Shape),
    /// A list, or one item of it.
    Many(&'static Shape),
    /// A mapping with known keys.
    Keys(&'static [Key]),
    /// A mapping with free keys.
    MapOf(&'static Shape),
    /// May be left empty.
    Maybe(&'static Shape),
    /// A form of its own.
    Form(Form),
}

/// Our own key where it would have no effect.
static MISPLACED_SISO: Key = key("x-siso", Shape::Any)
    .refused("it would have no effect here", "put it directly below the name of a service");

/// Checks a value and brings it into its canonical form.
pub(crate) type Form = fn(Node, &Place<'_>, &mut Walk<'_>) -> Node;

/// A key without restrictions.
pub(crate) const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, support: Support::Honoured }
}

impl Key {
    /// The same key with a note.
    pub(crate) const fn weaker(self, note: &'static str) -> Self {
        Self { name: self.name, shape: self.shape, support: Support::Weaker(note) }
    }

    /// The same key with a note for one of its values.
    pub(crate) const fn weaker_as(self, value: &'static str, note: &'static str) -> Self {
        Self { name: self.name, shape: self.shape, support: Support::WeakerAs(value, note) }
    }

    /// The same key, not read by the loader yet.
    pub(crate) const fn unread(self, why: &'static str, instead: &'static str) -> Self {
        Self { name: self.name, shape: self.shape, support: Support::Unread(why, instead) }
    }

    /// The same key, refused by a cluster.
    pub(crate) const fn refused(self, why: &'static str, instead: &'static str) -> Self {
        Self { name: self.name, shape: self.shape, support: Support::Refused(why, instead) }
    }
}

/// Where in the tree a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) parent: Option<&'a Self>,
    /// The key; an item of a list has its list's key.
    pub(crate) key: &'a str,
    pub(crate) key_at: Span,
    /// The position in a list.
    pub(crate) index: Option<usize>,
}

impl<'a> Place<'a> {
    pub(crate) fn key(&'a self, key: &'a str, key_at: Span) -> Self {
        Self { parent: Some(self), key, key_at, index: None }
    }

    pub(crate) fn item(&'a self, index: usize) -> Self {
        Self { parent: Some(self), key: self.key, key_at: self.key_at, index: Some(index) }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return f.write_str(self.key) };
        parent.fmt(f)?;
        match self.index {
            Some(index) => write!(f, "[{index}]"),
            None if parent.parent.is_none() && parent.key.is_empty() => f.write_str(self.key),
            None => write!(f, ".{}", self.key),
        }
    }
}

/// A key that was met and that a cluster does not simply honour.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) path: String,
    pub(crate) key: String,
    pub(crate) at: Span,
    pub(crate) support: Support,
}
