//! Kinds of fields that only the log has, and how messages and model types are held together.

use std::{collections::BTreeSet, marker::PhantomData};

use model::{Id, RequestId, event::Severity};
use proto::{
    convert::{
        BadField, Field,
        kinds::{List, Map, Same},
    },
    v1,
};
use scheduler_core::cluster::AuthorityPhase;

/// Any text.
pub(super) type Text = Same<String>;
/// A list whose length the size of the whole bounds; what is too many is for the cluster to say.
pub(super) type Many<F> = List<F, { usize::MAX }>;
/// Labels, likewise.
pub(super) type Labels = Map<Text, Text, { usize::MAX }>;

/// Words in order, each once.
#[derive(Debug)]
pub(super) enum Words {}

impl Field for Words {
    type Wire = Vec<String>;
    type Model = BTreeSet<String>;

    fn read(wire: Vec<String>) -> Result<BTreeSet<String>, BadField> {
        let count = wire.len();
        let words: BTreeSet<String> = wire.into_iter().collect();
        if words.len() < count {
            Err(BadField::new("a word stands there twice"))
        } else {
            Ok(words)
        }
    }

    fn write(model: &BTreeSet<String>) -> Vec<String> {
        model.iter().cloned().collect()
    }
}

/// Numbers in order, each once.
#[derive(Debug)]
pub(super) enum Numbers {}

impl Field for Numbers {
    type Wire = Vec<u64>;
    type Model = BTreeSet<u64>;

    fn read(wire: Vec<u64>) -> Result<BTreeSet<u64>, BadField> {
        let count = wire.len();
        let numbers: BTreeSet<u64> = wire.into_iter().collect();
        if numbers.len() < count {
            Err(BadField::new("a number stands there twice"))
        } else {
            Ok(numbers)
        }
    }

    fn write(model: &BTreeSet<u64>) -> Vec<u64> {
        model.iter().copied().collect()
    }
}

/// An id, 0 included: nobody has it, which is an answer.
#[derive(Debug)]
pub(super) struct Number<K>(PhantomData<K>);

impl<K> Field for Number<K> {
    type Wire = u64;
    type Model = Id<K>;

    fn read(wire: u64) -> Result<Id<K>, BadField> {
        Ok(Id::new(wire))
    }

    fn write(model: &Id<K>) -> u64 {
        model.raw()
    }
}

/// SHA-256.
#[derive(Debug)]
pub(super) enum Hash {}

impl Field for Hash {
    type Wire = Vec<u8>;
    type Model = [u8; 32];

    fn read(wire: Vec<u8>) -> Result<[u8; 32], BadField> {
        exactly(&wire)
    }

    fn write(model: &[u8; 32]) -> Vec<u8> {
        model.to_vec()
    }
}

/// A [`RequestId`], the highest byte first.
#[derive(Debug)]
pub(super) enum RequestKey {}

impl Field for RequestKey {
    type Wire = Vec<u8>;
    type Model = RequestId;

    fn read(wire: Vec<u8>) -> Result<RequestId, BadField> {
        exactly(&wire).map(|bytes| RequestId(u128::from_be_bytes(bytes)))
    }

