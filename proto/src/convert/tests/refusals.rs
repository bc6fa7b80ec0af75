//! What does not pass, and the path the error names.

use std::collections::BTreeMap;

use model::{AssignmentSet, ServiceSpec, StackName, StackSpec, TaskReport};

use crate::{
    convert::{
        At as _, BadField,
        limits::{LIST_MAX, SENTENCE_MAX, TEXT_MAX, WORD_MAX},
        message,
    },
    v1,
};

/// A stack `shop` with one service `web`, spoilt by `spoil`, is refused with `expected`.
#[track_caller]
fn check(spoil: impl FnOnce(&mut v1::ServiceSpec), expected: &str) {
    let mut spec = StackSpec {
        name: StackName::new("shop").unwrap(),
        services: std::iter::once(("web".parse().unwrap(), ServiceSpec::new("nginx"))).collect(),
        volumes: BTreeMap::new(),
        networks: BTreeMap::new(),
    };
    spec.services.values_mut().for_each(|service| service.command = Some(vec!["run".to_owned()]));
    let mut wire = v1::StackSpec::from(&spec);
    assert_eq!(message(Some(wire.clone())), Ok(spec), "unspoilt");
    spoil(wire.services.get_mut("web").unwrap());
    let refused: Result<StackSpec, BadField> = message(Some(wire)).at("spec");
    assert_eq!(refused.unwrap_err().to_string(), expected);
}

#[track_caller]
fn check_resources(spoil: impl FnOnce(&mut v1::ResourceAsk), expected: &str) {
    check(|web| spoil(web.resources.as_mut().unwrap()), expected);
}

#[test]
fn what_is_missing_is_named_by_its_path() {
    let none: Result<StackSpec, BadField> = message(None::<v1::StackSpec>).at("spec");
    assert_eq!(none.unwrap_err().to_string(), "spec: missing");
    check(|web| web.resources = None, "spec.services.web.resources: missing");
    check_resources(|ask| ask.memory = None, "spec.services.web.resources.memory: missing");
    check_resources(|ask| ask.basis = 0, "spec.services.web.resources.basis: missing");
    check(|web| web.image.clear(), "spec.services.web.image: missing");
    check(|web| web.restart = None, "spec.services.web.restart: missing");
    check(
        |web| web.restart = Some(v1::RestartPolicy::default()),
        "spec.services.web.restart: missing",
    );
    check(
        |web| web.mounts.push(v1::Mount::default()),
        "spec.services.web.mounts[0].source: missing",
    );
    check(
        |web| {
            let privileges = web.privileges.as_mut().unwrap();
            privileges.device_requests.push(v1::DeviceRequest::default());
        },
        "spec.services.web.privileges.device_requests[0].count: missing",
    );
    check(
        |web| web.healthcheck = Some(v1::Healthcheck::default()),
        "spec.services.web.healthcheck.test: missing",
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    let port = |published, target| v1::Port { host_ip: None, published, target, protocol: 1 };
    check(
        |web| web.ports.push(port(None, 0)),
        "spec.services.web.ports[0].target: 0 is not within 1 to 65535",
    );
    check(
        |web| web.ports.extend([port(None, 1), port(Some(65_536), 1)]),
        "spec.services.web.ports[1].published: 65536 is not within 1 to 65535",
    );
    check(|web| web.priority = 101, "spec.services.web.priority: 101 is not within 0 to 100");
    check(
        |web| web.replicas = 10_001,
        "spec.services.web.replicas: 10001 is not within 0 to 10000",
    );
    check_resources(
        |ask| ask.memory_limit = Some(1 << 63),
        "spec.services.web.resources.memory_limit: 9223372036854775808 is not within 0 to \
         9223372036854775807",
    );
    let generic = |kind: &'static str, amount| {
        move |ask: &mut v1::ResourceAsk| {
            ask.generic.insert(kind.to_owned(), amount);
        }
    };
    check_resources(
        generic("gpu", 0),
        "spec.services.web.resources.generic: 0 is no amount of gpu: it is from 1 to \
         9007199254740992",
    );
    check_resources(
        |ask| ask.generic = (0..33).map(|kind| (format!("k{kind}"), 1)).collect(),
        "spec.services.web.resources.generic: 33 entries, the limit is 32",
    );
    check_resources(
        generic("g p u", 1),
        "spec.services.web.resources.generic.g p u: \"g p u\" is not a resource name: use letters, \
         digits, `.`, `_` and `-`, beginning with a letter or digit",
    );
    check(
        |web| {
            web.ulimits.insert("nofile".to_owned(), v1::Ulimit { soft: -2, hard: 1 });
        },
        "spec.services.web.ulimits.nofile.soft: -2 is not within -1 to 9223372036854775807",
    );
}

