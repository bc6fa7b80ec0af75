//! The kinds of fields. Each is a type without values: it is only ever named.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    marker::PhantomData,
    str::FromStr,
    sync::Arc,
};

use model::{Bytes, Epoch, Generation, Id, MilliCpu, Revision, Timestamp};

use super::{
    At as _, BadField, Field,
    limits::{
        BYTES_MAX, LIST_MAX, MILLI_CPU_MAX, MILLIS_MAX, MODE_MAX, PRIORITY_MAX, REPLICAS_MAX,
        SENTENCE_MAX, TEXT_MAX, WORD_MAX,
    },
};

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

fn at_most(text: String, limit: usize) -> Result<String, BadField> {
    if text.len() > limit {
        return Err(BadField::new(format!("{} bytes, the limit is {limit}", text.len())));
    }
    Ok(text)
}

fn without_nul(text: String) -> Result<String, BadField> {
    // It would end the text for the kernel but not for us.
    if text.contains('\0') { Err(BadField::new("has a NUL character")) } else { Ok(text) }
}

macro_rules! text {
    ($(#[$doc:meta])* $kind:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}

        impl Field for $kind {
            type Wire = String;
            type Model = String;

            fn read(wire: String) -> Result<String, BadField> {
                $check(wire)
            }

            fn write(model: &String) -> String {
                model.clone()
            }
        }
    };
}

text!(
    /// What a program or engine is given; may be empty.
    Text, |text| without_nul(at_most(text, TEXT_MAX)?)
);
text!(
    /// A name, reference or address; not empty.
    Word, |text: String| {
        if text.is_empty() {
            return Err(BadField::missing());
        }
        without_nul(at_most(text, WORD_MAX)?)
    }
);
text!(
    /// A short text for people; may be empty.
    Remark, |text| at_most(text, WORD_MAX)
);
text!(
    /// What went wrong, in words; may be empty.
    Sentence, |text| at_most(text, SENTENCE_MAX)
);
text!(
    /// A path from the root.
    AbsolutePath, |text: String| {
        let path = Word::read(text)?;
        if path.starts_with('/') { Ok(path) } else { Err(BadField::new("is not absolute")) }
    }
);
text!(
    /// The name of an environment variable.
    VariableName, |text: String| {
        let name = Word::read(text)?;
        if name.contains('=') { Err(BadField::new("has a `=`")) } else { Ok(name) }
    }
);

macro_rules! number {
    ($(#[$doc:meta])* $kind:ident: $type:ty, $range:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}

        impl Field for $kind {
            type Wire = $type;
            type Model = $type;

            fn read(wire: $type) -> Result<$type, BadField> {
                in_range(wire, &$range)
            }

            fn write(model: &$type) -> $type {
                *model
            }
        }
    };
}

fn in_range<T: PartialOrd + Display>(
    value: T,
    range: &std::ops::RangeInclusive<T>,
) -> Result<T, BadField> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(BadField::new(format!("{value} is not within {} to {}", range.start(), range.end())))
}

number!(
    /// How many replicas a service has.
    Replicas: u32, 0..=REPLICAS_MAX
);
number!(
    /// Which replica, from 1.
    Slot: u32, 1..=u32::MAX
);
number!(
    /// A setting in milliseconds.
    Millis: u64, 0..=MILLIS_MAX
);
number!(
    /// Permission bits.
    Mode: u32, 0..=MODE_MAX
);
number!(
    /// A limit of a process; −1 is unlimited.
    LimitOrNone: i64, -1..=i64::MAX
);

/// A port, 1 to 65535.
#[derive(Debug)]
pub enum PortNumber {}

impl Field for PortNumber {
    type Wire = u32;
    type Model = u16;

    fn read(wire: u32) -> Result<u16, BadField> {
        let port = in_range(wire, &(1..=u32::from(u16::MAX)))?;
        u16::try_from(port).map_err(BadField::new)
    }

    fn write(model: &u16) -> u32 {
        (*model).into()
    }
}

/// Who is placed first, 0 to 100.
#[derive(Debug)]
pub enum Priority {}

impl Field for Priority {
    type Wire = u32;
    type Model = u8;

    fn read(wire: u32) -> Result<u8, BadField> {
        u8::try_from(in_range(wire, &(0..=PRIORITY_MAX))?).map_err(BadField::new)
    }

    fn write(model: &u8) -> u32 {
        (*model).into()
    }
}

macro_rules! counted {
    ($(#[$doc:meta])* $kind:ident: $type:ident, $most:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}

        impl Field for $kind {
            type Wire = u64;
            type Model = $type;

            fn read(wire: u64) -> Result<$type, BadField> {
                in_range(wire, &(0..=$most)).map($type)
            }

            fn write(model: &$type) -> u64 {
                model.0
            }
        }
    };
}

counted!(
    /// An amount of memory or disk someone asks for or offers.
    Amount: Bytes, BYTES_MAX
);
counted!(
    /// An amount of memory or disk that is only shown; a sum of amounts may be any number.
    Total: Bytes, u64::MAX
);
counted!(
    /// An amount of CPU someone asks for or offers.
    Cpu: MilliCpu, MILLI_CPU_MAX
);
counted!(
    /// An amount of CPU that is only shown.
    TotalCpu: MilliCpu, u64::MAX
);
counted!(
    /// A time by someone's clock, right or wrong.
    Time: Timestamp, u64::MAX
);
counted!(
    /// A revision.
    AtRevision: Revision, u64::MAX
);
counted!(
    /// An epoch.
    AtEpoch: Epoch, u64::MAX
);
counted!(
    /// A generation.
    AtGeneration: Generation, u64::MAX
);

/// An id; there is no id 0.
#[derive(Debug)]
pub struct IdOf<K>(PhantomData<K>);

impl<K> Field for IdOf<K> {
    type Wire = u64;
    type Model = Id<K>;

    fn read(wire: u64) -> Result<Id<K>, BadField> {
        if wire == 0 { Err(BadField::missing()) } else { Ok(Id::new(wire)) }
    }

    fn write(model: &Id<K>) -> u64 {
        model.raw()
    }
}

/// Something with a text form that says itself what is wrong with a text: names, constraints.
#[derive(Debug)]
pub struct Parsed<T>(PhantomData<T>);

impl<T: FromStr<Err: Display> + Display> Field for Parsed<T> {
    type Wire = String;
    type Model = T;

    fn read(wire: String) -> Result<T, BadField> {
        at_most(wire, WORD_MAX)?.parse().map_err(BadField::new)
    }

    fn write(model: &T) -> String {
        model.to_string()
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

/// Labels: any text under a name.
pub type Labels = Map<Word, Text>;
