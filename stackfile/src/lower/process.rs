use std::collections::BTreeMap;

use model::spec::{HealthTest, Healthcheck, RestartPolicy, Ulimit};

use super::{Context, pairs, service::milliseconds};
use crate::{
    diagnostic::Report,
    grammar::nearest,
    tree::{Node, Value},
};

/// The limits `setrlimit` knows.
const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// Signals a process may be stopped with, without `SIG`.
const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Bytes of an argument or a variable, with the NUL that ends it: Linux passes no longer one to a
/// program.
const MAX_TEXT: usize = 128 << 10;
/// Linux's longest host name.
const MAX_HOSTNAME: usize = 64;
/// The largest number of a user or group.
const MAX_ID: u64 = i32::MAX as u64;

/// The image reference; empty when it has been reported.
pub(super) fn image(service: &Context<'_>, report: &mut Report) -> String {
    let Some(image) = service.text("image") else { return String::new() };
    if let Some((why, hint)) = image_fault(&image) {
        service.error(report, "image", format!("`{image}` is not an image: {why}"), hint);
    }
    image
}

fn image_fault(image: &str) -> Option<(&'static str, String)> {
    if image.is_empty() {
        // The check of references has reported it.
        return None;
    }
    if image.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some(("it holds a space", "write `NAME:TAG` without spaces".to_owned()));
    }
    let (rest, digest) = image.split_once('@').map_or((image, None), |(a, b)| (a, Some(b)));
    if digest.is_some_and(|digest| !digest.contains(':')) {
        return Some(("its digest has no algorithm", "write `NAME@sha256:…`".to_owned()));
    }
    // A colon before the last slash belongs to the registry's port.
    let begin = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match rest[begin..].find(':') {
        Some(colon) => (&rest[..begin + colon], Some(&rest[begin + colon + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if tag.is_empty() {
            return Some(("the tag after the colon is missing", format!("write `{path}:latest`")));
        }
        if !tag.chars().all(allowed) || tag.starts_with(['.', '-']) || tag.len() > 128 {
            let hint = "a tag has letters, digits, `.`, `_` and `-`".to_owned();
            return Some(("its tag is not one", hint));
        }
    }
    // The registry's host may have capitals, the path may not.
    let first = path.split('/').next().unwrap_or_default();
    let has_host = path.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let repository = if has_host { &path[first.len() + 1..] } else { path };
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return Some((
            "names of images are lower case",
            format!("write `{}`", image.to_lowercase()),
        ));
    }
    let allowed = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/')
    };
    let parts_fit = repository.split('/').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    });
    if !repository.chars().all(allowed) || !parts_fit {
        let hint = "write it like `registry.example.com/team/name:tag`".to_owned();
        return Some(("a part of its name is not allowed", hint));
    }
    None
}

/// `command` or `entrypoint`.
pub(super) fn words(service: &Context<'_>, key: &str, report: &mut Report) -> Option<Vec<String>> {
    let list = service.map.get(key)?.as_list()?;
    let words: Vec<String> =
        list.iter().filter_map(|node| node.as_text().map(str::to_owned)).collect();
    check_length(service, &[key], &words, report);
    Some(words)
}

/// Refuses words no program could be started with.
fn check_length(service: &Context<'_>, path: &[&str], words: &[String], report: &mut Report) {
    let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
    if bytes > MAX_TEXT {
        let key = path.join(".");
        report
            .error(
                service.place(path),
                format!("the words of `{key}` have {bytes} bytes in all, the limit is {MAX_TEXT}"),
            )
            .path(service.path(&key))
            .hint("put a long script into the image, or into a file on a named volume");
    }
}

/// The variables of the task.
pub(super) fn environment(service: &Context<'_>, report: &mut Report) -> BTreeMap<String, String> {
    for entry in service.map.entries("environment") {
        let (name, value) = (&entry.key, entry.value.as_text().unwrap_or_default());
        let bytes = name.len() + value.len() + 2;
        let (what, hint) = if let Some((short, _)) = name.split_once('=') {
            let what = format!("`{name}` is not the name of a variable: it holds a `=`");
            (what, format!("write `{short}: value`, or `- {short}=value` in a list"))
        } else if bytes > MAX_TEXT {
            let what = format!("the variable `{name}` has {bytes} bytes, the limit is {MAX_TEXT}");
            (what, "put long values into a file on a named volume".to_owned())
        } else {
            continue;
        };
        report.error(entry.key_at, what).path(service.path("environment")).hint(hint);
    }
    pairs(service.map.map("environment"))
}

