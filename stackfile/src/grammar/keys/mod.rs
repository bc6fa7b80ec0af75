//! The tables. One line per key: its shape, and what a cluster does with it.

mod deploy;
mod nodes;
mod parts;
mod service;
mod stack;

pub(crate) use nodes::NODES_FILE;
pub(crate) use parts::{
    DEPENDENCY, DEVICE, DEVICE_REQUEST, ENV_FILE, MOUNT, NOT_PROPAGATED, NOT_RELABELLED, PORT,
    SERVICE_NETWORK, SISO, ULIMIT,
};
pub(crate) use stack::STACK;

use super::unknown::table_has;

/// Whether `name` is a key of the whole file.
pub(super) fn is_stack_key(name: &str) -> bool {
    table_has(&STACK, name)
}

/// Whether `name` is a key of a service.
pub(super) fn is_service_key(name: &str) -> bool {
    service::SERVICE.iter().any(|key| key.name == name)
}
