use super::{
    deploy::DEPLOY,
    parts::{HEALTHCHECK, LOGGING, PAIRS},
};
use crate::{
    canonical,
    grammar::{Key, Shape, key},
};

const TEXTS: Shape = Shape::List(&Shape::Text);
const MANY: Shape = Shape::Many(&Shape::Text);
const COMMAND: Shape = Shape::Maybe(&Shape::Form(canonical::command));
/// The largest number a container engine takes where it takes any.
const MOST: i64 = u32::MAX as i64;

const ADDRESSES: &str = "the resolver of the containers is the stack's own";
const SWAP: &str = "tasks do not swap, so it has no effect";
const TERMINAL: &str = "nobody sits at the terminal of a task, so it has no effect";
const BY_HOOK: &str = "hooks are not run yet";

/// A service.
pub(crate) const SERVICE: &[Key] = &[
    key("image", Shape::Text),
    key("command", COMMAND),
    key("entrypoint", COMMAND),
    key("environment", Shape::Form(canonical::environment)),
    key("env_file", Shape::Form(canonical::env_file)),
    key("ports", Shape::Form(canonical::ports)),
    key("expose", Shape::Form(canonical::expose)),
    key("volumes", Shape::Form(canonical::mounts)),
    key("depends_on", Shape::Form(canonical::depends_on)),
    key("healthcheck", Shape::Keys(HEALTHCHECK)),
    key("restart", Shape::Form(canonical::restart)),
    key("labels", PAIRS),
    key("user", Shape::Text),
    key("working_dir", Shape::Text),
    key("hostname", Shape::Text),
    key("container_name", Shape::Text).weaker(
        "containers are named after their task; the name is kept as a DNS name in the stack",
    ),
    key("stop_grace_period", Shape::Duration),
    key("stop_signal", Shape::Text),
    key("ulimits", Shape::MapOf(&Shape::Form(canonical::ulimit))),
    key("tmpfs", MANY),
    key("extra_hosts", Shape::Form(canonical::extra_hosts)),
    key("init", Shape::Flag),
    key("read_only", Shape::Flag),
    key("shm_size", Shape::Size),
    key("cap_add", TEXTS),
    key("cap_drop", TEXTS),
    key("security_opt", TEXTS),
    key("logging", Shape::Keys(LOGGING)),
    key("deploy", Shape::Maybe(&Shape::Keys(DEPLOY))),
    key("mem_limit", Shape::Size),
    key("mem_reservation", Shape::Size),
    key("cpus", Shape::Cpus),
    key("pids_limit", Shape::Whole(-1, MOST)),
    key("networks", Shape::Maybe(&Shape::Form(canonical::service_networks))),
    key("network_mode", Shape::Text),
    key("scale", Shape::Whole(0, i64::MAX)),
    key("profiles", TEXTS),
    key("privileged", Shape::Flag),
    key("devices", Shape::Form(canonical::devices)),
    key("gpus", Shape::Form(canonical::gpus)),
    key("pid", Shape::Text),
    key("ipc", Shape::Text),
    key("userns_mode", Shape::Text),
    key("platform", Shape::Text),
    key("pull_policy", Shape::Text),
    key("x-siso", Shape::Form(canonical::siso)),
    key("attach", Shape::Flag).weaker("the output of tasks is shown by `sisoctl logs`"),
    key("develop", Shape::Any).weaker("files are not watched: apply again after a change"),
    key("tty", Shape::Flag).weaker(TERMINAL),
    key("stdin_open", Shape::Flag).weaker(TERMINAL),
    key("memswap_limit", Shape::Any).weaker(SWAP),
    key("mem_swappiness", Shape::Any).weaker(SWAP),
    key("oom_score_adj", Shape::Whole(-1000, 1000)).weaker("it has no effect"),
    key("cpu_shares", Shape::Any).weaker("CPU is shared equally, so it has no effect"),
    key("blkio_config", Shape::Any).weaker("it has no effect"),
    key("storage_opt", Shape::Any).weaker("it has no effect"),
    key("pull_refresh_after", Shape::Any).weaker("an image is pulled when a node lacks it"),
    key("domainname", Shape::Text).weaker("it has no effect"),
    key("mac_address", Shape::Text).weaker("addresses are chosen by the node"),
    key("build", Shape::Any).refused(
        "images are not built by the cluster",
        "build and push the image first, then name it with `image:` and remove `build:`",
    ),
    key("extends", Shape::Any)
        .unread("`extends` is not read yet", "use an anchor: `<<: *base`, or a second `-f` file"),
    key("secrets", Shape::Any).refused(
        "secrets are not distributed to the nodes yet",
        "give the value with `environment`, or as a file on a named volume",
    ),
    key("configs", Shape::Any).refused(
        "configuration files are not distributed to the nodes yet",
        "build the file into the image, or give its values with `environment`",
    ),
    key("links", Shape::Any)
        .refused("links are not made", "services reach each other by name; use `depends_on`"),
    key("external_links", Shape::Any)
        .refused("links are not made", "put both services into one stack"),
    key("volumes_from", Shape::Any)
        .refused("containers do not share mounts", "mount the same named volume in both services"),
    key("dns", Shape::Any).refused(ADDRESSES, "add single names with `extra_hosts`"),
    key("dns_search", Shape::Any).refused(ADDRESSES, "write names in full"),
    key("dns_opt", Shape::Any).refused(ADDRESSES, "remove it"),
    key("label_file", Shape::Any).refused("label files are not read yet", "use `labels`"),
    key("annotations", Shape::Any).refused("annotations are not kept", "use `labels`"),
    key("sysctls", Shape::Any)
        .refused("kernel settings are not passed to containers yet", "set them on the nodes"),
    key("group_add", Shape::Any).refused(
        "further groups are not passed yet",
        "give user and group as `user: \"1000:1000\"`",
    ),
    key("device_cgroup_rules", Shape::Any)
        .refused("device rules are not passed to containers", "name the devices with `devices`"),
    key("runtime", Shape::Any)
        .refused("the node's own runtime is used", "remove it, and set the runtime on the node"),
    key("uts", Shape::Any).refused("the host's name is not shared", "use `hostname`"),
    key("cgroup", Shape::Any).refused("tasks have cgroups of their own", "remove it"),
    key("cgroup_parent", Shape::Any).refused("tasks have cgroups of their own", "remove it"),
    key("cpuset", Shape::Any).refused("CPUs are not pinned", "use `cpus`"),
    key("cpu_count", Shape::Any).refused("it is for Windows", "use `cpus`"),
    key("cpu_percent", Shape::Any).refused("it is for Windows", "use `cpus`"),
    key("cpu_period", Shape::Any).refused("quotas are counted in CPUs", "use `cpus`"),
    key("cpu_quota", Shape::Any).refused("quotas are counted in CPUs", "use `cpus: 0.5` for half"),
    key("cpu_rt_period", Shape::Any).refused("there is no real-time scheduling", "use `cpus`"),
    key("cpu_rt_runtime", Shape::Any).refused("there is no real-time scheduling", "use `cpus`"),
    key("oom_kill_disable", Shape::Any).refused(
        "a task past its memory limit is always ended, or it would stop its node",
        "raise `mem_limit`",
    ),
    key("isolation", Shape::Any).refused("it is for Windows", "remove it"),
    key("credential_spec", Shape::Any).refused("it is for Windows", "remove it"),
    key("provider", Shape::Any).refused("providers are not run", "use a service with an image"),
    key("models", Shape::Any).refused("models are not run", "run the model in a service"),
    key("use_api_socket", Shape::Any)
        .refused("containers do not get the engine's socket", "remove it"),
    key("pre_start", Shape::Any)
        .refused(BY_HOOK, "use a service that ends, and `service_completed_successfully`"),
    key("post_start", Shape::Any).refused(BY_HOOK, "do it in the image's entrypoint"),
    key("pre_stop", Shape::Any).refused(BY_HOOK, "do it in the program, on its stop signal"),
];