/// `NAME`, `UID`, or one of the two with a group.
pub(super) fn user(service: &Context<'_>, report: &mut Report) -> Option<String> {
    let user = service.text("user").filter(|user| !user.is_empty())?;
    let beyond = |part: &str| {
        let is_number = !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        is_number && part.parse().map_or(true, |id: u64| id > MAX_ID)
    };
    let fault = if user.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Some("it holds a space".to_owned())
    } else if user.matches(':').count() > 1 {
        Some("it has more than a user and a group".to_owned())
    } else if user.split(':').any(beyond) {
        Some(format!("the largest number is {MAX_ID}"))
    } else {
        None
    };
    if let Some(why) = fault {
        let hint = "write `user: \"1000:1000\"` or `user: name`";
        service.error(report, "user", format!("`{user}` is not a user: {why}"), hint);
    }
    Some(user)
}

/// The host name inside the container. The engine takes underscores too, and so do we.
pub(super) fn hostname(service: &Context<'_>, report: &mut Report) -> Option<String> {
    let name = service.text("hostname").filter(|name| !name.is_empty())?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let why = if !name.split('.').all(label_fits) {
        "its parts are letters, digits and `-`, with dots between them"
    } else if name.len() > MAX_HOSTNAME {
        "the longest one has 64 characters"
    } else {
        return Some(name);
    };
    let hint = "remove it, or write it like `hostname: db` or `hostname: db.example.com`";
    service.error(report, "hostname", format!("`{name}` is not a host name: {why}"), hint);
    Some(name)
}

pub(super) fn working_dir(service: &Context<'_>, report: &mut Report) -> Option<String> {
    let path = service.text("working_dir").filter(|path| !path.is_empty())?;
    if !path.starts_with('/') {
        let what = format!("the working directory `{path}` is not an absolute path");
        service.error(report, "working_dir", what, format!("write `/{path}`"));
    }
    Some(path)
}

pub(super) fn container_name(service: &Context<'_>, report: &mut Report) -> Option<String> {
    let name = service.text("container_name").filter(|name| !name.is_empty())?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.chars().all(allowed) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let what = format!("`{name}` is not a container name");
        service.error(report, "container_name", what, "use letters, digits, `.`, `_` and `-`");
    }
    Some(name)
}

/// The health check; absent when the service says nothing about it.
pub(super) fn healthcheck(service: &Context<'_>, report: &mut Report) -> Option<Healthcheck> {
    let map = service.map.map("healthcheck")?;
    let words: Vec<String> =
        map.list("test").iter().filter_map(|node| node.as_text().map(str::to_owned)).collect();
    check_length(service, &["healthcheck", "test"], &words, report);
    let test = match words.split_first() {
        _ if map.bool("disable") == Some(true) => HealthTest::Disabled,
        None => HealthTest::Inherit,
        Some((kind, rest)) => match kind.as_str() {
            "NONE" => HealthTest::Disabled,
            "CMD-SHELL" => HealthTest::Shell(rest.concat()),
            _ => HealthTest::Exec(rest.to_vec()),
        },
    };
    Some(Healthcheck {
        test,
        interval_ms: milliseconds(map.text("interval")),
        timeout_ms: milliseconds(map.text("timeout")),
        retries: map.int("retries").and_then(|count| u32::try_from(count).ok()),
        start_period_ms: milliseconds(map.text("start_period")),
    })
}

