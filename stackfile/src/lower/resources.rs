use model::{
    Bytes, MilliCpu, Resources,
    spec::{ASSUMED_MEMORY, DEFAULT_PIDS_LIMIT, LEAST_MEMORY, MemoryBasis, ResourceAsk},
};

use super::{Context, devices};
use crate::{diagnostic::Report, tree::Node, values::cpus};

/// The least share of a CPU the kernel gives out.
const LEAST_CPU: MilliCpu = MilliCpu(10);

/// A canonical size.
pub(super) fn bytes(node: Option<&Node>) -> Option<Bytes> {
    node?.as_text()?.parse().ok().map(Bytes)
}

fn cores(node: Option<&Node>) -> Option<MilliCpu> {
    cpus(node?.as_text()?).ok()
}

/// What one replica asks for: limits and reservations from `deploy.resources`, else from the
/// service's own keys; zero means "not given", as in Docker.
pub(super) fn ask(service: &Context<'_>, report: &mut Report) -> ResourceAsk {
    let find = |deploy: [&'static str; 2], own: &'static str| {
        let long = ["deploy", "resources", deploy[0], deploy[1]];
        service.get(&long).or_else(|| service.get(&[own]))
    };
    let limit_node = find(["limits", "memory"], "mem_limit");
    let reservation_node = find(["reservations", "memory"], "mem_reservation");
    let given = |node| bytes(node).filter(|amount| *amount > Bytes::ZERO);
    let (limit, reservation) = (given(limit_node), given(reservation_node));
    // What has no limit of its own is limited to its reservation.
    let (least, least_node) =
        if limit.is_some() { (limit, limit_node) } else { (reservation, reservation_node) };
    if let (Some(limit), Some(node)) = (least, least_node)
        && limit < LEAST_MEMORY
    {
        report
            .error(node.place(service.at), format!("a memory limit of {limit} starts no container"))
            .path(service.path("mem_limit"))
            .hint("the least is 6 MiB; a number without a unit is bytes, so write `512m` or `2g`");
    }
    if let (Some(limit), Some(reserved), Some(node)) = (limit, reservation, reservation_node)
        && reserved > limit
    {
        let what =
            format!("`{}` reserves {reserved} of memory but may use only {limit}", service.name);
        let finding = report.error(node.place(service.at), what);
        finding.path(service.path("deploy.resources.reservations.memory"));
        if let Some(node) = limit_node {
            finding.related(node.place(service.at), "the limit");
        }
        finding.hint("a reservation is at most the limit");
    }
    let (memory, basis) = match (reservation, limit) {
        (Some(reserved), _) => (reserved, MemoryBasis::Reservation),
        (None, Some(limit)) => (limit, MemoryBasis::Limit),
        (None, None) => (ASSUMED_MEMORY, MemoryBasis::Assumed),
    };
    let cpu_limit_node = find(["limits", "cpus"], "cpus");
    let cpu_limit = cores(cpu_limit_node).filter(|cpu| *cpu > MilliCpu::ZERO);
    if let (Some(limit), Some(node)) = (cpu_limit, cpu_limit_node)
        && limit < LEAST_CPU
    {
        let shown = node.as_text().unwrap_or_default();
        report
            .error(node.place(service.at), format!("a limit of {shown} CPUs starts no container"))
            .path(service.path("cpus"))
            .hint(format!(
                "the least is {LEAST_CPU}; a number counts cores, so half a core is 0.5"
            ));
    }
    let cpu_node = service.get(&["deploy", "resources", "reservations", "cpus"]);
    let cpu = cores(cpu_node).unwrap_or_default();
    if let (Some(limit), Some(node)) = (cpu_limit, cpu_node)
        && cpu > limit
    {
        report
            .error(
                node.place(service.at),
                format!("`{}` reserves {cpu} CPUs but may use only {limit}", service.name),
            )
            .path(service.path("deploy.resources.reservations.cpus"))
            .hint("a reservation is at most the limit");
    }
    ResourceAsk {
        reserved: Resources { memory, cpu },
        generic: devices::generic(service, report),
        basis,
        memory_limit: limit.unwrap_or(memory),
        cpu_limit,
        pids_limit: pids(find(["limits", "pids"], "pids_limit"), service, report),
    }
}

/// The size of `/dev/shm`. The engine would take zero for "not given".
pub(super) fn shm_size(service: &Context<'_>, report: &mut Report) -> Option<Bytes> {
    let size = bytes(service.map.get("shm_size"))?;
    if size == Bytes::ZERO {
        let what = "a `shm_size` of 0 is no size".to_owned();
        service.error(report, "shm_size", what, "write `shm_size: 64m`, the default, or remove it");
    }
    Some(size)
}

fn pids(node: Option<&Node>, service: &Context<'_>, report: &mut Report) -> u32 {
    let Some((node, limit)) = node.and_then(|node| Some((node, node.as_int()?))) else {
        return DEFAULT_PIDS_LIMIT;
    };
    match u32::try_from(limit) {
        Ok(limit) if limit > 0 => limit,
        _ => {
            report
                .note(
                    node.at,
                    format!("no task is without a limit of processes: it is {DEFAULT_PIDS_LIMIT}"),
                )
                .path(service.path("pids_limit"));
            DEFAULT_PIDS_LIMIT
        }
    }
}
