//! The engine's interface alone: the same containers, asked for in parallel by nobody in particular.

use std::{sync::Mutex, thread};

use serde_json::{Value, json};

use super::{Contestant, SERVICES, engine::ask, engine::listed, engine::wait_gone, siso::Siso};
use crate::ground::Ground;

/// Its own label, with the same number of labels around it.
const LABEL: &str = "bench.direct";
const NETWORK: &str = "bench-race-direct";

/// The requests for the containers, as the agent once made them.
#[derive(Debug)]
pub(super) struct Direct {
    bodies: Vec<Value>,
}

impl Direct {
    /// Has the stack made once, and takes over how each container was asked for.
    pub(super) fn as_made_by(ours: &Siso, ground: &Ground) -> Self {
        let engine = ground.own.engine();
        ours.up(ground);
        let rows = listed(engine, &ours.label());
        assert_eq!(rows.len(), SERVICES, "containers of a fresh stack");
        let bodies = rows.iter().map(|row| {
            let id = row["Id"].as_str().unwrap_or_default();
            let shown = ask(engine, "GET", &format!("/containers/{id}/json"), &Value::Null);
            let mut body = shown["Config"].clone();
            let labels = body["Labels"].as_object().into_iter().flatten();
            let labels = labels.map(|(key, value)| (key.replace("siso", LABEL), value.clone()));
            body["Labels"] = labels.chain([(LABEL.to_owned(), json!("1"))]).collect();
            // It is the container's id, which the new one does not have.
            body["Hostname"] = json!("");
            body["HostConfig"] = shown["HostConfig"].clone();
            body["HostConfig"]["NetworkMode"] = json!(NETWORK);
            let alias = row["Labels"]["siso.service"].clone();
            body["NetworkingConfig"]["EndpointsConfig"][NETWORK] = json!({"Aliases": [alias]});
            body
        });
        let bodies = bodies.collect();
        ours.down(ground);
        wait_gone(engine, &ours.label());
        Self { bodies }
    }
}

impl Contestant for Direct {
    fn name(&self) -> String {
        "engine alone".to_owned()
    }

    /// A thread for each: the engine decides what it does at once.
    fn up(&self, ground: &Ground) {
        let engine = ground.own.engine();
        let network = json!({"Name": NETWORK, "Driver": "bridge"});
        ask(engine, "POST", "/networks/create", &network);
        thread::scope(|scope| {
            for body in &self.bodies {
                scope.spawn(move || {
                    let made = ask(engine, "POST", "/containers/create", body);
                    let id = made["Id"].as_str().unwrap_or_default();
                    ask(engine, "POST", &format!("/containers/{id}/start"), &Value::Null);
                });
            }
        });
    }

    fn label(&self) -> String {
        LABEL.to_owned()
    }

    fn again(&self, _: &Ground) -> Option<()> {
        None
    }

    fn down(&self, ground: &Ground) {
        let engine = ground.own.engine();
        let rows = Mutex::new(listed(engine, LABEL));
        thread::scope(|scope| {
            for _ in 0..SERVICES {
                scope.spawn(|| {
                    let Some(row) = rows.lock().ok().and_then(|mut rows| rows.pop()) else {
                        return;
                    };
                    let id = row["Id"].as_str().unwrap_or_default();
                    ask(engine, "DELETE", &format!("/containers/{id}?force=1&v=1"), &Value::Null);
                });
            }
        });
        ask(engine, "DELETE", &format!("/networks/{NETWORK}"), &Value::Null);
    }
}