/// `deploy.restart_policy`, else `restart`.
pub(super) fn restart(service: &Context<'_>, report: &mut Report) -> RestartPolicy {
    let own = service.map.text("restart").filter(|word| !word.is_empty());
    let Some(policy) = service.get(&["deploy", "restart_policy"]).and_then(Node::as_map) else {
        return own.map_or_else(RestartPolicy::default, |word| match word.split_once(':') {
            Some((_, count)) => RestartPolicy::OnFailure { max_attempts: count.parse().ok() },
            None => match word {
                "no" => RestartPolicy::Never,
                "on-failure" => RestartPolicy::OnFailure { max_attempts: None },
                _ => RestartPolicy::Always,
            },
        });
    };
    if own.is_some() {
        let what = "`restart` is not used: `deploy.restart_policy` says the same for clusters";
        report.note(service.place(&["restart"]), what).path(service.path("restart"));
    }
    let max_attempts = policy.int("max_attempts").and_then(|most| u32::try_from(most).ok());
    match policy.text("condition") {
        Some("none") => RestartPolicy::Never,
        Some("on-failure") => RestartPolicy::OnFailure { max_attempts },
        _ => {
            if let (Some(_), Some(node)) = (max_attempts, policy.get("max_attempts")) {
                report
                    .note(node.at, "`max_attempts` counts only with `condition: on-failure`")
                    .path(service.path("deploy.restart_policy.max_attempts"));
            }
            RestartPolicy::Always
        }
    }
}

pub(super) fn stop_signal(service: &Context<'_>, report: &mut Report) -> Option<String> {
    let given = service.text("stop_signal").filter(|signal| !signal.is_empty())?;
    let upper = given.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = name.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    if !number && !SIGNALS.contains(&name) && !is_real_time(name) {
        let hint = match nearest(name, SIGNALS.iter().copied()) {
            Some(near) => format!("did you mean `SIG{near}`?"),
            None => "write it like `SIGTERM` or `SIGINT`".to_owned(),
        };
        service.error(report, "stop_signal", format!("`{given}` is not a signal"), hint);
    }
    Some(given)
}

/// `RTMIN`, `RTMIN+1` … `RTMAX-1`, `RTMAX`.
fn is_real_time(name: &str) -> bool {
    let within = |rest: &str, sign: char, most: u8| {
        rest.is_empty()
            || rest
                .strip_prefix(sign)
                .and_then(|number| number.parse().ok())
                .is_some_and(|number: u8| (1..=most).contains(&number))
    };
    name.strip_prefix("RTMIN").is_some_and(|rest| within(rest, '+', 15))
        || name.strip_prefix("RTMAX").is_some_and(|rest| within(rest, '-', 14))
}

pub(super) fn ulimits(service: &Context<'_>, report: &mut Report) -> BTreeMap<String, Ulimit> {
    let mut ulimits = BTreeMap::new();
    for entry in service.map.entries("ulimits") {
        if !ULIMITS.contains(&entry.key.as_str()) {
            let hint = match nearest(&entry.key, ULIMITS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it is one of {}", ULIMITS.join(", ")),
            };
            report
                .error(entry.key_at, format!("`{}` is not a limit of processes", entry.key))
                .path(service.path("ulimits"))
                .hint(hint);
        }
        let limit = match &entry.value.value {
            Value::Int(both) => Ulimit { soft: *both, hard: *both },
            Value::Map(map) => {
                let (Some(soft), Some(hard)) = (map.int("soft"), map.int("hard")) else { continue };
                Ulimit { soft, hard }
            }
            _ => continue,
        };
        if limit.hard >= 0 && (limit.soft > limit.hard || limit.soft < 0) {
            report
                .error(
                    entry.key_at,
                    format!("the soft limit of `{}` is above the hard one", entry.key),
                )
                .path(service.path("ulimits"));
        }
        ulimits.insert(entry.key.clone(), limit);
    }
    ulimits
}

/// Only one of the policies is had; the others are noted or refused.
pub(super) fn pull_policy(service: &Context<'_>, report: &mut Report) {
    match service.map.text("pull_policy") {
        None | Some("" | "missing" | "if_not_present") => {}
        Some("build") => {
            let what = "images are not built by the cluster".to_owned();
            service.error(report, "pull_policy", what, "build and push the image, then name it");
        }
        Some(policy) => {
            let what =
                format!("`pull_policy: {policy}`: a node pulls an image when it does not have it");
            report.note(service.place(&["pull_policy"]), what).path(service.path("pull_policy"));
        }
    }
}
