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

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

/// Binary units with one decimal (`1.5 GiB`); whole bytes below 1 KiB.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut unit = 0;
        let mut divisor: u128 = 1024;
        // The next unit begins where rounding to one decimal would print 1024.0.
        while unit + 1 < UNITS.len() && u128::from(self.0) * 20 >= divisor * 1024 * 20 - divisor {
            unit += 1;
            divisor *= 1024;
        }
        let tenths = (u128::from(self.0) * 10 + divisor / 2) / divisor;
        let name = UNITS.get(unit).copied().unwrap_or("EiB");
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
