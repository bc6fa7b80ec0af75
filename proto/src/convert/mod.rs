//! The door: wire messages become model values here, or an error that names the field.
//!
//! **Invariant:** what has passed is within [`limits`] and needs no second look; nothing a peer sends
//! makes this panic. A message and its model are held together by one `mirror!`: one line per field,
//! from which both directions come. Start at [`Field`].

mod assignment;
mod container;
mod error;
mod field;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod kinds;
pub mod limits;
mod node;
mod service;
mod stack;
mod task;
mod view;
pub mod words;

#[cfg(test)]
mod tests;

pub use error::{At, BadField};
pub use field::Field;

/// Reads a message that must be there, for example `message::<_, StackSpec>(request.spec).at("spec")`.
pub fn message<W, M>(wire: Option<W>) -> Result<M, BadField>
where
    M: TryFrom<W, Error = BadField>,
{
    wire.ok_or_else(BadField::missing)?.try_into()
}
