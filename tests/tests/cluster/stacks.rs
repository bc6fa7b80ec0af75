//! Stack files more than one test uses.

/// `replicas` containers of one service `web` that do nothing, 16 MiB each.
pub(crate) fn sleepers(stack: &str, replicas: u32) -> String {
    format!(
        "
name: {stack}
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    deploy: {{ replicas: {replicas} }}
"
    )
}
