use model::{NameError, ServiceName, StackName, name::LABEL_MAX};

use crate::{diagnostic::Report, project::ProjectName, tree::Entry};

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
