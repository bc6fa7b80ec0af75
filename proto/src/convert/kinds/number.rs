//! Numbers, by what they count.

use std::{fmt::Display, marker::PhantomData};

use model::{Bytes, Epoch, Generation, Id, MilliCpu, Revision, Timestamp};

use crate::convert::{
    BadField, Field,
    limits::{BYTES_MAX, MILLI_CPU_MAX, MILLIS_MAX, MODE_MAX, PRIORITY_MAX, REPLICAS_MAX},
};

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
