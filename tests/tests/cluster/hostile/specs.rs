//! Stacks that no `sisoctl` would send: what it checks for people, a scheduler checks for itself.

use model::{
    ServiceSpec, StackName, StackSpec,
    name::{NetworkName, VolumeName},
    spec::{NetworkSpec, VolumeSpec},
};
use proto::v1::{self, ApplyRequest, control_client::ControlClient};
use siso_tests::World;
use tonic::Code;

use super::caller::{Caller, admin};

/// What an answer may say of what it refuses.
const ANSWER_BYTES_MAX: usize = 1000;

/// A stack `shop` with one service `web`, a volume and a network, as `sisoctl` would send it.
fn honest() -> v1::StackSpec {
    let name = StackName::new("shop").expect("a name");
    let services = [("web".parse().expect("a name"), ServiceSpec::new("siso/test:1"))].into();
    let volumes = [(VolumeName::new("data").expect("a name"), VolumeSpec::default())].into();
    let networks = [(NetworkName::new("inner").expect("a name"), NetworkSpec::default())].into();
    v1::StackSpec::from(&StackSpec { name, services, volumes, networks })
}

/// Has one thing changed about its service.
fn web(spoil: impl FnOnce(&mut v1::ServiceSpec)) -> v1::StackSpec {
    let mut stack = honest();
    spoil(stack.services.get_mut("web").expect("web"));
    stack
}

fn resources(web: &mut v1::ServiceSpec) -> &mut v1::ResourceAsk {
    web.resources.as_mut().expect("resources")
}

fn mount(name: &str, target: &str) -> v1::Mount {
    let volume = v1::mount::Volume { name: name.to_owned(), no_copy: false };
    let source = Some(v1::mount::Source::Volume(volume));
    v1::Mount { source, target: target.to_owned(), ..v1::Mount::default() }
}

fn needs(name: &str) -> impl FnOnce(&mut v1::ServiceSpec) {
    let need = (name.to_owned(), v1::Dependency { condition: 1, required: true, restart: false });
    |web| web.depends_on.extend([need])
}

fn port(published: u32, target: u32) -> v1::Port {
    v1::Port { host_ip: None, published: Some(published), target, protocol: 1 }
}

/// What is wrong, with it, and what the answer names.
type Spoilt = (&'static str, v1::StackSpec, &'static str);

/// Names, and more of something than there may be.
fn beyond_bounds() -> Vec<Spoilt> {
    let named = |name: &str| v1::StackSpec { name: name.to_owned(), ..honest() };
    let service = |name: &str| {
        let mut stack = honest();
        let web = stack.services.remove("web").expect("web");
        stack.services.insert(name.to_owned(), web);
        stack
    };
    let variables = |count: u32, value: &str| {
        let one = |number| (format!("V{number}"), value.to_owned());
        web(|web| web.environment.extend((0..count).map(one)))
    };
    let words = |word: String| web(|web| web.command = Some(v1::Words { words: vec![word] }));
    let memory = |memory| web(|web| resources(web).memory = Some(memory));
    vec![
        ("no name", named(""), "spec.name"),
        ("a way out of a directory", named("../../etc"), "spec.name"),
        ("a line in a name", named("shop\nx"), "spec.name"),
        ("a name longer than any", named(&"x".repeat(4096)), "spec.name"),
        ("a service's way out", service("../web"), "spec.services"),
        ("an image longer than any path", web(|web| web.image = "x".repeat(5000)), "image"),
        ("more replicas than run anywhere", web(|web| web.replicas = u32::MAX), "replicas"),
        ("a priority above all", web(|web| web.priority = u32::MAX), "priority"),
        ("more memory than can be counted", memory(u64::MAX), "memory"),
        ("more variables than a list may hold", variables(10_001, ""), "environment"),
        ("a megabyte and more", variables(11, &"x".repeat(100 << 10)), "bytes large"),
        ("an argument that no system passes", words("x".repeat(129 << 10)), "command"),
        ("a word with an end in it", words("a\0b".to_owned()), "command"),
    ]
}