#[test]
fn an_unknown_word_is_an_error_and_not_a_guess() {
    check_resources(
        |ask| ask.basis = 99,
        "spec.services.web.resources.basis: this program does not know 99",
    );
    let report = v1::TaskReport {
        task: 1,
        status: Some(v1::TaskStatus { state: 42, health: 1, ..v1::TaskStatus::default() }),
    };
    let refused = TaskReport::try_from(report).unwrap_err();
    assert_eq!(refused.to_string(), "status.state: this program does not know 42");
}

#[test]
fn texts_that_are_too_long_or_would_be_misread_are_refused() {
    let long = format!("{} bytes, the limit is {TEXT_MAX}", TEXT_MAX + 1);
    check(
        |web| web.command.as_mut().unwrap().words.push("x".repeat(TEXT_MAX + 1)),
        &format!("spec.services.web.command[1]: {long}"),
    );
    check(
        |web| web.image = "x".repeat(WORD_MAX + 1),
        &format!("spec.services.web.image: {} bytes, the limit is {WORD_MAX}", WORD_MAX + 1),
    );
    check(
        |web| {
            web.environment.insert("A".to_owned(), "b\0c".to_owned());
        },
        "spec.services.web.environment.A: has a NUL character",
    );
    check(
        |web| {
            web.environment.insert("A=B".to_owned(), String::new());
        },
        "spec.services.web.environment.A=B: has a `=`",
    );
    let bind = v1::mount::Bind { path: "data".to_owned(), create: false };
    let mount = v1::Mount {
        source: Some(v1::mount::Source::Bind(bind)),
        target: "/data".to_owned(),
        read_only: false,
    };
    check(|web| web.mounts.push(mount), "spec.services.web.mounts[0].bind.path: is not absolute");
    let failure =
        v1::Failure { cause: 1, message: "x".repeat(SENTENCE_MAX + 1), no_variant: false };
    assert!(model::task::Failure::try_from(failure).is_err());
}

#[test]
fn lists_that_are_too_long_are_refused() {
    let expected = format!("{} entries, the limit is {LIST_MAX}", LIST_MAX + 1);
    check(
        |web| web.cap_drop = vec!["ALL".to_owned(); LIST_MAX + 1],
        &format!("spec.services.web.cap_drop: {expected}"),
    );
    check(
        |web| web.labels = (0..=LIST_MAX).map(|n| (n.to_string(), String::new())).collect(),
        &format!("spec.services.web.labels: {expected}"),
    );
}

#[test]
fn names_and_constraints_say_themselves_what_is_wrong() {
    check(
        |web| web.networks.push("a b".to_owned()),
        "spec.services.web.networks[0]: \"a b\" is not a network name: use letters, digits, `.`, `_` \
         and `-`, beginning with a letter or digit",
    );
    check(
        |web| web.placement.as_mut().unwrap().constraints.push("role".to_owned()),
        "spec.services.web.placement.constraints[0]: expected `KEY == VALUE` or `KEY != VALUE`",
    );
    let stack = v1::StackSpec { name: "../x".to_owned(), ..v1::StackSpec::default() };
    assert_eq!(StackSpec::try_from(stack).unwrap_err().path, "name");
}

#[test]
fn a_set_for_nobody_is_refused() {
    let set = v1::AssignmentSet { cluster: "c".to_owned(), ..v1::AssignmentSet::default() };
    let refused = AssignmentSet::try_from(set).unwrap_err();
    assert_eq!(refused.to_string(), "node: missing");
}

#[test]
fn a_path_shows_only_the_beginning_of_a_key_somebody_chose() {
    let error = BadField::missing().within(&"k".repeat(10_000)).within("labels");
    assert!(error.to_string().len() < 200);
}

#[test]
fn a_refusal_is_the_callers_mistake() {
    let status = tonic::Status::from(BadField::missing().within("spec"));
    assert_eq!((status.code(), status.message()), (tonic::Code::InvalidArgument, "spec: missing"));
}
