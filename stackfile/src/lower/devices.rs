use std::collections::BTreeMap;

use model::{
    Generic, GenericName,
    spec::{DeviceCount, DeviceRequest, GPU},
};

use super::{Context, pairs};
use crate::{
    diagnostic::Report,
    source::Span,
    tree::{Map, Node, Value},
};

/// The engine's word for all.
const ALL: i64 = -1;
const GENERIC: [&str; 4] = ["deploy", "resources", "reservations", "generic_resources"];
const DEVICES: [&str; 4] = ["deploy", "resources", "reservations", "devices"];
/// Requests for devices one service may have: a machine has a handful of devices.
const MAX_REQUESTS: usize = 32;

/// `deploy.resources.reservations.generic_resources`, by kind.
pub(super) fn generic(service: &Context<'_>, report: &mut Report) -> Generic {
    let mut amounts: BTreeMap<GenericName, u64> = BTreeMap::new();
    let path = service.path(&GENERIC.join("."));
    let items = service.get(&GENERIC).and_then(Node::as_list).unwrap_or_default();
    let told = report.has_errors();
    let mut wrong = |at: Span, what: String| {
        report
            .error(at, what)
            .path(path.clone())
            .hint("write `- discrete_resource_spec: {kind: gpu, value: 1}`");
    };
    for item in items {
        let Some(given) = item.as_map() else { continue };
        let Some(spec) = given.map("discrete_resource_spec") else {
            // A key that is unknown was reported.
            if told {
                continue;
            }
            wrong(item.begin(), "a generic resource needs a `discrete_resource_spec`".to_owned());
            continue;
        };
        let (Some(kind), Some(value)) = (spec.get("kind"), spec.get("value")) else {
            wrong(item.begin(), "a generic resource needs a `kind` and a `value`".to_owned());
            continue;
        };
        let (Some(name), Some(amount)) = (kind.as_text(), value.as_int()) else { continue };
        match GenericName::new(name) {
            Ok(name) if amounts.contains_key(&name) => {
                wrong(kind.at, format!("`{name}` is reserved twice"));
            }
            Ok(name) => {
                let one = [(name.clone(), u64::try_from(amount).unwrap_or(0))].into();
                match Generic::new(one) {
                    Ok(_) => drop(amounts.insert(name, u64::try_from(amount).unwrap_or(0))),
                    Err(error) => wrong(value.at, error.to_string()),
                }
            }
            Err(error) => wrong(kind.at, error.to_string()),
        }
    }
    Generic::new(amounts).unwrap_or_else(|error| {
        wrong(service.place(&GENERIC), error.to_string());
        Generic::NONE
    })
}

/// `gpus` and `deploy.resources.reservations.devices`.
pub(super) fn requests(service: &Context<'_>, report: &mut Report) -> Vec<DeviceRequest> {
    let mut requests = Vec::new();
    for path in [&["gpus"] as &[&str], &DEVICES] {
        let items = service.get(path).and_then(Node::as_list).unwrap_or_default();
        let key = path.join(".");
        for item in items {
            let Some(map) = item.as_map() else { continue };
            let mut request = request(map);
            if path.len() == 1 && !request.capabilities.iter().any(|word| word == GPU) {
                request.capabilities.push(GPU.to_owned());
            }
            let none = match &request.count {
                DeviceCount::All => false,
                DeviceCount::Number(number) => *number == 0,
                DeviceCount::Ids(ids) => ids.is_empty(),
            };
            let broken = |key| map.get(key).is_some_and(|given| given.value == Value::Broken);
            if none && !broken("count") && !broken("device_ids") {
                report
                    .error(item.begin(), "a request for no devices")
                    .path(service.path(&key))
                    .hint("say how many with `count`, or remove it");
            }
            // Where there are none at all, that was reported.
            if request.kind().is_none() && map.get("capabilities").is_some() {
                report
                    .error(item.begin(), "no capability names a kind of devices")
                    .path(service.path(&key))
                    .hint("write `capabilities: [gpu]`");
            }
            requests.push(request);
        }
        if !items.is_empty() {
            let what = format!(
                "`{key}`: a node refuses this unless its agent was started with `--allow devices`"
            );
            report.note(service.place(path), what).path(service.path(&key));
        }
    }
    if requests.len() > MAX_REQUESTS {
        let what = format!(
            "a service has at most {MAX_REQUESTS} requests for devices, this one has {}",
            requests.len()
        );
        report.error(service.place(&DEVICES), what).path(service.path(&DEVICES.join(".")));
    }
    requests
}

fn request(map: &Map) -> DeviceRequest {
    let texts = |key: &str| {
        let items = map.list(key).iter();
        items.filter_map(|item| item.as_text().map(str::to_owned)).collect::<Vec<_>>()
    };
    let count = match map.int("count") {
        Some(ALL) => DeviceCount::All,
        Some(count) => DeviceCount::Number(u32::try_from(count).unwrap_or(u32::MAX)),
        None => DeviceCount::Ids(texts("device_ids")),
    };
    DeviceRequest {
        driver: map.text("driver").filter(|driver| !driver.is_empty()).map(str::to_owned),
        count,
        capabilities: texts("capabilities"),
        options: pairs(map.map("options")),
    }
}