/// What must be there and is not, or is none of its kind.
fn no_service() -> Vec<Spoilt> {
    let below = |web: &mut v1::ServiceSpec| {
        (resources(web).memory, resources(web).memory_limit) = (Some(8 << 20), Some(7 << 20));
    };
    let processors = |web: &mut v1::ServiceSpec| {
        (resources(web).cpu, resources(web).cpu_limit) = (Some(2000), Some(1000));
    };
    let rule = |web: &mut v1::ServiceSpec| {
        let placement = web.placement.as_mut().expect("placement");
        placement.constraints.push("node.name ~~ mini".to_owned());
    };
    vec![
        ("no image", web(|web| web.image.clear()), "image"),
        ("no resources", web(|web| web.resources = None), "resources"),
        ("no rule for its end", web(|web| web.restart = None), "restart"),
        ("a limit below what is reserved", web(below), "memory"),
        ("no limit", web(|web| resources(web).memory_limit = Some(0)), "memory_limit"),
        ("processes without a limit", web(|web| resources(web).pids_limit = 0), "pids_limit"),
        ("more processors than its limit", web(processors), "cpu"),
        ("a rule that is none", web(rule), "constraints"),
        ("a port that is none", web(|web| web.ports.push(port(80, 0))), "ports"),
        ("a port above all", web(|web| web.ports.push(port(65_536, 80))), "ports"),
        ("a mount on no path", web(|web| web.mounts.push(mount("data", "data"))), "mounts"),
    ]
}

/// What contradicts another part of the same stack.
fn contradictions() -> Vec<Spoilt> {
    let ports = [port(80, 80), port(80, 81)];
    let mounts = [mount("data", "/data"), mount("data", "/data/")];
    let twice = |web: &mut v1::ServiceSpec| (web.strict_singleton, web.replicas) = (true, 2);
    vec![
        ("a port twice", web(|web| web.ports.extend(ports)), "port"),
        ("a mount on another", web(|web| web.mounts.extend(mounts)), "mounts"),
        ("a volume nobody declares", web(|web| web.mounts.push(mount("other", "/data"))), "other"),
        ("a network nobody declares", web(|web| web.networks.push("other".to_owned())), "other"),
        ("a need of nobody", web(needs("ghost")), "ghost"),
        ("a need of itself", web(needs("web")), "web"),
        ("one that never runs twice, twice", web(twice), "only one replica"),
    ]
}

#[test]
fn a_stack_that_no_client_of_ours_would_send_is_refused_by_what_is_wrong_with_it() {
    let world = World::scheduler_only("specs");
    let people = Caller::as_(&admin(&world), &world);
    let ask = |id: &[u8], spec: Option<v1::StackSpec>| {
        let request = ApplyRequest { request_id: id.to_vec(), spec, basis: None };
        let mut control = ControlClient::new(people.channel.clone());
        people.runtime.block_on(control.apply(request))
    };
    let without = ask(&[7; 16], None).expect_err("no stack");
    let anonymous = ask(&[7; 15], Some(honest())).expect_err("no id");
    for (refused, names) in [(&without, "spec"), (&anonymous, "request_id")] {
        assert!(refused.message().contains(names), "{refused:?}");
    }
    let spoilt = [beyond_bounds(), no_service(), contradictions()].concat();
    let mut wrong = Vec::new();
    for (number, (what, spec, names)) in (1_u8..).zip(spoilt) {
        match ask(&[number; 16], Some(spec)) {
            Ok(taken) => wrong.push(format!("{what} was taken: {taken:?}")),
            Err(refused) => {
                let said = refused.message();
                let named = said.contains(names) && said.len() < ANSWER_BYTES_MAX;
                if refused.code() != Code::InvalidArgument || !named {
                    wrong.push(format!("{what}: {refused:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(world.ctl.json(&["stack", "ls"]).as_array().map(Vec::len), Some(0));
    ask(&[255; 16], Some(honest())).expect("one that is in order");
    world.expect_unharmed();
}
