use model::spec::Privileges;

use super::{Context, devices, storage};
use crate::{diagnostic::Report, grammar::nearest};

/// Capabilities of Linux, without `CAP_`.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// What an agent refuses unless it was told to allow it, and `no-new-privileges`.
pub(super) fn privileges(service: &Context<'_>, report: &mut Report) -> (Privileges, bool) {
    let mut no_new_privileges = false;
    let mut security_opt = Vec::new();
    for (option, _) in service.texts("security_opt") {
        match option.replace('=', ":").as_str() {
            "no-new-privileges" | "no-new-privileges:true" => no_new_privileges = true,
            "no-new-privileges:false" => {}
            _ => security_opt.push(option.to_owned()),
        }
    }
    let privileges = Privileges {
        privileged: service.map.bool("privileged").unwrap_or(false),
        cap_add: capabilities(service, "cap_add", report),
        devices: storage::devices(service, report),
        host_network: namespace(service, "network_mode", &["bridge", "default"], report),
        host_pid: namespace(service, "pid", &["private"], report),
        host_ipc: namespace(service, "ipc", &["private", "shareable"], report),
        host_userns: namespace(service, "userns_mode", &["private"], report),
        security_opt,
        device_requests: devices::requests(service, report),
    };
    let asked = [
        ("privileged", privileges.privileged),
        ("cap_add", !privileges.cap_add.is_empty()),
        ("devices", !privileges.devices.is_empty()),
        ("network_mode", privileges.host_network),
        ("pid", privileges.host_pid),
        ("ipc", privileges.host_ipc),
        ("userns_mode", privileges.host_userns),
        ("security_opt", !privileges.security_opt.is_empty()),
    ];
    for (key, _) in asked.into_iter().filter(|(_, asked)| *asked) {
        let what =
            format!("`{key}`: a node refuses this unless its agent was started with `--allow`");
        report.note(service.place(&[key]), what).path(service.path(key));
    }
    (privileges, no_new_privileges)
}

/// Whether a namespace is the host's; `own` are words for one of the task's own.
fn namespace(service: &Context<'_>, key: &str, own: &[&str], report: &mut Report) -> bool {
    match service.map.text(key) {
        None | Some("") => false,
        Some("host") => true,
        Some(mode) if own.contains(&mode) => {
            if key == "network_mode" {
                let what = format!("`{key}: {mode}`: the task is on the stack's own network");
                report.note(service.place(&[key]), what).path(service.path(key));
            }
            false
        }
        Some(mode) => {
            let hint = "use `host`, or remove it to give the task a namespace of its own";
            service.error(report, key, format!("`{key}: {mode}` is not supported"), hint);
            false
        }
    }
}

/// `cap_add` or `cap_drop`, upper case and without `CAP_`.
pub(super) fn capabilities(service: &Context<'_>, key: &str, report: &mut Report) -> Vec<String> {
    let mut names = Vec::new();
    for (given, at) in service.texts(key) {
        let upper = given.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if !CAPABILITIES.contains(&name) {
            let hint = match nearest(name, CAPABILITIES.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "capabilities are named as in capabilities(7), without `CAP_`".to_owned(),
            };
            report
                .error(at, format!("`{given}` is not a capability"))
                .path(service.path(key))
                .hint(hint);
        }
        names.push(name.to_owned());
    }
    names
}
