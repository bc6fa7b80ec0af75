//! What the parts of a specification must keep to among themselves; each by itself was looked at when it
//! was read. Asked at the door and not by the log, which takes what earlier versions took.

use std::{collections::BTreeSet, fmt::Display};

use model::{
    ServiceSpec, StackSpec,
    spec::{LEAST_MEMORY, Mount},
};
use proto::convert::{At as _, BadField};

/// The first contradiction, by its path.
pub(super) fn check(spec: &StackSpec) -> Result<(), BadField> {
    for (name, service) in &spec.services {
        check_service(spec, service).at(name.as_str()).at("services")?;
    }
    Ok(())
}

fn check_service(stack: &StackSpec, service: &ServiceSpec) -> Result<(), BadField> {
    let ask = &service.resources;
    // Engines take no limit for none at all.
    if ask.memory_limit < LEAST_MEMORY {
        let why = format!("{} starts no container, the least is {LEAST_MEMORY}", ask.memory_limit);
        return Err(BadField::new(why)).at("memory_limit").at("resources");
    }
    if ask.pids_limit == 0 {
        return Err(BadField::new("0 is no limit")).at("pids_limit").at("resources");
    }
    let most =
        |limit: &dyn Display| BadField::new(format!("reserves more than its limit, {limit}"));
    if ask.reserved.memory > ask.memory_limit {
        return Err(most(&ask.memory_limit)).at("memory").at("resources");
    }
    if let Some(limit) = ask.cpu_limit.filter(|limit| ask.reserved.cpu > *limit) {
        return Err(most(&limit)).at("cpu").at("resources");
    }
    let mut targets = BTreeSet::new();
    let path = |mount: &Mount| mount.target.trim_end_matches('/').to_owned();
    if let Some(twice) = service.mounts.iter().find(|mount| !targets.insert(path(mount))) {
        return Err(BadField::new(format!("two are at {}", twice.target))).at("mounts");
    }
    if let Some(name) = service.networks.iter().find(|name| !stack.networks.contains_key(*name)) {
        return Err(BadField::new(format!("the stack does not declare {name}"))).at("networks");
    }
    Ok(())
}
