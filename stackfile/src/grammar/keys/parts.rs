use crate::{
    canonical,
    grammar::{Key, Shape, key},
};

/// `KEY: value` as a mapping or a list of `KEY=value`.
pub(super) const PAIRS: Shape = Shape::Form(canonical::pairs);
const MOST: i64 = u32::MAX as i64;

/// A health check.
pub(super) const HEALTHCHECK: &[Key] = &[
    key("test", Shape::Form(canonical::health_test)),
    key("interval", Shape::Duration),
    key("timeout", Shape::Duration),
    key("retries", Shape::Whole(0, MOST)),
    key("start_period", Shape::Duration),
    key("start_interval", Shape::Duration).weaker("`interval` is used from the start"),
    key("disable", Shape::Flag),
];

/// The long form of a published port.
pub(crate) const PORT: &[Key] = &[
    key("target", Shape::Whole(1, 65_535)),
    key("published", Shape::Word),
    key("host_ip", Shape::Text),
    key("protocol", Shape::Text),
    key("mode", Shape::OneOf(&["host", "ingress"]))
        .weaker_as("ingress", "the port is open on the nodes that run a task, not on every node"),
    key("name", Shape::Text).weaker("names of ports are not kept"),
    key("app_protocol", Shape::Text).weaker("it has no effect"),
];

/// The long form of a mount.
pub(crate) const MOUNT: &[Key] = &[
    key("type", Shape::OneOf(&["volume", "bind", "tmpfs", "npipe", "cluster", "image"])),
    key("source", Shape::Text),
    key("target", Shape::Text),
    key("read_only", Shape::Flag),
    key("consistency", Shape::Text).weaker("it has no effect"),
    key(
        "bind",
        Shape::Keys(&[
            key("create_host_path", Shape::Flag),
            key("propagation", Shape::Text).weaker(NOT_PROPAGATED),
            key("selinux", Shape::OneOf(&["z", "Z"])).weaker(NOT_RELABELLED),
            key("recursive", Shape::Text).weaker("it has no effect"),
        ]),
    ),
    key(
        "volume",
        Shape::Keys(&[
            key("nocopy", Shape::Flag),
            key("labels", PAIRS).weaker("labels of volumes stay in the stack file"),
            key("subpath", Shape::Text)
                .refused("a volume is mounted as a whole", "use a volume of its own"),
        ]),
    ),
    key(
        "tmpfs",
        Shape::Keys(&[key("size", Shape::Size), key("mode", Shape::Form(canonical::mode))]),
    ),
    key("image", Shape::Any).weaker("it has no effect"),
];

/// Said of a mount in its short form too.
pub(crate) const NOT_PROPAGATED: &str = "mounts do not propagate";
pub(crate) const NOT_RELABELLED: &str = "nodes do not relabel files";

/// The long form of a device.
pub(crate) const DEVICE: &[Key] =
    &[key("source", Shape::Text), key("target", Shape::Text), key("permissions", Shape::Text)];

/// A request for devices by what they can do.
pub(crate) const DEVICE_REQUEST: &[Key] = &[
    key("capabilities", Shape::List(&Shape::Text)),
    key("count", Shape::Form(canonical::device_count)),
    key("device_ids", Shape::List(&Shape::Text)),
    key("driver", Shape::Text),
    key("options", PAIRS),
];

/// What a service waits for.
pub(crate) const DEPENDENCY: &[Key] = &[
    key(
        "condition",
        Shape::OneOf(&["service_started", "service_healthy", "service_completed_successfully"]),
    ),
    key("required", Shape::Flag),
    key("restart", Shape::Flag),
];

/// The long form of `env_file`.
pub(crate) const ENV_FILE: &[Key] = &[
    key("path", Shape::Text),
    key("required", Shape::Flag),
    key("format", Shape::OneOf(&["raw"])),
];

/// A soft and a hard limit.
pub(crate) const ULIMIT: &[Key] =
    &[key("soft", Shape::Whole(-1, i64::MAX)), key("hard", Shape::Whole(-1, i64::MAX))];

/// A service on a network.
pub(crate) const SERVICE_NETWORK: &[Key] = &[
    key("aliases", Shape::List(&Shape::Text)).refused(
        "a service has one name in its stack",
        "reach it by its service name, or give the other name with `container_name`",
    ),
    key("ipv4_address", Shape::Text).refused(FIXED, BY_NAME),
    key("ipv6_address", Shape::Text).refused(FIXED, BY_NAME),
    key("link_local_ips", Shape::Any).refused(FIXED, BY_NAME),
    key("mac_address", Shape::Text).weaker("addresses are chosen by the node"),
    key("priority", Shape::Whole(i64::MIN, i64::MAX)).weaker("it has no effect"),
    key("gw_priority", Shape::Whole(i64::MIN, i64::MAX)).weaker("it has no effect"),
    key("interface_name", Shape::Text).weaker("it has no effect"),
    key("driver_opts", Shape::Any).weaker("it has no effect"),
];
const FIXED: &str = "addresses are chosen by the node";
const BY_NAME: &str = "reach the service by its name";

/// Where a task's output goes.
pub(super) const LOGGING: &[Key] =
    &[key("driver", Shape::Text), key("options", Shape::MapOf(&Shape::Maybe(&Shape::Word)))];

/// What Compose has no words for.
pub(crate) const SISO: &[Key] =
    &[key("singleton", Shape::OneOf(&["strict"])), key("priority", Shape::Whole(0, 100))];
