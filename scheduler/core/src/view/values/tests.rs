use model::{
    Bytes, ServiceSpec,
    spec::{HealthTest, Healthcheck},
    view::FieldChange,
};

use super::values;
use crate::{
    cluster::changed_fields,
    testing::{With, mount, publish},
};

/// `field what old -> new`, `-` for what is absent.
fn line(change: &FieldChange) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let FieldChange { field, what, old, new } = change;
    format!("{field} {what} {} -> {}", value(old), value(new))
}

#[track_caller]
fn check(old: &ServiceSpec, new: &ServiceSpec, expected: &[&str]) {
    let fields = changed_fields(old, new);
    let told: Vec<_> = values(&fields, old, new).iter().map(line).collect();
    assert_eq!(told, expected);
}

fn spec() -> ServiceSpec {
    ServiceSpec::new("web:1")
}

#[test]
fn a_field_tells_its_old_and_its_new_value() {
    let words = |line: &str| Some(line.split(' ').map(str::to_owned).collect());
    let new = spec().with(|s| {
        s.image = "web:2".into();
        s.command = words("serve --port 80");
        s.user = Some("1000".into());
        s.replicas = 3;
        s.resources.memory_limit = Bytes::gib(1);
        publish(s, 80);
        mount(s, "data");
    });
    let expected = [
        "image changed web:1 -> web:2",
        "command added - -> serve --port 80",
        "user added - -> 1000",
        "ports added - -> 80:80/tcp",
        "volumes added - -> data:/data",
        "deploy.replicas changed 1 -> 3",
        "deploy.resources.limits.memory changed 256.0 MiB -> 1.0 GiB",
    ];
    check(&spec(), &new, &expected);
    let checked = |line: &str, interval_ms| {
        let test = HealthTest::Shell(line.into());
        let check = Healthcheck {
            test,
            interval_ms,
            timeout_ms: None,
            retries: Some(2),
            start_period_ms: None,
        };
        spec().with(|s| s.healthcheck = Some(check))
    };
    check(
        &checked("curl -f localhost", Some(2_000)),
        &checked("true", Some(1_500)),
        &[
            "healthcheck changed curl -f localhost, interval 2s, retries 2 -> true, interval 1500ms, \
           retries 2",
        ],
    );
}

#[test]
fn no_value_that_may_be_secret_is_told() {
    let with = |variables: &[(&str, &str)], password: &str| {
        spec().with(|s| {
            let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
            s.environment = variables.iter().map(owned).collect();
            s.labels = [("auth".into(), password.into())].into();
            s.command = Some(vec!["run".into(), "--password".into(), password.into()]);
        })
    };
    check(
        &with(&[("KEPT", "1"), ("OLD", "hunter2"), ("TOKEN", "abc")], "hunter2"),
        &with(&[("KEPT", "1"), ("NEW", "hunter3"), ("TOKEN", "xyz")], "hunter3"),
        &[
            "command changed - -> -",
            "environment.OLD removed - -> -",
            "environment.NEW added - -> -",
            "environment.TOKEN changed - -> -",
            "labels.auth changed - -> -",
        ],
    );
}

#[test]
fn a_long_value_is_shortened_to_where_it_differs() {
    let image = |tag: &str| ServiceSpec::new(format!("{}/web:{tag}", "registry".repeat(10)));
    check(&image("1"), &image("2"), &["image changed ...egistry/web:1 -> ...egistry/web:2"]);
    let fields = changed_fields(&spec(), &image("1"));
    let told = values(&fields, &spec(), &image("1")).remove(0).new.unwrap();
    assert_eq!((told.len(), told.ends_with("...")), (63, true));
}