    fn write(model: &RequestId) -> Vec<u8> {
        model.0.to_be_bytes().to_vec()
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BadField> {
    bytes.try_into().map_err(|_| BadField::new(format!("{} bytes instead of {N}", bytes.len())))
}

/// [`Severity`]
#[derive(Debug)]
pub(super) enum SeverityWord {}

impl Field for SeverityWord {
    type Wire = i32;
    type Model = Severity;

    fn read(wire: i32) -> Result<Severity, BadField> {
        match v1::Severity::try_from(wire) {
            Ok(v1::Severity::Normal) => Ok(Severity::Normal),
            Ok(v1::Severity::Warning) => Ok(Severity::Warning),
            Ok(v1::Severity::Unspecified) => Err(BadField::missing()),
            Err(_) => Err(BadField::new(format!("this program does not know {wire}"))),
        }
    }

    fn write(model: &Severity) -> i32 {
        let word = match model {
            Severity::Normal => v1::Severity::Normal,
            Severity::Warning => v1::Severity::Warning,
        };
        word.into()
    }
}

/// [`AuthorityPhase`]
#[derive(Debug)]
pub(super) enum PhaseWord {}

impl Field for PhaseWord {
    type Wire = i32;
    type Model = AuthorityPhase;

    fn read(wire: i32) -> Result<AuthorityPhase, BadField> {
        match v1::AuthorityPhase::try_from(wire) {
            Ok(v1::AuthorityPhase::Settled) => Ok(AuthorityPhase::Settled),
            Ok(v1::AuthorityPhase::Introduced) => Ok(AuthorityPhase::Introduced),
            Ok(v1::AuthorityPhase::Issuing) => Ok(AuthorityPhase::Issuing),
            Ok(v1::AuthorityPhase::Presented) => Ok(AuthorityPhase::Presented),
            Ok(v1::AuthorityPhase::Unspecified) => Err(BadField::missing()),
            Err(_) => Err(BadField::new(format!("this program does not know {wire}"))),
        }
    }

    fn write(model: &AuthorityPhase) -> i32 {
        let word = match model {
            AuthorityPhase::Settled => v1::AuthorityPhase::Settled,
            AuthorityPhase::Introduced => v1::AuthorityPhase::Introduced,
            AuthorityPhase::Issuing => v1::AuthorityPhase::Issuing,
            AuthorityPhase::Presented => v1::AuthorityPhase::Presented,
        };
        word.into()
    }
}

/// An empty choice is one that was made of what a later version offers.
pub(super) fn no_choice() -> BadField {
    BadField::new("missing, or of a kind this program does not know")
}

/// Names the [`Field`] that holds a message and a model type with fields of the same names together.
macro_rules! record {
    ($kind:ident: $wire:ty => $model:ty { $($field:ident: $form:ty),* $(,)? }) => {
        #[derive(Debug)]
        pub(super) enum $kind {}

        impl proto::convert::Field for $kind {
            type Wire = $wire;
            type Model = $model;

            fn read(wire: $wire) -> Result<$model, proto::convert::BadField> {
                use proto::convert::{At as _, Field};
                type Model = $model;
                Ok(Model {
                    $($field: <$form as Field>::read(wire.$field).at(stringify!($field))?,)*
                })
            }

            fn write(model: &$model) -> $wire {
                use proto::convert::Field;
                type Wire = $wire;
                Wire { $($field: <$form as Field>::write(&model.$field),)* }
            }
        }
    };
}

/// Names the [`Field`] that holds a message with nothing but a `oneof` and an enumeration of the
/// model together, whose variants and their fields have the same names. `$module` is the module of
/// the messages within `$wire`, `$choice` the `oneof` and `$one` its type.
macro_rules! choice {
    ($kind:ident: $wire:ty, $module:ident :: $one:ident, $choice:ident => $model:ident {
        $($name:ident: $variant:ident { $($field:ident: $form:ty),* $(,)? }),* $(,)?
    }) => {
        #[derive(Debug)]
        pub(super) enum $kind {}

        impl proto::convert::Field for $kind {
            type Wire = $wire;
            type Model = $model;

            fn read(wire: $wire) -> Result<$model, proto::convert::BadField> {
                use proto::convert::{At as _, Field};
                let choice = wire.$choice.ok_or_else($crate::log::codec::form::no_choice)?;
                match choice {
                    $($module::$one::$variant(wire) => {
                        let read = move || {
                            Ok($model::$variant {
                                $($field: <$form as Field>::read(wire.$field)
                                    .at(stringify!($field))?,)*
                            })
                        };
                        read().at(stringify!($name))
                    })*
                }
            }

            fn write(model: &$model) -> $wire {
                use proto::convert::Field;
                type Wire = $wire;
                let choice = match model {
                    $($model::$variant { $($field),* } => {
                        $module::$one::$variant($module::$variant {
                            $($field: <$form as Field>::write($field),)*
                        })
                    })*
                };
                Wire { $choice: Some(choice) }
            }
        }
    };
}

pub(super) use {choice, record};
