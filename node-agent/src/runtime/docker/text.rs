//! The engine's words as ours: times, architectures, log lines.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use bollard::{container::LogOutput, models::ContainerInspectResponse};
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

/// Where a container is reached from its engine's machine: on its first network by name, or, where it has that machine's,
/// there. `None` when it has no network, or does not run.
pub(super) fn address(shown: &ContainerInspectResponse) -> Option<IpAddr> {
    // One that has ended would lead to whatever the machine itself listens on.
    if shown.state.as_ref().and_then(|state| state.running) != Some(true) {
        return None;
    }
    let mode = shown.host_config.as_ref().and_then(|host| host.network_mode.as_deref());
    if mode == Some("host") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let networks = shown.network_settings.as_ref()?.networks.as_ref()?;
    let by_name: BTreeMap<&String, _> = networks.iter().collect();
    by_name.into_values().find_map(|network| {
        let addresses = [network.ip_address.as_deref(), network.global_ipv6_address.as_deref()];
        addresses.into_iter().flatten().find_map(|address| address.parse().ok())
    })
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
    fn a_container_is_reached_on_its_first_network_that_gave_it_an_address() {
        let shown = |text: &str| serde_json::from_str::<ContainerInspectResponse>(text).unwrap();
        let runs =
            |text: &str| address(&shown(&format!(r#"{{"State": {{"Running": true}}, {text}}}"#)));
        let networks = r#""NetworkSettings": {"Networks": {
            "b": {"IPAddress": "172.18.0.3"}, "c": {"IPAddress": "172.19.0.3"}, "a": {"IPAddress": ""}}}"#;
        assert_eq!(runs(networks), Some(Ipv4Addr::new(172, 18, 0, 3).into()));
        let of_six = r#""NetworkSettings": {"Networks": {
            "a": {"IPAddress": "", "GlobalIPv6Address": "fd00::3"}}}"#;
        assert_eq!(runs(of_six).unwrap().to_string(), "fd00::3");
        let on_host = r#""HostConfig": {"NetworkMode": "host"}"#;
        assert_eq!(runs(on_host), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(address(&shown(&format!("{{{on_host}}}"))), None, "it does not run");
        assert_eq!(runs(r#""Id": "x""#), None);
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
