//! The engine's words as ours: times, architectures, log lines.

use bollard::container::LogOutput;
use model::Timestamp;

use crate::runtime::LogLine;

/// An RFC 3339 time; `None` for the engine's year 1, which stands for "never".
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(parsed.as_millisecond()).ok().filter(|millis| *millis > 0).map(Timestamp)
}

/// The name images use for an architecture, from the kernel's name for it.
pub(super) fn architecture(kernel: &str) -> String {
    match kernel {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

/// A line with its time before it, as the engine sends it.
pub(super) fn log_line(output: LogOutput) -> LogLine {
    let stderr = matches!(output, LogOutput::StdErr { .. });
    let bytes = output.into_bytes();
    let stamped = bytes.iter().position(|byte| *byte == b' ').and_then(|space| {
        let at = time(std::str::from_utf8(bytes.get(..space)?).ok()?)?;
        Some((at, bytes.get(space + 1..)?))
    });
    let (at, text) = stamped.unwrap_or((Timestamp::default(), &bytes[..]));
    LogLine { at, stderr, text: text.strip_suffix(b"\n").unwrap_or(text).to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_no_time() {
        assert_eq!(time("0001-01-01T00:00:00Z"), None);
        assert_eq!(time("2026-11-23T22:41:07.123456789Z"), Some(Timestamp(1_795_473_667_123)));
    }

    #[test]
    fn a_log_line_gives_up_its_time_and_its_end() {
        let check = |sent: &'static str, at: u64, text: &str| {
            let line = log_line(LogOutput::StdErr { message: sent.into() });
            let expected =
                LogLine { at: Timestamp(at), stderr: true, text: text.as_bytes().to_vec() };
            assert_eq!(line, expected);
        };
        check("1970-01-01T00:00:01.5Z a b\n", 1500, "a b");
        check("1970-01-01T00:00:01Z \n", 1000, "");
        check("1970-01-01T00:00:01Z a piece", 1000, "a piece");
        check("no time\n", 0, "no time");
    }
}
