//! What is accepted and is weaker than it says, or different: a note with its line, never silence.

use crate::support::Case;
use siso_stackfile::{Diagnostic, Severity, SourceFile};

/// The notes of a stack whose service `web` has `below` from the fifth line on.
#[track_caller]
fn notes(below: &str) -> Vec<Diagnostic> {
    let text = format!("name: shop\nservices:\n  web:\n    image: nginx\n{below}");
    Case::new(&text).load().unwrap_or_else(|errors| panic!("{below}{errors}")).notes
}

#[track_caller]
fn noted(below: &str, said: &str, line: usize) {
    let notes = notes(below);
    let found: Vec<_> = notes.iter().filter(|note| note.message.contains(said)).collect();
    let [note] = found.as_slice() else { panic!("{below}{said}: {notes:#?}") };
    assert_eq!(note.severity, Severity::Note);
    assert_eq!(note.at.as_ref().map(|at| at.line), Some(line), "{note}");
    assert!(!note.path.is_empty(), "{note:?}");
}

#[track_caller]
fn silent(below: &str) {
    assert_eq!(notes(below), [], "{below}");
}

#[test]
fn a_volume_without_a_name_is_said_to_lose_its_data() {
    noted("    volumes:\n      - /x\n", "what is written to /x is lost", 6);
    // Once for a service, however many there are.
    noted("    volumes: [/x, /y, {type: volume, target: /z}]\n", "/x and /y and /z is lost", 5);
    assert!(notes("    volumes: [/x]\n")[0].hint.as_ref().unwrap().contains("`data:/x`"));
    silent("    volumes: [\"data:/x\", {type: tmpfs, target: /t}]\nvolumes: {data: }\n");
}

#[test]
fn a_strict_singleton_is_said_to_stop_without_schedulers() {
    noted(
        "    x-siso:\n      singleton: strict\n",
        "runs under a lease: it stops when its node hears no majority",
        6,
    );
    silent("    x-siso: {priority: 80}\n");
}

#[test]
fn ports_that_mean_less_than_they_say() {
    let port = |key: &str| format!("    ports:\n      - target: 80\n        {key}\n");
    noted(&port("mode: ingress"), "`mode`: the port is open on the nodes that run a task", 7);
    noted(&port("name: http"), "`name`: names of ports are not kept", 7);
    noted(&port("app_protocol: http"), "`app_protocol`: it has no effect", 7);
    silent(&port("mode: host"));
    silent("    ports: [\"8080:80\"]\n");
    let host = "    ports: [\"80:80\"]\n    network_mode: host\n";
    noted(host, "`ports` has no effect with `network_mode: host`", 5);
    noted("    extra_hosts: [\"a:host-gateway\"]\n", "is the node the task is placed on", 5);
}

#[test]
fn settings_of_mounts_nothing_acts_on() {
    let short = |options: &str| format!("    volumes:\n      - /srv:/x:{options}\n");
    noted(&short("z"), "`z`: nodes do not relabel files", 6);
    noted(&short("ro,rslave"), "`rslave`: mounts do not propagate", 6);
    noted(&short("cached"), "`cached`: it has no effect", 6);
    noted(&short("nocopy"), "`nocopy`: nothing is copied", 6);
    let long = |kind: &str, key: &str| {
        format!("    volumes:\n      - type: {kind}\n        target: /x\n        {key}\n")
    };
    noted(&long("tmpfs", "consistency: cached"), "`consistency`: it has no effect", 8);
    noted(&long("volume", "volume: {labels: {a: b}}"), "`labels`: labels of volumes stay", 8);
    let other = "`tmpfs` has no effect on a mount of type `volume`";
    noted(&long("volume", "tmpfs: {size: 1m}"), other, 8);
    noted(&long("tmpfs", "source: x"), "`source` has no effect on a mount of type `tmpfs`", 8);
}

#[test]
fn networks_that_mean_less_than_they_say() {
    let network = |inner: &str| format!("networks:\n  default:\n    {inner}\n");
    noted(&network("driver: overlay"), "`driver`: every node has a network of its own", 7);
    noted(&network("attachable: true"), "`attachable`: it has no effect", 7);
    noted(&network("enable_ipv4: false"), "`enable_ipv4`: the network has IPv4", 7);
    silent(&network("driver: bridge"));
    silent(&network("enable_ipv4: true"));
}

#[test]
fn keys_for_another_tool() {
    noted("    attach: true\n", "`attach`: the output of tasks", 5);
    noted("    develop: {watch: []}\n", "`develop`: files are not watched", 5);
}

#[test]
fn services_with_the_same_host_port_are_said_to_keep_apart() {
    let text = "name: shop\nservices:\n  web:\n    image: a\n    ports: [\"80:80\"]\n  admin:\n    image: b\n    \
                ports: [\"80:8000\"]\n";
    let notes = Case::new(text).load().unwrap().notes;
    let said = notes.iter().find(|note| note.message.contains("port 80 of the node")).unwrap();
    assert_eq!(said.severity, Severity::Warning);
    assert!(said.message.contains("`admin` and by `web`: they never run on one node"), "{said}");
    assert_eq!(said.at.as_ref().map(|at| at.line), Some(8), "{said}");
}

#[test]
fn the_same_note_on_many_places_is_said_once_with_all_of_them() {
    let first = "version: \"3\"\nname: shop\nservices:\n  web:\n    image: a\n    container_name: w\n  \
                 db:\n    image: b\n    container_name: d\n";
    let second = "version: \"3\"\nservices:\n  api:\n    image: c\n    container_name: a\n";
    let files = vec![SourceFile::new("a.yaml", first), SourceFile::new("b.yaml", second)];
    let notes = Case { files, ..Case::default() }.load().unwrap().notes;
    let said: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "note: `version`: it is ignored: the format has no versions any more\n --> a.yaml:1:1 and \
             b.yaml:1:1",
            "note: `container_name`: containers are named after their task; the name is kept as a DNS name \
             in the stack\n --> a.yaml:6:5, 9:5 and b.yaml:5:5",
        ]
    );
    let many = (1..=30).map(|n| format!("  s{n}:\n    image: a\n    attach: true\n"));
    let many: Vec<String> = many.collect();
    let text = format!("name: shop\nservices:\n{}", many.concat());
    let notes = Case::new(&text).load().unwrap().notes;
    let [note] = notes.as_slice() else { panic!("{notes:#?}") };
    assert!(note.to_string().ends_with("59:5, 62:5 and 10 more places"), "{note}");
}
