//! What an agent permits beyond an ordinary container, and what a service asks for of it.

use std::{collections::BTreeSet, fmt, path::Path, str::FromStr};

use thiserror::Error;

use crate::spec::{MountSource, Privileges, ServiceSpec};

/// Where engines listen, besides the one an agent was told.
pub const KNOWN_SOCKETS: [&str; 4] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
];

/// Paths an agent tells of in a list of [`Allows`]; one that permits more tells nothing.
pub const PATHS_MAX: usize = 256;

/// What `siso-agent --allow` permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// `privileged: true`
    Privileged,
    /// `cap_add`
    Capabilities,
    /// `devices`, `gpus` and `deploy.resources.reservations.devices`
    Devices,
    /// `network_mode`, `pid`, `ipc` or `userns_mode: host`
    HostNamespaces,
    /// `security_opt` other than `no-new-privileges`
    SecurityOpt,
    /// The container engine's socket: whoever has it is root on the machine.
    EngineSocket,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Privileged,
        Self::Capabilities,
        Self::Devices,
        Self::HostNamespaces,
        Self::SecurityOpt,
        Self::EngineSocket,
    ];

    /// The word after `--allow`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Capabilities => "capabilities",
            Self::Devices => "devices",
            Self::HostNamespaces => "host-namespaces",
            Self::SecurityOpt => "security-opt",
            Self::EngineSocket => "engine-socket",
        }
    }

    /// What it permits, in the words of a stack file.
    pub const fn permits(self) -> &'static str {
        match self {
            Self::Privileged => "`privileged: true`",
            Self::Capabilities => "`cap_add`",
            Self::Devices => "`devices`, `gpus` and `deploy.resources.reservations.devices`",
            Self::HostNamespaces => "`network_mode`, `pid`, `ipc` or `userns_mode: host`",
            Self::SecurityOpt => "`security_opt` other than `no-new-privileges`",
            Self::EngineSocket => {
                "The container engine's socket: whoever has it is root on that machine"
            }
        }
    }
}

/// A word after `--allow` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is nothing that can be allowed")]
pub struct UnknownCapability(String);

/// By its word.
impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(word: &str) -> Result<Self, UnknownCapability> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|capability| capability.as_str() == word);
        found.ok_or_else(|| UnknownCapability(word.to_owned()))
    }
}

/// What an agent was told to permit. Written by the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allows {
    /// The words after `--allow`; one that is not known here is one of a later version.
    pub capabilities: BTreeSet<String>,
    /// The directories after `--allow-bind`, as written and as they really are.
    pub binds: BTreeSet<String>,
    /// Where the machine's engine listens, as written and as it really is.
    pub sockets: BTreeSet<String>,
}

/// Something a service asks for that needs a flag of the agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// What, in Compose's words.
    pub asks: String,
    /// The flag that permits it, with its value.
    pub flag: String,
}

impl Lack {
    fn capability(asks: impl fmt::Display, needs: Capability) -> Self {
        Self { asks: asks.to_string(), flag: format!("--allow {}", needs.as_str()) }
    }
}

impl Allows {
    /// What of the service is not permitted, by the paths as they are written: only the machine knows
    /// where they lead, so its agent looks again and may refuse more.
    pub fn lacks(&self, spec: &ServiceSpec) -> Vec<Lack> {
        let asked = asked(&spec.privileges).into_iter();
        let lacks = asked.filter(|(_, needs)| !self.has(*needs));
        let lacks = lacks.map(|(asks, needs)| Lack::capability(asks, needs));
        let binds = spec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => self.lacks_bind(path),
            MountSource::Volume { .. } | MountSource::Anonymous | MountSource::Tmpfs { .. } => None,
        });
        lacks.chain(binds).collect()
    }

    fn has(&self, needs: Capability) -> bool {
        self.capabilities.contains(needs.as_str())
    }

    fn lacks_bind(&self, path: &str) -> Option<Lack> {
        let socket = |asks: fmt::Arguments<'_>| {
            (!self.has(Capability::EngineSocket))
                .then(|| Lack::capability(asks, Capability::EngineSocket))
        };
        let sockets = || self.sockets.iter().map(String::as_str).chain(KNOWN_SOCKETS);
        if sockets().any(|socket| socket == path) {
            return socket(format_args!("bind {path} (the engine's socket)"));
        }
        if !self.binds.iter().any(|root| Path::new(path).starts_with(root)) {
            return Some(Lack {
                asks: format!("bind {path}"),
                flag: format!("--allow-bind {path}"),
            });
        }
        if self.sockets.iter().any(|socket| Path::new(socket).starts_with(path)) {
            return socket(format_args!("bind {path} (it has the engine's socket)"));
        }
        None
    }
}

