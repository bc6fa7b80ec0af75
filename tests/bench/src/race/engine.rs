//! The engine as the one witness for all.

use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use siso_tests::Engine;

/// Far more than anybody takes.
const BOUND: Duration = Duration::from_mins(2);
/// Between two looks; what is measured are the engine's own times.
const INTERVAL: Duration = Duration::from_millis(50);

/// Sends a request that must succeed and answers its JSON.
pub(super) fn ask(engine: &Engine, method: &str, path: &str, body: &Value) -> Value {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let reply = engine.send(method, path, "application/json", &bytes);
    let reply = reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    assert!(reply.status < 400, "{method} {path}: {} {}", reply.status, reply.text());
    serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
}

/// The containers that carry this label, running or not.
pub(super) fn listed(engine: &Engine, label: &str) -> Vec<Value> {
    let filters = format!("{{\"label\":[\"{label}\"]}}").replace('"', "%22");
    let filters = filters.replace('{', "%7B").replace('}', "%7D");
    let path = format!("/containers/json?all=1&filters={filters}");
    ask(engine, "GET", &path, &Value::Null).as_array().cloned().unwrap_or_default()
}

fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(began.elapsed() < BOUND, "waited in vain: {what}");
        std::thread::sleep(INTERVAL);
    }
}

/// Waits until as many run; answers when the last of them started, in the engine's words.
pub(super) fn wait_running(engine: &Engine, label: &str, count: usize) -> String {
    let running = until("containers run", || {
        let mut rows = listed(engine, label);
        rows.retain(|row| row["State"] == "running");
        (rows.len() == count).then_some(rows)
    });
    let started = running.iter().map(|row| {
        let id = row["Id"].as_str().unwrap_or_default();
        let shown = ask(engine, "GET", &format!("/containers/{id}/json"), &Value::Null);
        shown["State"]["StartedAt"].as_str().unwrap_or_default().to_owned()
    });
    started.max().unwrap_or_default()
}

/// Waits until there are none, and no network of the stack.
pub(super) fn wait_gone(engine: &Engine, label: &str) {
    until("containers are gone", || listed(engine, label).is_empty().then_some(()));
    until("networks are gone", || {
        let networks = ask(engine, "GET", "/networks", &Value::Null);
        let names = networks.as_array().into_iter().flatten();
        let mut names = names.filter_map(|network| network["Name"].as_str());
        (!names.any(|name| name.contains(super::STACK))).then_some(())
    });
}

/// Milliseconds from `began` to a time in the engine's words (RFC 3339, UTC, with fractions).
pub(super) fn millis_between(began: SystemTime, time: &str) -> f64 {
    let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    (seconds(time) - began) * 1e3
}

/// Seconds since 1970.
fn seconds(time: &str) -> f64 {
    let number = |from: usize, to: usize| -> i64 {
        time.get(from..to).and_then(|digits| digits.parse().ok()).unwrap_or_default()
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days from the civil calendar, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let whole = days * 86_400 + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19);
    let fraction = time.get(19..).unwrap_or_default().trim_end_matches('Z');
    let fraction: f64 = format!("0{fraction}").parse().unwrap_or_default();
    // Far below what a double holds exactly.
    i32::try_from(whole).map_or(f64::NAN, f64::from) + fraction
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn the_engines_times_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2000-02-29T12:00:00.25Z", 951_825_600.25),
            ("2026-11-25T21:00:00.5Z", 1_795_640_400.5),
        ] {
            assert!((seconds(text) - expected).abs() < 1e-6, "{text}: {}", seconds(text));
        }
    }
}
