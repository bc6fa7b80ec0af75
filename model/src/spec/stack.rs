//! A stack: services that belong together, and the volumes and networks they share.

use std::collections::BTreeMap;

use crate::{ServiceName, StackName, VolumeName, name::NetworkName, spec::ServiceSpec};

/// A named volume of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct VolumeSpec {
    /// The engine's name for it; `STACK_VOLUME` when absent.
    pub name: Option<String>,
    /// It must exist already and is never removed.
    pub external: bool,
    /// Labels of the volume.
    pub labels: BTreeMap<String, String>,
}

/// A network of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NetworkSpec {
    /// No way out of it.
    pub internal: bool,
    /// Labels of the network.
    pub labels: BTreeMap<String, String>,
}

/// A stack as a person wants it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StackSpec {
    /// Its name.
    pub name: StackName,
    /// Its services.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// Its named volumes.
    pub volumes: BTreeMap<VolumeName, VolumeSpec>,
    /// Its networks.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
}

impl StackSpec {
    /// The engine's name of a volume of this stack.
    pub fn engine_volume(&self, volume: &VolumeName) -> String {
        self.volumes
            .get(volume)
            .and_then(|spec| spec.name.clone())
            .unwrap_or_else(|| format!("{}_{volume}", self.name))
    }
}
