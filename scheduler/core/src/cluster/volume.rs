//! Named volumes: data that lives on one node and makes its tasks live there too.

use std::collections::BTreeMap;

use model::{
    NodeId, ServiceSpec, StackName, StackSpec, Timestamp, VolumeName, spec::MountSource,
    task::TaskVolume,
};

/// A named volume that was given a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The stack that brought it.
    pub stack: StackName,
    /// Its name in that stack.
    pub name: VolumeName,
    /// It existed before and is never removed.
    pub external: bool,
    /// The node its data lives on: a hard constraint.
    pub home: NodeId,
    /// Whether a task with it ever ran: from then on a missing volume is an error, never made anew.
    pub used: bool,
    /// Whether the home node is asked to remove its data.
    pub removing: bool,
    /// When it was given its home.
    pub created_at: Timestamp,
}

/// The named volumes a service mounts, as its stack defines them now.
pub(crate) fn task_volumes(
    stack: &StackSpec,
    service: &ServiceSpec,
) -> BTreeMap<VolumeName, TaskVolume> {
    let mounted = service.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name),
        MountSource::Anonymous | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    });
    mounted
        .map(|name| {
            let external = stack.volumes.get(name).is_some_and(|spec| spec.external);
            (name.clone(), TaskVolume { engine_name: stack.engine_volume(name), external })
        })
        .collect()
}

/// The named volumes a service may write to.
pub(crate) fn writable_volumes(service: &ServiceSpec) -> impl Iterator<Item = &VolumeName> {
    service.mounts.iter().filter(|mount| !mount.read_only).filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name),
        MountSource::Anonymous | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    })
}
