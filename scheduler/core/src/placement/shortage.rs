//! Why not everything can have a place, in words with amounts.

use model::{
    Bytes, MilliCpu,
    generic::Amount,
    spec::{Constraint, ConstraintKey, ConstraintOp},
};
use packing::{BinSet, Impossible, Short};

use crate::placement::{Fleet, problem::Posed, scales::Scales};

/// Nodes that are called by their names; more are counted.
const MAX_NAMES: usize = 3;

/// What is short, and on which nodes: "1.3 GiB short on role=database".
pub(super) fn text(
    fleet: &Fleet<'_>,
    scales: &Scales<'_>,
    posed: &Posed<'_, '_>,
    why: &Impossible,
) -> String {
    let place = place(fleet, scales, posed, &why.bins);
    match why.short {
        Short::Resource { resource: 0, amount } => format!("{} short {place}", Bytes(amount)),
        Short::Resource { resource: 1, amount } => {
            format!("{} CPUs short {place}", MilliCpu(amount))
        }
        Short::Resource { resource, amount } => match posed.kind(resource) {
            Some(kind) => format!("{} {kind} short {place}", Amount(amount)),
            None => format!("{amount} tasks more than nodes may have {place}"),
        },
        Short::Pieces { resource, size, count } => {
            let size = match (resource, posed.kind(resource)) {
                (0, _) => Bytes(size).to_string(),
                (_, Some(kind)) => format!("{} {kind}", Amount(size)),
                (_, None) => format!("{} CPUs", MilliCpu(size)),
            };
            // One task may count as several: as many pieces as it has whole.
            let pieces = if count == 1 { "piece" } else { "pieces" };
            format!("{count} {pieces} of {size} too many {place}")
        }
        Short::Key { key, count } => {
            let port = posed.port(key).unwrap_or_default();
            format!("{} with port {port} too many {place}", tasks(count))
        }
        Short::Members { group, count } => {
            let ask = posed.services.get(group);
            let name =
                ask.map_or_else(String::new, |ask| format!(" of {}/{}", ask.stack, ask.service));
            let most = ask.and_then(|ask| ask.spec.placement.max_replicas_per_node).unwrap_or(0);
            let replicas = if count == 1 { "replica" } else { "replicas" };
            format!("{count} {replicas}{name} too many {place}, at most {most} on each")
        }
    }
}

fn tasks(count: u64) -> String {
    if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") }
}

/// The nodes by what they have in common, by their names, or by their number.
fn place(fleet: &Fleet<'_>, scales: &Scales<'_>, posed: &Posed<'_, '_>, bins: &[usize]) -> String {
    if bins.len() == posed.nodes.len() {
        return match bins.len() {
            0 => "without a node".to_owned(),
            1 => format!("on {}", fleet.name(*posed.nodes.first().unwrap_or(&fleet.spare_id()))),
            all => format!("on all {all} nodes"),
        };
    }
    let set: BinSet = bins.iter().copied().collect();
    if let Some(constraints) = scales.constraints_of(&set).filter(|wanted| !wanted.is_empty()) {
        let said: Vec<String> = constraints.iter().map(short).collect();
        // An amount alone would sound as if there was such a node, too small.
        let none = if bins.is_empty() { ": no node there takes tasks" } else { "" };
        return format!("on {}{none}", said.join(" and "));
    }
    let names = bins.iter().filter_map(|bin| posed.nodes.get(*bin));
    let names: Vec<String> = names.take(MAX_NAMES).map(|node| fleet.name(*node)).collect();
    match bins.len() {
        0 => "where it may be: no node will do".to_owned(),
        few if few <= MAX_NAMES => format!("on {}", names.join(", ")),
        many => {
            format!("on {} and {} more nodes", names.join(", "), many.saturating_sub(names.len()))
        }
    }
}

fn short(wanted: &Constraint) -> String {
    match &wanted.key {
        ConstraintKey::Label(label) if wanted.op == ConstraintOp::Equal => {
            format!("{label}={}", wanted.value)
        }
        ConstraintKey::Hostname if wanted.op == ConstraintOp::Equal => wanted.value.clone(),
        ConstraintKey::Label(_)
        | ConstraintKey::Hostname
        | ConstraintKey::Id
        | ConstraintKey::Arch
        | ConstraintKey::Os => format!("`{wanted}`"),
    }
}
