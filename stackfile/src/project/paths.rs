//! Paths of binds: relative to the project directory, `~` for the home of the person.

use crate::{
    canonical,
    grammar::{Held, Support},
    interpolate::Variables,
    tree::{Map, Node, Value},
};

const RELATIVE: Support = Support::Refused(
    "the files of this machine are not on the nodes",
    "build the files into the image or use a named volume; a file that is on every node is mounted \
     by its absolute path",
);

/// Makes the sources of binds absolute, and holds those that were not.
pub(super) fn resolve(
    tree: &mut Map,
    directory: &str,
    variables: &Variables<'_>,
    held: &mut Vec<Held>,
) {
    let Some(Value::Map(services)) = tree.get_mut("services").map(|node| &mut node.value) else {
        return;
    };
    for entry in &mut services.entries {
        let Value::Map(service) = &mut entry.value.value else { continue };
        let Some(Value::List(mounts)) = service.get_mut("volumes").map(|node| &mut node.value)
        else {
            continue;
        };
        for (index, mount) in mounts.iter_mut().enumerate() {
            let at = mount.at;
            let Value::Map(mount) = &mut mount.value else { continue };
            if mount.text("type") != Some("bind") {
                continue;
            }
            let Some(source) = mount.get("source") else { continue };
            let source_at = source.place(at);
            let Some(source) = source.as_text() else { continue };
            if !source.starts_with('/') {
                let path = format!("services.{}.volumes[{index}]", entry.key);
                held.push(Held { path, key: "volumes", at: source_at, support: RELATIVE });
            }
            let source = absolute(source, directory, variables.get("HOME").unwrap_or("~"));
            mount.set("source", source_at, Node::text(source, source_at));
        }
    }
}

fn absolute(path: &str, directory: &str, home: &str) -> String {
    let joined = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ if path.starts_with('/') => path.to_owned(),
        _ => format!("{directory}/{path}"),
    };
    canonical::clean(&joined)
}