/// Where a service asks for devices by what they can do.
const DEVICES: &str = "deploy.resources.reservations.devices";

/// What of the privileges is asked for, in Compose's words.
pub fn asked(privileges: &Privileges) -> Vec<(String, Capability)> {
    let Privileges {
        privileged,
        cap_add,
        devices,
        host_network,
        host_pid,
        host_ipc,
        host_userns,
        security_opt,
        device_requests,
    } = privileges;
    let flags = [
        (*privileged, "privileged: true", Capability::Privileged),
        (*host_network, "network_mode: host", Capability::HostNamespaces),
        (*host_pid, "pid: host", Capability::HostNamespaces),
        (*host_ipc, "ipc: host", Capability::HostNamespaces),
        (*host_userns, "userns_mode: host", Capability::HostNamespaces),
    ];
    let flags = flags.into_iter().filter(|(asked, ..)| *asked);
    let flags = flags.map(|(_, key, needs)| (key.to_owned(), needs));
    let listed = |key: &'static str, values: &[String], needs: Capability| {
        values.first().map(|first| (format!("{key}: {first}"), needs))
    };
    flags
        .chain(listed("cap_add", cap_add, Capability::Capabilities))
        .chain(listed("devices", devices, Capability::Devices))
        .chain(listed("security_opt", security_opt, Capability::SecurityOpt))
        .chain(device_requests.first().map(|request| {
            let kind = request.kind().map(|kind| format!(": {kind}")).unwrap_or_default();
            (format!("{DEVICES}{kind}"), Capability::Devices)
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spec::{DeviceCount, DeviceRequest, Mount};

    fn flags(allows: &Allows, change: fn(&mut ServiceSpec)) -> Vec<String> {
        let mut spec = ServiceSpec::new("a");
        change(&mut spec);
        allows.lacks(&spec).into_iter().map(|lack| lack.flag).collect()
    }

    fn gpu() -> DeviceRequest {
        let capabilities = vec!["compute".to_owned(), "gpu".to_owned()];
        let (driver, options) = (None, BTreeMap::new());
        DeviceRequest { driver, count: DeviceCount::All, capabilities, options }
    }

    fn bind(spec: &mut ServiceSpec, path: &str) {
        let source = MountSource::Bind { path: path.to_owned(), create: false };
        spec.mounts.push(Mount { source, target: "/x".to_owned(), read_only: false });
    }

    #[test]
    fn what_is_not_permitted_is_named_with_the_flag_that_permits_it() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let none = Allows::default();
        let some = Allows {
            capabilities: words(&["devices", "a-later-one"]),
            binds: words(&["/srv", "/private/tmp"]),
            sockets: words(&["/srv/engine/docker.sock"]),
        };
        let check = |allows: &Allows, change: fn(&mut ServiceSpec), expected: &[&str]| {
            assert_eq!(flags(allows, change), expected);
        };
        check(&none, |_| {}, &[]);
        check(&none, |s| s.privileges.privileged = true, &["--allow privileged"]);
        check(&none, |s| s.privileges.device_requests = vec![gpu()], &["--allow devices"]);
        check(&some, |s| s.privileges.device_requests = vec![gpu()], &[]);
        check(&some, |s| s.privileges.devices = vec!["/dev/mem".to_owned()], &[]);
        check(&some, |s| s.privileges.host_pid = true, &["--allow host-namespaces"]);
        check(&none, |s| bind(s, "/srv/data"), &["--allow-bind /srv/data"]);
        check(&some, |s| bind(s, "/srv/data"), &[]);
        check(&some, |s| bind(s, "/srv2"), &["--allow-bind /srv2"]);
        check(&none, |s| bind(s, "/var/run/docker.sock"), &["--allow engine-socket"]);
        check(&some, |s| bind(s, "/srv/engine/docker.sock"), &["--allow engine-socket"]);
        check(&some, |s| bind(s, "/srv/engine"), &["--allow engine-socket"]);
        check(
            &none,
            |s| {
                s.privileges.cap_add = vec!["NET_ADMIN".to_owned()];
                bind(s, "/a");
                bind(s, "/b");
            },
            &["--allow capabilities", "--allow-bind /a", "--allow-bind /b"],
        );
    }
}
