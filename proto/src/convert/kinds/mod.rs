//! The kinds of fields. Each is a type without values: it is only ever named.

mod number;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    sync::Arc,
};

use model::{Generic, GenericName, generic::KINDS_MAX};

use super::{At as _, BadField, Field, limits::LIST_MAX};

pub use number::{
    Amount, AtEpoch, AtGeneration, AtRevision, Cpu, IdOf, LimitOrNone, Millis, Mode, PortNumber,
    Priority, Replicas, Slot, Time, Total, TotalCpu,
};
pub use text::{AbsolutePath, Parsed, Remark, Sentence, Text, VariableName, Word};

/// The same on both sides, any value.
#[derive(Debug)]
pub struct Same<T>(PhantomData<T>);

impl<T: Clone> Field for Same<T> {
    type Wire = T;
    type Model = T;

    fn read(wire: T) -> Result<T, BadField> {
        Ok(wire)
    }

    fn write(model: &T) -> T {
        model.clone()
    }
}

/// A value that may be absent.
#[derive(Debug)]
pub struct Maybe<F>(PhantomData<F>);

impl<F: Field> Field for Maybe<F> {
    type Wire = Option<F::Wire>;
    type Model = Option<F::Model>;

    fn read(wire: Option<F::Wire>) -> Result<Option<F::Model>, BadField> {
        wire.map(F::read).transpose()
    }

    fn write(model: &Option<F::Model>) -> Option<F::Wire> {
        model.as_ref().map(F::write)
    }
}

/// A value that may be absent on the wire and must not be.
#[derive(Debug)]
pub struct Required<F>(PhantomData<F>);

impl<F: Field> Field for Required<F> {
    type Wire = Option<F::Wire>;
    type Model = F::Model;

    fn read(wire: Option<F::Wire>) -> Result<F::Model, BadField> {
        F::read(wire.ok_or_else(BadField::missing)?)
    }

    fn write(model: &F::Model) -> Option<F::Wire> {
        Some(F::write(model))
    }
}

/// A message with conversions of its own.
#[derive(Debug)]
pub struct Message<W, M>(PhantomData<(W, M)>);

impl<W, M> Field for Message<W, M>
where
    W: for<'a> From<&'a M>,
    M: TryFrom<W, Error = BadField>,
{
    type Wire = W;
    type Model = M;

    fn read(wire: W) -> Result<M, BadField> {
        wire.try_into()
    }

    fn write(model: &M) -> W {
        model.into()
    }
}

/// Something the model shares instead of copying.
#[derive(Debug)]
pub struct Shared<F>(PhantomData<F>);

impl<F: Field> Field for Shared<F> {
    type Wire = F::Wire;
    type Model = Arc<F::Model>;

    fn read(wire: F::Wire) -> Result<Arc<F::Model>, BadField> {
        F::read(wire).map(Arc::new)
    }

    fn write(model: &Arc<F::Model>) -> F::Wire {
        F::write(model)
    }
}

fn count(length: usize, limit: usize) -> Result<(), BadField> {
    if length > limit {
        return Err(BadField::new(format!("{length} entries, the limit is {limit}")));
    }
    Ok(())
}

/// A list of at most `MOST` entries.
#[derive(Debug)]
pub struct List<F, const MOST: usize = LIST_MAX>(PhantomData<F>);

impl<F: Field, const MOST: usize> Field for List<F, MOST> {
    type Wire = Vec<F::Wire>;
    type Model = Vec<F::Model>;

    fn read(wire: Vec<F::Wire>) -> Result<Vec<F::Model>, BadField> {
        count(wire.len(), MOST)?;
        let entries = wire.into_iter().enumerate();
        entries.map(|(index, entry)| F::read(entry).at(&format!("[{index}]"))).collect()
    }

    fn write(model: &Vec<F::Model>) -> Vec<F::Wire> {
        model.iter().map(F::write).collect()
    }
}

/// A list in order without repetition of at most `MOST` entries. Order and repetition on the wire do
/// not matter.
#[derive(Debug)]
pub struct Set<F, const MOST: usize = LIST_MAX>(PhantomData<F>);

impl<F: Field<Model: Ord>, const MOST: usize> Field for Set<F, MOST> {
    type Wire = Vec<F::Wire>;
    type Model = BTreeSet<F::Model>;

    fn read(wire: Vec<F::Wire>) -> Result<BTreeSet<F::Model>, BadField> {
        Ok(List::<F, MOST>::read(wire)?.into_iter().collect())
    }

    fn write(model: &BTreeSet<F::Model>) -> Vec<F::Wire> {
        model.iter().map(F::write).collect()
    }
}

/// A map of at most `MOST` entries.
#[derive(Debug)]
pub struct Map<K, F, const MOST: usize = LIST_MAX>(PhantomData<(K, F)>);

impl<K, F, const MOST: usize> Field for Map<K, F, MOST>
where
    K: Field<Wire = String, Model: Ord>,
    F: Field,
{
    type Wire = BTreeMap<String, F::Wire>;
    type Model = BTreeMap<K::Model, F::Model>;

    fn read(wire: Self::Wire) -> Result<Self::Model, BadField> {
        count(wire.len(), MOST)?;
        let entry = |(key, value): (String, F::Wire)| {
            let read = F::read(value).at(&key)?;
            let name = K::read(key.clone()).at(&key)?;
            Ok((name, read))
        };
        wire.into_iter().map(entry).collect()
    }

    fn write(model: &Self::Model) -> Self::Wire {
        model.iter().map(|(key, value)| (K::write(key), F::write(value))).collect()
    }
}

/// Amounts of generic resources by kind.
#[derive(Debug)]
pub enum GenericAmounts {}

impl Field for GenericAmounts {
    type Wire = BTreeMap<String, u64>;
    type Model = Generic;

    fn read(wire: Self::Wire) -> Result<Generic, BadField> {
        let amounts = Map::<Parsed<GenericName>, Same<u64>, KINDS_MAX>::read(wire)?;
        Generic::new(amounts).map_err(BadField::new)
    }

    fn write(model: &Generic) -> Self::Wire {
        model.iter().map(|(kind, amount)| (kind.to_string(), amount)).collect()
    }
}

/// Labels: any text under a name.
pub type Labels = Map<Word, Text>;
