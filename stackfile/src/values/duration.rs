use model::size::scale;

/// Ten years: longer than anything is waited for, and far from overflow.
const MAX_NS: u64 = 10 * 365 * 24 * 3600 * 1_000_000_000;

/// The units, largest first, in nanoseconds.
const UNITS: &[(&str, u64)] = &[
    ("w", 7 * 24 * 3600 * 1_000_000_000),
    ("d", 24 * 3600 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("µs", 1000),
    ("ns", 1),
];

/// A duration as Compose writes it: `30s`, `1m30s`, `500ms`, `1d`. Nanoseconds.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    let whole = text.trim();
    if whole == "0" {
        return Ok(0);
    }
    if whole.is_empty() {
        return Err("a duration is a number with a unit, as in `30s`".to_owned());
    }
    if whole.starts_with('-') {
        return Err("it is negative".to_owned());
    }
    let mut rest = whole;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err(format!("a number was expected before `{unit}`, as in `30s`"));
        }
        if unit.is_empty() {
            return Err(format!("the unit is missing; did you mean `{number}s`?"));
        }
        let bare = unit.trim();
        let (_, ns) = UNITS
            .iter()
            .find(|(name, _)| *name == bare)
            .ok_or_else(|| format!("`{bare}` is not a unit of time; use ms, s, m, h or d"))?;
        if bare != unit {
            return Err(format!("no space stands before the unit; did you mean `{number}{bare}`?"));
        }
        let part = scale(number, *ns).ok_or_else(|| format!("`{number}` is not a number"))?;
        total = total.saturating_add(part);
        rest = tail;
    }
    if total > MAX_NS {
        return Err("it is longer than ten years".to_owned());
    }
    Ok(total)
}

/// Prints nanoseconds the way Compose does: `1m30s`, `1.5s`, `250ms`.
pub(crate) fn print_duration(ns: u64) -> String {
    let decimal = |ns: u64, unit: u64| {
        let fraction = format!("{:0width$}", ns % unit, width = unit.ilog10() as usize);
        let text = format!("{}.{}", ns / unit, if unit == 1 { "" } else { &fraction });
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match ns {
        0 => "0s".to_owned(),
        1..1000 => format!("{ns}ns"),
        1000..1_000_000 => format!("{}µs", decimal(ns, 1000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(ns, 1_000_000)),
        _ => {
            let minutes = ns / 60_000_000_000;
            let seconds = match ns % 60_000_000_000 {
                0 => "0".to_owned(),
                rest if rest < 1_000_000_000 => {
                    format!("0.{}", format!("{rest:09}").trim_end_matches('0'))
                }
                rest => decimal(rest, 1_000_000_000),
            };
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}
