//! The value of a field, as text.

use std::fmt::Display;

use model::{
    ServiceSpec,
    spec::{
        DeviceCount, DeviceRequest, HealthTest, Healthcheck, Mount, MountSource, Port,
        RestartPolicy,
    },
};

use super::masked;

/// The value of a field, named by its Compose path; `None` when it is not set.
#[allow(clippy::too_many_lines, reason = "a table of the fields, one line each")]
pub(super) fn of(field: &str, spec: &ServiceSpec) -> Option<String> {
    let (resources, privileges) = (&spec.resources, &spec.privileges);
    match field {
        "image" => Some(spec.image.clone()),
        "command" => spec.command.as_ref().map(|words| command(words)),
        "entrypoint" => spec.entrypoint.as_ref().map(|words| command(words)),
        "user" => spec.user.clone(),
        "working_dir" => spec.working_dir.clone(),
        "hostname" => spec.hostname.clone(),
        "container_name" => spec.container_name.clone(),
        "ports" => list(spec.ports.iter().map(port)),
        "expose" => list(spec.expose.iter().map(|(port, by)| format!("{port}/{}", by.as_str()))),
        "volumes" => list(spec.mounts.iter().map(mount)),
        "depends_on" => list(
            spec.depends_on.iter().map(|(name, on)| format!("{name} ({})", on.condition.as_str())),
        ),
        "healthcheck" => spec.healthcheck.as_ref().map(healthcheck),
        "restart" => Some(restart(spec.restart)),
        "stop_grace_period" => Some(millis(spec.stop_grace_ms)),
        "stop_signal" => spec.stop_signal.clone(),
        "ulimits" => {
            list(spec.ulimits.iter().map(|(name, l)| format!("{name}={}:{}", l.soft, l.hard)))
        }
        "extra_hosts" => list(spec.extra_hosts.iter().map(|(name, at)| format!("{name}={at}"))),
        "init" => spec.init.map(|init| init.to_string()),
        "read_only" => Some(spec.read_only.to_string()),
        "shm_size" => spec.shm_size.map(|size| size.to_string()),
        "cap_drop" => list(&spec.cap_drop),
        "security_opt" => {
            let own = spec.no_new_privileges.then(|| "no-new-privileges".to_owned());
            list(own.iter().chain(&privileges.security_opt))
        }
        "privileged" => Some(privileges.privileged.to_string()),
        "cap_add" => list(&privileges.cap_add),
        "devices" => list(&privileges.devices),
        "network_mode" => host(privileges.host_network),
        "pid" => host(privileges.host_pid),
        "ipc" => host(privileges.host_ipc),
        "userns_mode" => host(privileges.host_userns),
        "networks" => list(&spec.networks),
        "deploy.replicas" => Some(spec.replicas.to_string()),
        "deploy.resources.limits.memory" => Some(resources.memory_limit.to_string()),
        "deploy.resources.limits.cpus" => resources.cpu_limit.map(|cpu| cpu.to_string()),
        "deploy.resources.limits.pids" => Some(resources.pids_limit.to_string()),
        "deploy.resources.reservations.memory" => Some(resources.reserved.memory.to_string()),
        "deploy.resources.reservations.cpus" => Some(resources.reserved.cpu.to_string()),
        "deploy.resources.reservations.generic_resources" => {
            (!resources.generic.is_empty()).then(|| resources.generic.to_string())
        }
        "deploy.resources.reservations.devices" => {
            list(privileges.device_requests.iter().map(devices))
        }
        "deploy.placement.constraints" => list(&spec.placement.constraints),
        "deploy.placement.preferences" => list(&spec.placement.spread),
        "deploy.placement.max_replicas_per_node" => {
            spec.placement.max_replicas_per_node.map(|most| most.to_string())
        }
        "x-siso.singleton" => spec.strict_singleton.then(|| "strict".to_owned()),
        "x-siso.priority" => Some(spec.priority.to_string()),
        _ => None,
    }
}

fn command(words: &[String]) -> String {
    masked::words(words.iter().map(String::as_str))
}

fn list(parts: impl IntoIterator<Item = impl Display>) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().map(|part| part.to_string()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn host(shared: bool) -> Option<String> {
    shared.then(|| "host".to_owned())
}

fn port(port: &Port) -> String {
    let address = port.host_ip.iter().map(|ip| format!("{ip}:"));
    let published = port.published.iter().map(|published| format!("{published}:"));
    let before: String = address.chain(published).collect();
    format!("{before}{}/{}", port.target, port.protocol.as_str())
}

fn devices(request: &DeviceRequest) -> String {
    let count = match &request.count {
        DeviceCount::All => "all".to_owned(),
        DeviceCount::Number(number) => number.to_string(),
        DeviceCount::Ids(ids) => ids.join(" "),
    };
    let driver = request.driver.iter().map(|driver| format!(" by {driver}"));
    let by: String = driver.collect();
    format!("{count} of {}{by}", request.capabilities.join("+"))
}

fn mount(mount: &Mount) -> String {
    let source = match &mount.source {
        MountSource::Volume { name, .. } => format!("{name}:"),
        MountSource::Anonymous => String::new(),
        MountSource::Bind { path, .. } => format!("{path}:"),
        MountSource::Tmpfs { size: Some(size), .. } => format!("tmpfs of {size}:"),
        MountSource::Tmpfs { size: None, .. } => "tmpfs:".to_owned(),
    };
    format!("{source}{}{}", mount.target, if mount.read_only { ":ro" } else { "" })
}

fn restart(policy: RestartPolicy) -> String {
    match policy {
        RestartPolicy::Never => "no".to_owned(),
        RestartPolicy::OnFailure { max_attempts: None } => "on-failure".to_owned(),
        RestartPolicy::OnFailure { max_attempts: Some(most) } => format!("on-failure:{most}"),
        RestartPolicy::Always => "always".to_owned(),
    }
}

fn healthcheck(check: &Healthcheck) -> String {
    let test = match &check.test {
        HealthTest::Inherit => "as the image has it".to_owned(),
        HealthTest::Disabled => "disabled".to_owned(),
        HealthTest::Exec(words) => command(words),
        HealthTest::Shell(line) => masked::words(line.split(' ')),
    };
    let times = [
        ("interval", check.interval_ms),
        ("timeout", check.timeout_ms),
        ("start_period", check.start_period_ms),
    ];
    let times = times.iter().filter_map(|(name, time)| Some((name, millis((*time)?))));
    let times = times.map(|(name, time)| format!(", {name} {time}"));
    let retries = check.retries.map(|retries| format!(", retries {retries}"));
    [test].into_iter().chain(times).chain(retries).collect()
}

fn millis(millis: u64) -> String {
    match (millis.checked_div(1_000), millis.checked_rem(1_000)) {
        (Some(seconds), Some(0)) => format!("{seconds}s"),
        _ => format!("{millis}ms"),
    }
}
