//! Amounts with their unit in the type, and subtraction that answers which one was short.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An amount of memory or disk, in bytes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// None at all.
    pub const ZERO: Self = Self(0);

    /// This many MiB; saturates at the largest amount.
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// This many GiB; saturates at the largest amount.
    pub const fn gib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 30))
    }

    /// What is left, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, or the largest amount.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Units it is printed in, with their sizes.
const UNITS: [(&str, u128); 6] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("EiB", 1 << 60),
];

impl Bytes {
    /// The unit it is printed in: the next one begins where rounding to one decimal would print 1024.0.
    fn unit(self) -> (&'static str, u128) {
        let fits = |(_, size): &&(&str, u128)| u128::from(self.0) * 20 < size * 1024 * 20 - size;
        *UNITS.iter().find(fits).unwrap_or(&("EiB", 1 << 60))
    }

    /// The most that prints as it is and is no more: who writes what is printed asks for no more than this.
    #[must_use]
    pub fn rounded_down(self) -> Self {
        if self.0 < 1024 {
            return self;
        }
        let (_, size) = self.unit();
        let size = if u128::from(self.0) < size { size / 1024 } else { size };
        let tenths = u128::from(self.0) * 10 / size;
        Self(u64::try_from(tenths * size / 10).unwrap_or(self.0))
    }

    /// The least that prints as it is and is no less: who has what is printed has enough.
    #[must_use]
    pub fn rounded_up(self) -> Self {
        if self.0 < 1024 {
            return self;
        }
        let (_, size) = self.unit();
        let tenths = (u128::from(self.0) * 10).div_ceil(size);
        Self(u64::try_from((tenths * size).div_ceil(10)).unwrap_or(u64::MAX))
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

/// Binary units with one decimal (`1.5 GiB`); whole bytes below 1 KiB.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let (name, size) = self.unit();
        let tenths = (u128::from(self.0) * 10 + size / 2) / size;
        f.pad(&format!("{}.{} {name}", tenths / 10, tenths % 10))
    }
}

/// Thousandths of one CPU core.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MilliCpu(pub u64);

impl MilliCpu {
    /// None at all.
    pub const ZERO: Self = Self(0);

    /// This many whole cores; saturates at the largest amount.
    pub const fn cores(count: u64) -> Self {
        Self(count.saturating_mul(1000))
    }

    /// What is left, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, or the largest amount.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for MilliCpu {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

/// Cores as a decimal without needless zeros (`0.5`, `2`).
impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// What placement counts: memory first, because memory is what kills.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Memory to reserve.
    pub memory: Bytes,
    /// CPU to reserve.
    pub cpu: MilliCpu,
}

impl Resources {
    /// Nothing.
    pub const ZERO: Self = Self { memory: Bytes::ZERO, cpu: MilliCpu::ZERO };

    /// Both amounts added; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_add(other.memory),
            cpu: self.cpu.saturating_add(other.cpu),
        }
    }

    /// Both amounts taken away; never below zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_sub(other.memory),
            cpu: self.cpu.saturating_sub(other.cpu),
        }
    }

    /// What is left after `ask` is taken, or which resource was short (memory is named first).
    pub fn after(self, ask: Self) -> Result<Self, Shortfall> {
        if self.memory < ask.memory {
            return Err(Shortfall::Memory { needed: ask.memory, free: self.memory });
        }
        if self.cpu < ask.cpu {
            return Err(Shortfall::Cpu { needed: ask.cpu, free: self.cpu });
        }
        Ok(self.minus(ask))
    }
}

impl std::iter::Sum for Resources {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

/// Which resource was not enough, in amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Shortfall {
    /// Too little memory.
    #[error("needs {needed}, {free} free, short {}", needed.saturating_sub(*free))]
    Memory {
        /// What was asked.
        needed: Bytes,
        /// What is there.
        free: Bytes,
    },
    /// Too little CPU.
    #[error("needs {needed} CPUs, {free} free, short {}", needed.saturating_sub(*free))]
    Cpu {
        /// What was asked.
        needed: MilliCpu,
        /// What is there.
        free: MilliCpu,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_in_binary_units_with_one_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (1_073_741_823, "1.0 GiB"),
            (2 << 30, "2.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_size_rounded_for_print_is_on_its_side_of_what_it_was() {
        let sizes =
            (0..64).flat_map(|bit| [0, 1, 5, 77].map(|more| (1_u64 << bit) + (more << bit) / 100));
        for bytes in sizes.chain([0, 1023, 1025, 1_073_741_823, 14_456_487_219, u64::MAX >> 1]) {
            let (down, up) = (Bytes(bytes).rounded_down(), Bytes(bytes).rounded_up());
            assert!(down.0 <= bytes && bytes <= up.0, "{down:?} {bytes} {up:?}");
            assert!(bytes == 0 || down.0 >= bytes - bytes / 10, "{down:?} {bytes}");
        }
        assert_eq!(Bytes(14_456_487_219).to_string(), "13.5 GiB");
        assert_eq!(Bytes(14_456_487_219).rounded_down().to_string(), "13.4 GiB");
        assert_eq!(Bytes(2_190_433_321).rounded_up().to_string(), "2.1 GiB");
    }

    #[test]
    fn cpus_print_without_needless_zeros() {
        for (milli, text) in [(0, "0"), (500, "0.5"), (2000, "2"), (1250, "1.25"), (10_000, "10")] {
            assert_eq!(MilliCpu(milli).to_string(), text);
        }
    }

    #[test]
    fn subtraction_names_what_was_short() {
        let free = Resources { memory: Bytes::gib(1), cpu: MilliCpu(500) };
        let ask = Resources { memory: Bytes::gib(2), cpu: MilliCpu(600) };
        let short = free.after(ask).unwrap_err();
        assert_eq!(short.to_string(), "needs 2.0 GiB, 1.0 GiB free, short 1.0 GiB");
        let short = free.after(Resources { memory: Bytes::ZERO, ..ask }).unwrap_err();
        assert_eq!(short.to_string(), "needs 0.6 CPUs, 0.5 free, short 0.1");
        assert_eq!(free.after(free), Ok(Resources::ZERO));
    }
}
