use std::collections::BTreeSet;

use model::{
    Bytes, VolumeName,
    spec::{Mount, MountSource},
};

use super::{Context, resources::bytes};
use crate::{canonical, diagnostic::Report, source::Span, tree::Map, values::size};

/// To the kernel zero is "without a limit", which would let one task take its node's memory.
const NO_SIZE: &str = "a tmpfs of size 0 has no limit";
const A_SIZE: &str = "write the most it may hold, as in `size: 64m`";

/// `volumes` and `tmpfs`.
pub(super) fn mounts(service: &Context<'_>, report: &mut Report) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for node in service.map.list("volumes") {
        if let Some(map) = node.as_map() {
            unused_options(service, map, report);
            mounts.extend(mount(service, map, node.at, report));
        }
    }
    note_anonymous(service, report);
    let mut targets: BTreeSet<String> = mounts.iter().map(|mount| mount.target.clone()).collect();
    for (text, at) in service.texts("tmpfs") {
        let Some(mount) = tmpfs(service, text, at, report) else { continue };
        if !targets.insert(mount.target.clone()) {
            report
                .error(at, format!("two things are mounted at {}", mount.target))
                .path(service.path("tmpfs"));
        }
        mounts.push(mount);
    }
    mounts
}

fn mount(service: &Context<'_>, map: &Map, at: Span, report: &mut Report) -> Option<Mount> {
    let target = map.text("target")?.to_owned();
    let at = map.get("source").or_else(|| map.get("target")).map_or(at, |node| node.place(at));
    let source = match map.text("type")? {
        "volume" => match map.text("source") {
            None => MountSource::Anonymous,
            Some(name) => {
                let no_copy = map.map("volume").and_then(|volume| volume.bool("nocopy"));
                // A name that is none is reported where the volume is declared.
                let name = VolumeName::new(name).ok()?;
                MountSource::Volume { name, no_copy: no_copy.unwrap_or(false) }
            }
        },
        "bind" => {
            let path = map.text("source")?.to_owned();
            note_bind(service, &path, at, report);
            let create = map.map("bind").and_then(|bind| bind.bool("create_host_path"));
            MountSource::Bind { path, create: create.unwrap_or(true) }
        }
        "tmpfs" => {
            let options = map.map("tmpfs");
            let mode = options.and_then(|options| options.int("mode"));
            let size = bytes(options.and_then(|options| options.get("size")));
            if size == Some(Bytes::ZERO) {
                report.error(at, NO_SIZE).path(service.path("volumes")).hint(A_SIZE);
            }
            MountSource::Tmpfs { size, mode: mode.and_then(|mode| u32::try_from(mode).ok()) }
        }
        other => {
            report
                .error(at, format!("mounts of type `{other}` are not supported"))
                .path(service.path("volumes"))
                .hint("use `type: volume`, `type: bind` or `type: tmpfs`");
            return None;
        }
    };
    Some(Mount { source, target, read_only: map.bool("read_only").unwrap_or(false) })
}

/// Notes settings that belong to another type of mount.
fn unused_options(service: &Context<'_>, map: &Map, report: &mut Report) {
    let kind = map.text("type").unwrap_or_default();
    let no_source = (kind == "tmpfs").then_some("source");
    for key in ["volume", "bind", "tmpfs"].into_iter().filter(|key| *key != kind).chain(no_source) {
        let Some(entry) = map.entry(key) else { continue };
        let asks_nothing = entry.value.as_map().is_some_and(|map| map.entries.is_empty());
        if !asks_nothing {
            report
                .note(entry.key_at, format!("`{key}` has no effect on a mount of type `{kind}`"))
                .path(service.path("volumes"));
        }
    }
}

