//! What a stack must keep to before it becomes what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use model::{ServiceName, ServiceSpec, StackSpec, VolumeName, spec::MountSource};

use crate::cluster::{Cluster, Rejection, limits, writable_volumes};

/// A count as errors show it.
pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(super) fn at_most(what: &'static str, asked: usize, limit: usize) -> Result<(), Rejection> {
    if asked > limit {
        return Err(Rejection::TooMany { what, count: count(asked), limit: count(limit) });
    }
    Ok(())
}

impl Cluster {
    /// Whether the stack can be wanted at all, whatever runs now.
    pub(super) fn check_stack(&self, spec: &StackSpec) -> Result<(), Rejection> {
        at_most("services in a stack", spec.services.len(), limits::MAX_SERVICES)?;
        let others = self.stacks.iter().filter(|(name, _)| **name != spec.name);
        let other_replicas =
            others.filter_map(|(_, stack)| stack.spec()).map(|held| replicas(held));
        let all = other_replicas.fold(replicas(spec), usize::saturating_add);
        at_most("replicas in the cluster", all, limits::MAX_TASKS)?;
        for (name, service) in &spec.services {
            check_service(spec, name, service)?;
        }
        if let Some(cycle) = cycle(spec) {
            return Err(Rejection::DependencyCycle(cycle));
        }
        self.check_volumes(spec)
    }

    fn check_volumes(&self, spec: &StackSpec) -> Result<(), Rejection> {
        let more = self.volumes.values().filter(|volume| volume.stack != spec.name).count();
        let all = more.saturating_add(spec.volumes.len());
        at_most("volumes in the cluster", all, limits::MAX_VOLUMES)?;
        for name in spec.volumes.keys() {
            let volume = spec.engine_volume(name);
            let held = self.volumes.get(&volume);
            if held.is_some_and(|held| held.removing) {
                return Err(Rejection::VolumeRemoving { stack: spec.name.clone(), volume });
            }
            if spec.volumes.get(name).is_some_and(|declared| declared.external) {
                continue;
            }
            let owner = held.filter(|held| !held.external).map(|held| &held.stack);
            let declared = self
                .stacks
                .iter()
                .filter(|(_, stack)| stack.spec().is_some_and(|other| owns(other, &volume)));
            let owner =
                owner.or_else(|| declared.map(|(name, _)| name).find(|name| **name != spec.name));
            if let Some(owner) = owner.filter(|owner| **owner != spec.name) {
                return Err(Rejection::VolumeTaken { volume, owner: owner.clone() });
            }
        }
        Ok(())
    }
}

/// Whether the stack declares that volume as its own.
fn owns(stack: &StackSpec, engine_name: &str) -> bool {
    stack
        .volumes
        .iter()
        .any(|(name, spec)| !spec.external && stack.engine_volume(name) == engine_name)
}

fn replicas(spec: &StackSpec) -> usize {
    let each = spec.services.values().map(|s| usize::try_from(s.replicas).unwrap_or(usize::MAX));
    each.fold(0, usize::saturating_add)
}

fn check_service(
    stack: &StackSpec,
    name: &ServiceName,
    spec: &ServiceSpec,
) -> Result<(), Rejection> {
    if spec.replicas > limits::MAX_REPLICAS {
        return Err(Rejection::TooMany {
            what: "replicas of one service",
            count: spec.replicas.into(),
            limit: limits::MAX_REPLICAS.into(),
        });
    }
    if spec.strict_singleton && spec.replicas > 1 {
        return Err(Rejection::StrictReplicas(name.clone()));
    }
    let mounted = spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name),
        MountSource::Anonymous | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    });
    for volume in mounted {
        if !stack.volumes.contains_key(volume) {
            let (service, volume) = (name.clone(), volume.clone());
            return Err(Rejection::UndeclaredVolume { service, volume });
        }
    }
    check_writers(name, spec, writable_volumes(spec).next())?;
    check_ports(name, spec)?;
    for (dependency, rule) in &spec.depends_on {
        if rule.required && !stack.services.contains_key(dependency) {
            let (service, dependency) = (name.clone(), dependency.clone());
            return Err(Rejection::UnknownDependency { service, dependency });
        }
    }
    Ok(())
}

fn check_writers(
    name: &ServiceName,
    spec: &ServiceSpec,
    volume: Option<&VolumeName>,
) -> Result<(), Rejection> {
    match volume {
        Some(volume) if spec.replicas > 1 => Err(Rejection::VolumeShared {
            service: name.clone(),
            replicas: spec.replicas,
            volume: volume.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn check_ports(name: &ServiceName, spec: &ServiceSpec) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    for port in &spec.ports {
        let Some(published) = port.published else { continue };
        if !seen.insert((&port.host_ip, published, port.protocol)) {
            return Err(Rejection::PortTwice { service: name.clone(), port: published });
        }
    }
    Ok(())
}

/// Some services that wait for each other, if there are any.
fn cycle(spec: &StackSpec) -> Option<Vec<ServiceName>> {
    // Takes away what waits for nothing that is left, until nothing more can be taken.
    let mut left: BTreeMap<&ServiceName, Vec<&ServiceName>> = spec
        .services
        .iter()
        .map(|(name, service)| (name, service.depends_on.keys().collect()))
        .collect();
    loop {
        let free = left
            .iter()
            .filter(|(_, waits)| !waits.iter().any(|name| left.contains_key(name)))
            .map(|(name, _)| *name)
            .collect::<BTreeSet<_>>();
        if free.is_empty() {
            break;
        }
        left.retain(|name, _| !free.contains(name));
    }
    // Everything left waits for something left: following that ends in a circle.
    let mut path: Vec<&ServiceName> = Vec::new();
    let mut at = *left.keys().next()?;
    loop {
        if let Some(start) = path.iter().position(|name| *name == at) {
            return Some(path.into_iter().skip(start).cloned().collect());
        }
        path.push(at);
        at = left.get(at)?.iter().copied().find(|name| left.contains_key(name))?;
    }
}
