use model::spec::Logging;

use super::{Context, pairs};
use crate::diagnostic::Report;

/// Where a task's output goes; the capped `local` driver when the service says nothing.
pub(super) fn logging(service: &Context<'_>, report: &mut Report) -> Option<Logging> {
    let map = service.map.map("logging")?;
    let driver = map.text("driver").unwrap_or("json-file").to_owned();
    if !matches!(driver.as_str(), "json-file" | "local" | "journald") {
        let what =
            format!("the log driver `{driver}` keeps nothing that `sisoctl logs` could show");
        report
            .note(service.place(&["logging", "driver"]), what)
            .path(service.path("logging.driver"));
    }
    Some(Logging { driver, options: pairs(map.map("options")) })
}
