use super::parts::PAIRS;
use crate::{
    canonical,
    grammar::{Key, Shape, key},
};

/// The largest number where the format takes any.
const MOST: i64 = u32::MAX as i64;
const ROLLOUT: &str = "tasks are replaced one after the other, a failed one keeps the old running; \
                       these settings have no effect";

/// How and where a service's tasks run.
pub(super) const DEPLOY: &[Key] = &[
    key("mode", Shape::OneOf(&["replicated", "global", "replicated-job", "global-job"])),
    key("replicas", Shape::Whole(0, i64::MAX)),
    key("labels", PAIRS),
    key("placement", Shape::Keys(PLACEMENT)),
    key("resources", Shape::Keys(RESOURCES)),
    key("restart_policy", Shape::Keys(RESTART)),
    key("update_config", Shape::Keys(UPDATE)).weaker(ROLLOUT),
    key("rollback_config", Shape::Keys(UPDATE)).weaker(ROLLOUT),
    key("endpoint_mode", Shape::OneOf(&["vip", "dnsrr"]))
        .weaker("a service's name gives the addresses of its tasks, so it has no effect"),
];

const PLACEMENT: &[Key] = &[
    key("constraints", Shape::List(&Shape::Text)),
    key("preferences", Shape::List(&Shape::Keys(&[key("spread", Shape::Text)]))),
    key("max_replicas_per_node", Shape::Whole(0, MOST)),
];

const RESOURCES: &[Key] =
    &[key("limits", Shape::Keys(LIMITS)), key("reservations", Shape::Keys(RESERVATIONS))];

const LIMITS: &[Key] =
    &[key("cpus", Shape::Cpus), key("memory", Shape::Size), key("pids", Shape::Whole(-1, MOST))];

const RESERVATIONS: &[Key] = &[
    key("cpus", Shape::Cpus),
    key("memory", Shape::Size),
    key("devices", Shape::Form(canonical::device_requests)),
    key("generic_resources", Shape::List(&Shape::Keys(GENERIC))),
];

const GENERIC: &[Key] = &[key(
    "discrete_resource_spec",
    Shape::Keys(&[key("kind", Shape::Text), key("value", Shape::Form(canonical::amount))]),
)];

const RESTART: &[Key] = &[
    key("condition", Shape::OneOf(&["none", "on-failure", "any", "always"])),
    key("max_attempts", Shape::Whole(0, MOST)),
    key("delay", Shape::Duration).weaker("the time between restarts grows by itself"),
    key("window", Shape::Duration).weaker("the time between restarts grows by itself"),
];

const UPDATE: &[Key] = &[
    key("parallelism", Shape::Whole(0, MOST)),
    key("delay", Shape::Duration),
    key("failure_action", Shape::OneOf(&["pause", "continue", "rollback"])),
    key("monitor", Shape::Duration),
    key("max_failure_ratio", Shape::Any),
    key("order", Shape::OneOf(&["stop-first", "start-first"])),
];
