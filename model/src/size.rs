//! Sizes as people write them: `512m`, `1.5gb`, `2G`, `14GiB`, `1024`. Units are powers of 1024, as Compose means them.

use std::str::FromStr;

use thiserror::Error;

use crate::Bytes;

/// The largest size that makes sense: more memory than any machine has, and far from overflow.
const MAX: u64 = 1 << 53;

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSize {
    /// There is no number at its beginning.
    #[error("a size begins with a number, as in `512m` or `2g`")]
    NoNumber,
    /// What follows the number.
    #[error("`{0}` is not a unit of size; use k, m or g")]
    Unit(String),
    /// What stands where the number should.
    #[error("`{0}` is not a number")]
    Number(String),
    /// More than 8 PiB.
    #[error("it is larger than any machine; the largest size is 8 PiB")]
    TooLarge,
}

/// As it is written in a stack file, in settings and on command lines.
impl FromStr for Bytes {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let text = text.trim();
        let digits = text.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(BadSize::NoNumber);
        }
        let unit = unit.trim_start();
        let lower = unit.to_ascii_lowercase();
        let prefix = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
        let shift = match prefix {
            // `ib` alone would be left empty too.
            "" if lower != "ib" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            "p" => 50,
            _ => return Err(BadSize::Unit(unit.to_owned())),
        };
        let bytes = scale(number, 1 << shift).ok_or_else(|| BadSize::Number(number.to_owned()))?;
        if bytes > MAX { Err(BadSize::TooLarge) } else { Ok(Self(bytes)) }
    }
}

/// `number`, digits with a point among them or not, times `unit`, rounded down, without floating point; saturates. `None`
/// when it is no such number.
pub fn scale(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    // Past eighteen places a digit is worth less than a millionth of the smallest unit here.
    let fraction = fraction.get(..fraction.len().min(18)).unwrap_or("");
    let whole: u128 = if whole.is_empty() { 0 } else { saturating(whole) };
    let part: u128 = if fraction.is_empty() { 0 } else { saturating(fraction) };
    let ten = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let total = whole.saturating_mul(u128::from(unit)) + part * u128::from(unit) / ten;
    Some(u64::try_from(total).unwrap_or(u64::MAX))
}

/// Digits as a number that is at most 2^64, so that products of it stay far from overflow.
fn saturating(digits: &str) -> u128 {
    digits.parse::<u64>().map_or(1 << 64, u128::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_whatever_their_unit_is_called() {
        #[track_caller]
        fn check(text: &str, bytes: u64) {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        check("0", 0);
        check("1024", 1024);
        check("64b", 64);
        check("1k", 1 << 10);
        check("512m", 512 << 20);
        check("512M", 512 << 20);
        check("512MB", 512 << 20);
        check("512MiB", 512 << 20);
        check("1.5gb", 3 << 29);
        check("2 g", 2 << 30);
        check("14GiB", 14 << 30);
        check("1t", 1 << 40);
        check("8p", 8 << 50);
        check(".5k", 512);
    }

    #[test]
    fn what_is_not_a_size_is_said_in_words() {
        #[track_caller]
        fn check(text: &str, said: &str) {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        check("", "begins with a number");
        check("m", "begins with a number");
        check("-1g", "begins with a number");
        check("1x", "`x` is not a unit");
        check("1gi", "`gi` is not a unit");
        check("1ib", "`ib` is not a unit");
        check("1.2.3g", "`1.2.3` is not a number");
        check(".", "`.` is not a number");
        check("9p", "larger than any machine");
        check("99999999999999999999999999", "larger than any machine");
    }
}
