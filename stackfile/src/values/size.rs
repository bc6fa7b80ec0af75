use model::Bytes;

/// The largest size that makes sense: more memory than any machine has, and far from overflow.
const MAX: u64 = 1 << 53;

/// A size as Compose writes it: `512m`, `1.5gb`, `2G`, `14GiB`, `1024`. Units are powers of 1024.
pub(crate) fn size(text: &str) -> Result<Bytes, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("a size begins with a number, as in `512m` or `2g`".to_owned());
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
        _ => return Err(format!("`{unit}` is not a unit of size; use k, m or g")),
    };
    let bytes = scale(number, 1 << shift).ok_or_else(|| format!("`{number}` is not a number"))?;
    if bytes > MAX {
        return Err("it is larger than any machine; the largest size is 8 PiB".to_owned());
    }
    Ok(Bytes(bytes))
}

/// `number` times `unit`, rounded down, without floating point.
pub(super) fn scale(number: &str, unit: u64) -> Option<u64> {
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
