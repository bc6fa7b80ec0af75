//! Paths of this machine: relative to the project directory, `~` for the home of the person.

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

/// Makes paths absolute, and holds the binds that were not.
pub(super) fn resolve(
    tree: &mut Map,
    directory: &str,
    variables: &Variables<'_>,
    held: &mut Vec<Held>,
) {
    let home = variables.get("HOME").unwrap_or("~");
    for kind in ["secrets", "configs"] {
        let Some(Value::Map(files)) = tree.get_mut(kind).map(|node| &mut node.value) else {
            continue;
        };
        for entry in &mut files.entries {
            if let Value::Map(map) = &mut entry.value.value {
                make_absolute(map, "file", directory, home);
            }
        }
    }
    let Some(Value::Map(services)) = tree.get_mut("services").map(|node| &mut node.value) else {
        return;
    };
    for entry in &mut services.entries {
        let Value::Map(service) = &mut entry.value.value else { continue };
        if let Some(build) = service.get_mut("build") {
            build_context(build, directory, home);
        }
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
                held.push(Held { path, key: source.to_owned(), at: source_at, support: RELATIVE });
            }
            let source = absolute(source, directory, home);
            mount.set("source", source_at, Node::text(source, source_at));
        }
    }
}

/// `build`: the short form is the directory of the context; a URL is one too.
fn build_context(build: &mut Node, directory: &str, home: &str) {
    let at = build.at;
    if let Value::Text(context) = &build.value {
        let context = Node::text(context.clone(), at);
        let mut map = Map::default();
        map.push("context", at, context);
        build.value = Value::Map(map);
    }
    let Value::Map(map) = &mut build.value else { return };
    if map.get("context").is_none() && map.get("dockerfile_inline").is_none() {
        map.push("context", at, Node::text(".", at));
    }
    let is_url = |text: &str| {
        text.contains("://") || text.starts_with("git@") || text.starts_with("github.com/")
    };
    if !map.text("context").is_some_and(is_url) {
        make_absolute(map, "context", directory, home);
    }
}

fn make_absolute(map: &mut Map, key: &str, directory: &str, home: &str) {
    let Some(node) = map.get_mut(key) else { return };
    if let Value::Text(path) = &mut node.value {
        *path = absolute(path, directory, home);
    }
}

fn absolute(path: &str, directory: &str, home: &str) -> String {
    let joined = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ if path.starts_with('/') => return path.to_owned(),
        _ => format!("{directory}/{path}"),
    };
    canonical::clean(&joined)
}