/// A volume without a name lives as long as its container, which a cluster replaces often.
fn note_anonymous(service: &Context<'_>, report: &mut Report) {
    let is_anonymous =
        |map: &Map| map.text("type") == Some("volume") && map.text("source").is_none();
    let mounts = service.map.list("volumes").iter();
    let found: Vec<(&str, Span)> = mounts
        .filter_map(|node| Some((node.as_map().filter(|map| is_anonymous(map))?, node.at)))
        .filter_map(|(map, at)| Some((map.text("target")?, map.get("target")?.place(at))))
        .collect();
    let Some((first, at)) = found.first() else { return };
    let targets: Vec<&str> = found.iter().map(|(target, _)| *target).collect();
    let what = format!(
        "what is written to {} is lost whenever a task of `{}` is replaced: a volume without a \
         name goes with its container",
        targets.join(" and "),
        service.name
    );
    report.note(*at, what).path(service.path("volumes")).hint(format!(
        "to keep it give it a name, as in `data:{first}`, and declare `data:` below `volumes:` at \
         the left margin"
    ));
}

fn note_bind(service: &Context<'_>, path: &str, at: Span, report: &mut Report) {
    let what = if path.ends_with("docker.sock") {
        "the engine's socket gives control over the node; its agent refuses it unless it was \
         started with `--allow`"
            .to_owned()
    } else {
        format!(
            "{path} is a path of the node the task is placed on; the agent must allow it, and a \
             constraint keeps the task where the files are"
        )
    };
    report.note(at, what).path(service.path("volumes"));
}

/// `TARGET[:size=64m,mode=1777,…]`
fn tmpfs(service: &Context<'_>, text: &str, at: Span, report: &mut Report) -> Option<Mount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let parsed = if target.starts_with('/') {
        tmpfs_options(options)
    } else {
        Err(format!("`{target}` is not an absolute path"))
    };
    match parsed {
        Ok(Tmpfs { size, mode, read_only }) => Some(Mount {
            source: MountSource::Tmpfs { size, mode },
            target: canonical::clean(target),
            read_only,
        }),
        Err(why) => {
            report
                .error(at, format!("`{text}` is not a tmpfs: {why}"))
                .path(service.path("tmpfs"))
                .hint("write `/run` or `/run:size=64m,mode=1777`");
            None
        }
    }
}

#[derive(Default)]
struct Tmpfs {
    size: Option<Bytes>,
    mode: Option<u32>,
    read_only: bool,
}

fn tmpfs_options(options: &str) -> Result<Tmpfs, String> {
    let mut tmpfs = Tmpfs::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => match size(value)? {
                Bytes::ZERO => return Err(NO_SIZE.to_owned()),
                size => tmpfs.size = Some(size),
            },
            ("mode", value) => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                tmpfs.mode = Some(mode.ok_or_else(|| format!("`{value}` is not a mode"))?);
            }
            ("ro", _) => tmpfs.read_only = true,
            // These hold for every tmpfs of the engine.
            ("rw" | "noexec" | "nosuid" | "nodev", _) => {}
            (other, _) => return Err(format!("the option `{other}` is not supported")),
        }
    }
    Ok(tmpfs)
}

/// `devices` as the engine writes them.
pub(super) fn devices(service: &Context<'_>, report: &mut Report) -> Vec<String> {
    let mut devices = Vec::new();
    for node in service.map.list("devices") {
        let Some(map) = node.as_map() else { continue };
        let source = map.text("source").unwrap_or_default();
        let target = map.text("target").unwrap_or(source);
        let rights = map.text("permissions").unwrap_or("rwm");
        let rights_fit = !rights.is_empty() && rights.chars().all(|c| "rwm".contains(c));
        if !source.starts_with('/') || !target.starts_with('/') || !rights_fit {
            let shown = [source, target, rights].join(":");
            report
                .error(node.begin(), format!("`{shown}` is not a device of the node"))
                .path(service.path("devices"))
                .hint("write `/dev/ttyUSB0` or `/dev/ttyUSB0:/dev/tty:rw`");
        }
        devices.push(format!("{source}:{target}:{rights}"));
    }
    devices
}
