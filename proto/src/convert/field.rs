//! How one field crosses the wire, in both directions, as a type.

use super::BadField;

/// A kind of field: its form on the wire, its form in the model, and the way between. The kinds are
/// in [`kinds`](super::kinds); `mirror!` lists one per field.
pub trait Field {
    /// What prost generates.
    type Wire;
    /// What the model holds.
    type Model;

    /// Believes the wire's value, or says why not.
    fn read(wire: Self::Wire) -> Result<Self::Model, BadField>;

    /// Never fails: every value of the model has a form on the wire.
    fn write(model: &Self::Model) -> Self::Wire;
}

/// Holds a wire message and a model type together whose fields have the same names: makes `TryFrom`
/// the message, and `From` the model, by reference and by value.
macro_rules! mirror {
    ($wire:ty => $model:ty { $($field:ident: $kind:ty),* $(,)? }) => {
        impl TryFrom<$wire> for $model {
            type Error = $crate::convert::BadField;

            fn try_from(wire: $wire) -> Result<Self, $crate::convert::BadField> {
                use $crate::convert::{At as _, Field};
                Ok(Self {
                    $($field: <$kind as Field>::read(wire.$field).at(stringify!($field))?,)*
                })
            }
        }

        impl From<&$model> for $wire {
            fn from(model: &$model) -> Self {
                Self { $($field: <$kind as $crate::convert::Field>::write(&model.$field),)* }
            }
        }

        impl From<$model> for $wire {
            fn from(model: $model) -> Self {
                Self::from(&model)
            }
        }
    };
}

/// Holds the words of a wire enumeration and of a model's together and names the [`Field`] of such
/// a word. A number this program does not know is an error, and so is none at all.
macro_rules! words {
    ($(#[$doc:meta])* $kind:ident: $wire:ty => $model:ty { $($word:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}

        impl $crate::convert::Field for $kind {
            type Wire = i32;
            type Model = $model;

            fn read(wire: i32) -> Result<$model, $crate::convert::BadField> {
                use $crate::convert::BadField;
                match <$wire>::try_from(wire) {
                    $(Ok(<$wire>::$word) => Ok(<$model>::$word),)*
                    Ok(<$wire>::Unspecified) => Err(BadField::missing()),
                    Err(_) => Err(BadField::new(format!("this program does not know {wire}"))),
                }
            }

            fn write(model: &$model) -> i32 {
                <$wire>::from(*model).into()
            }
        }

        impl From<$model> for $wire {
            fn from(model: $model) -> Self {
                match model {
                    $(<$model>::$word => Self::$word,)*
                }
            }
        }
    };
}

pub(super) use {mirror, words};
