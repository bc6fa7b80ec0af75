//! A stack and what its services share.

use model::{
    ServiceName, ServiceSpec, StackSpec, VolumeName,
    name::NetworkName,
    spec::{NetworkSpec, VolumeSpec},
};

use super::{
    field::mirror,
    kinds::{Labels, Map, Maybe, Message, Parsed, Same, Word},
};
use crate::v1;

mirror!(v1::StackSpec => StackSpec {
    name: Parsed<model::StackName>,
    services: Map<Parsed<ServiceName>, Message<v1::ServiceSpec, ServiceSpec>>,
    volumes: Map<Parsed<VolumeName>, Message<v1::VolumeSpec, VolumeSpec>>,
    networks: Map<Parsed<NetworkName>, Message<v1::NetworkSpec, NetworkSpec>>,
});

mirror!(v1::VolumeSpec => VolumeSpec {
    name: Maybe<Word>,
    external: Same<bool>,
    labels: Labels,
});

mirror!(v1::NetworkSpec => NetworkSpec {
    internal: Same<bool>,
    labels: Labels,
});
