//! Which differences between two specifications matter to what runs.

use model::{ServiceName, ServiceSpec, StackSpec};

/// Whether a container made for one specification serves the other as well. How many there are, who
/// goes first, where they may go and what people wrote on the service do not change a container.
pub fn same_container(one: &ServiceSpec, other: &ServiceSpec) -> bool {
    changed_fields(one, other).iter().all(|field| !replaces(field))
}

/// Whether a difference in that field makes a new container.
fn replaces(field: &str) -> bool {
    !matches!(
        field,
        "deploy.replicas"
            | "deploy.labels"
            | "deploy.placement.constraints"
            | "deploy.placement.preferences"
            | "deploy.placement.max_replicas_per_node"
            | "x-siso.priority"
            | "depends_on"
            | "expose"
    )
}

/// Whether who waits for a place by one specification would wait for the same by the other.
pub(crate) fn same_request(one: &ServiceSpec, other: &ServiceSpec) -> bool {
    let of_service = |field: &&str| matches!(*field, "deploy.replicas" | "deploy.labels");
    changed_fields(one, other).iter().all(of_service)
}

/// The fields that differ, by their Compose path.
#[allow(clippy::too_many_lines, reason = "a table of the fields, one line each")]
pub fn changed_fields(one: &ServiceSpec, other: &ServiceSpec) -> Vec<&'static str> {
    let (a, b) = (&one.resources, &other.resources);
    let (p, q) = (&one.privileges, &other.privileges);
    let no_cpu_change = a.reserved.cpu == b.reserved.cpu;
    [
        ("image", one.image == other.image),
        ("command", one.command == other.command),
        ("entrypoint", one.entrypoint == other.entrypoint),
        ("environment", one.environment == other.environment),
        ("labels", one.labels == other.labels),
        ("user", one.user == other.user),
        ("working_dir", one.working_dir == other.working_dir),
        ("hostname", one.hostname == other.hostname),
        ("container_name", one.container_name == other.container_name),
        ("ports", one.ports == other.ports),
        ("expose", one.expose == other.expose),
        ("volumes", one.mounts == other.mounts),
        ("depends_on", one.depends_on == other.depends_on),
        ("healthcheck", one.healthcheck == other.healthcheck),
        ("restart", one.restart == other.restart),
        ("stop_grace_period", one.stop_grace_ms == other.stop_grace_ms),
        ("stop_signal", one.stop_signal == other.stop_signal),
        ("ulimits", one.ulimits == other.ulimits),
        ("extra_hosts", one.extra_hosts == other.extra_hosts),
        ("init", one.init == other.init),
        ("read_only", one.read_only == other.read_only),
        ("shm_size", one.shm_size == other.shm_size),
        ("cap_drop", one.cap_drop == other.cap_drop),
        (
            "security_opt",
            one.no_new_privileges == other.no_new_privileges && p.security_opt == q.security_opt,
        ),
        ("privileged", p.privileged == q.privileged),
        ("cap_add", p.cap_add == q.cap_add),
        ("devices", p.devices == q.devices),
        ("network_mode", p.host_network == q.host_network),
        ("pid", p.host_pid == q.host_pid),
        ("ipc", p.host_ipc == q.host_ipc),
        ("userns_mode", p.host_userns == q.host_userns),
        ("logging", one.logging == other.logging),
        ("networks", one.networks == other.networks),
        ("deploy.replicas", one.replicas == other.replicas),
        ("deploy.labels", one.service_labels == other.service_labels),
        ("deploy.resources.limits.memory", a.memory_limit == b.memory_limit),
        ("deploy.resources.limits.cpus", a.cpu_limit == b.cpu_limit),
        ("deploy.resources.limits.pids", a.pids_limit == b.pids_limit),
        ("deploy.resources.reservations.memory", a.reserved.memory == b.reserved.memory),
        ("deploy.resources.reservations.cpus", no_cpu_change),
        ("deploy.resources.reservations.generic_resources", a.generic == b.generic),
        ("deploy.resources.reservations.devices", p.device_requests == q.device_requests),
        ("deploy.placement.constraints", one.placement.constraints == other.placement.constraints),
        ("deploy.placement.preferences", one.placement.spread == other.placement.spread),
        (
            "deploy.placement.max_replicas_per_node",
            one.placement.max_replicas_per_node == other.placement.max_replicas_per_node,
        ),
        ("x-siso.singleton", one.strict_singleton == other.strict_singleton),
        ("x-siso.priority", one.priority == other.priority),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect()
}

/// Whether the named volumes a service mounts are the same data in both stacks.
pub(crate) fn same_volumes(one: &StackSpec, other: &StackSpec, service: &ServiceName) -> bool {
    let sites = |stack: &StackSpec| {
        stack.services.get(service).map(|spec| super::volume::task_volumes(stack, spec))
    };
    sites(one) == sites(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl Fn(&mut ServiceSpec), field: &str, same: bool) {
        let one = ServiceSpec::new("image:1");
        let mut other = one.clone();
        change(&mut other);
        assert_eq!(changed_fields(&one, &other), [field]);
        assert_eq!(same_container(&one, &other), same);
    }

    #[test]
    fn how_many_and_where_leaves_containers_alone() {
        check(|spec| spec.replicas = 3, "deploy.replicas", true);
        check(|spec| spec.priority = 80, "x-siso.priority", true);
        check(
            |spec| spec.placement.spread = vec!["zone".into()],
            "deploy.placement.preferences",
            true,
        );
    }

    #[test]
    fn what_a_container_is_makes_a_new_one() {
        check(|spec| spec.image = "image:2".into(), "image", false);
        check(|spec| spec.read_only = true, "read_only", false);
        check(|spec| spec.stop_grace_ms = 1, "stop_grace_period", false);
        // Its guard knows a strict singleton by what its container was made with.
        check(|spec| spec.strict_singleton = true, "x-siso.singleton", false);
        check(
            |spec| spec.resources.memory_limit = model::Bytes::gib(1),
            "deploy.resources.limits.memory",
            false,
        );
    }
}
