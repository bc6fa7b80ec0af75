use model::MilliCpu;

use model::size::scale;

/// More cores than any machine has.
const MAX: u64 = 4096 * 1000;

/// A number of CPUs: `2`, `0.5`. Kubernetes' `500m` is not one.
pub(crate) fn cpus(text: &str) -> Result<MilliCpu, String> {
    let text = text.trim();
    if let Some(milli) = text.strip_suffix('m')
        && let Ok(milli) = milli.parse::<u32>()
    {
        return Err(format!("write it in cores: `{}`", MilliCpu(u64::from(milli))));
    }
    let milli = scale(text, 1000).ok_or("write it in cores, as in `2` or `0.5`")?;
    if milli > MAX {
        return Err("it is more than any machine has; the largest number is 4096".to_owned());
    }
    // A share below a thousandth is the least there is, not none, which would mean no limit.
    let some = text.bytes().any(|c| matches!(c, b'1'..=b'9'));
    Ok(MilliCpu(milli.max(u64::from(some))))
}
