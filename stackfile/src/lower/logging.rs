use model::spec::Logging;

use super::{Context, pairs};
use crate::{diagnostic::Report, grammar::nearest, tree::Map, values::size};

/// The drivers of the engine whose output `sisoctl logs` can show.
const KEPT: &[&str] = &["json-file", "local", "journald"];
/// Those that send it elsewhere, or nowhere.
const SENT: &[&str] = &["none", "syslog", "gelf", "fluentd", "awslogs", "splunk", "gcplogs"];

/// Options the engine itself reads, whatever the driver is.
const ANY_OPTIONS: &[&str] = &[
    "mode",
    "max-buffer-size",
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];
const LOCAL_OPTIONS: &[&str] = &["max-size", "max-file", "compress"];
const JSON_FILE_OPTIONS: &[&str] =
    &["max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"];

/// Where a task's output goes; the capped `local` driver when the service says nothing.
pub(super) fn logging(service: &Context<'_>, report: &mut Report) -> Option<Logging> {
    let map = service.map.map("logging")?;
    let driver = map.text("driver").filter(|driver| !driver.is_empty()).unwrap_or("json-file");
    let path = service.path("logging.driver");
    let at = service.place(&["logging", "driver"]);
    if SENT.contains(&driver) {
        let what =
            format!("the log driver `{driver}` keeps nothing that `sisoctl logs` could show");
        report.note(at, what).path(path);
    } else if !KEPT.contains(&driver) {
        let known = || KEPT.iter().chain(SENT).copied();
        let hint = match nearest(driver, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is one of {}", known().collect::<Vec<_>>().join(", ")),
        };
        report.error(at, format!("`{driver}` is not a log driver")).path(path).hint(hint);
    }
    options(service, driver, map, report);
    Some(Logging { driver: driver.to_owned(), options: pairs(map.map("options")) })
}

/// Options of the drivers that write files; those of the others are theirs to judge.
fn options(service: &Context<'_>, driver: &str, map: &Map, report: &mut Report) {
    let known = match driver {
        "local" => LOCAL_OPTIONS,
        "json-file" => JSON_FILE_OPTIONS,
        _ => return,
    };
    for entry in map.entries("options") {
        let (key, value) = (entry.key.as_str(), entry.value.as_text().unwrap_or_default());
        let path = service.path(&format!("logging.options.{key}"));
        if !known.contains(&key) && !ANY_OPTIONS.contains(&key) {
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it takes {}", known.join(", ")),
            };
            let what = format!("`{key}` is not an option of the log driver `{driver}`");
            report.error(entry.key_at, what).path(path).hint(hint);
        } else if let Some(wanted) = wrong(key, value) {
            let at = entry.value.place(entry.key_at);
            let what = format!("`{value}` is not right for `{key}`");
            report.error(at, what).path(path).hint(format!("it takes {wanted}"));
        }
    }
    let option = |key| map.map("options").and_then(|options| options.text(key));
    if option("compress") == Some("true") && option("max-file") == Some("1") {
        report
            .error(
                service.place(&["logging", "options", "compress"]),
                "a log of one file cannot be compressed",
            )
            .path(service.path("logging.options.compress"))
            .hint("only full files are: write `max-file: \"3\"`");
    }
}

/// What the engine reads as true or false.
fn is_flag(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "t" | "f" | "1" | "0")
}

/// What the option takes, unless the value is that.
fn wrong(key: &str, value: &str) -> Option<&'static str> {
    let (fits, wanted) = match key {
        "max-size" => (size(value).is_ok_and(|size| size.0 > 0), "a size such as `10m`"),
        "max-file" => (value.parse().is_ok_and(|count: u32| count > 0), "a number from 1"),
        "compress" => (is_flag(value), "`\"true\"` or `\"false\"`"),
        "mode" => (matches!(value, "blocking" | "non-blocking"), "`blocking` or `non-blocking`"),
        _ => return None,
    };
    (!fits).then_some(wanted)
}
