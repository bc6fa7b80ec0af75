use model::{NameError, ServiceName, StackName, name::LABEL_MAX};

use crate::{diagnostic::Report, project::ProjectName, source::Span, tree::Entry};

/// The longest name of a volume: the engine makes it a directory.
const MAX_VOLUME_NAME: usize = 255;

/// The stack's name. A directory's is made to fit; one that was given is not changed silently.
pub(super) fn stack(name: &ProjectName, report: &mut Report) -> Option<StackName> {
    if name.text.is_empty() {
        return None;
    }
    let given = if name.from_directory { label(&name.given) } else { name.given.clone() };
    match StackName::new(&given) {
        Ok(name) => Some(name),
        Err(error) => {
            let finding = report.error(name.at, error.to_string());
            finding.path("name");
            if let Some(better) = suggestion(&given) {
                finding.hint(format!("call it `{better}`"));
            }
            None
        }
    }
}

/// A service's name.
pub(super) fn service(entry: &Entry, report: &mut Report) -> Option<ServiceName> {
    match ServiceName::new(&entry.key) {
        Ok(name) => Some(name),
        Err(error) => {
            bad_service(entry, &error, report);
            None
        }
    }
}

/// Reports the name of a service that is none.
pub(crate) fn bad_service(entry: &Entry, error: &NameError, report: &mut Report) {
    let finding = report.error(entry.key_at, error.to_string());
    finding.path(format!("services.{}", entry.key));
    if let Some(better) = suggestion(&entry.key) {
        finding.hint(format!("call it `{better}`; names are DNS names inside the stack"));
    }
}

/// The name the engine is to know a volume by.
pub(super) fn engine_volume(name: &str, at: Span, volume: &str, report: &mut Report) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let why = if name.is_empty() {
        "it is empty"
    } else if !name.chars().all(allowed) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "names begin with a letter or digit and have letters, digits, `_`, `.` and `-`"
    } else if name.len() == 1 {
        "it has at least two characters"
    } else if name.len() > MAX_VOLUME_NAME {
        "it is too long"
    } else {
        return;
    };
    let hint = if name.is_empty() {
        "a variable in it is empty or not set; set it in `.env`, or remove `name:`"
    } else {
        "remove `name:`, and the volume is called STACK_VOLUME"
    };
    report
        .error(at, format!("`{name}` is not a name the engine gives a volume: {why}"))
        .path(format!("volumes.{volume}.name"))
        .hint(hint);
}

fn suggestion(text: &str) -> Option<String> {
    Some(label(text)).filter(|better| !better.is_empty())
}

/// The nearest DNS label: lower case, `-` for what is not allowed.
fn label(text: &str) -> String {
    let mut out = String::new();
    for c in text.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            _ if out.ends_with('-') || out.is_empty() => {}
            _ => out.push('-'),
        }
    }
    out.truncate(LABEL_MAX);
    out.trim_end_matches('-').to_owned()
}
