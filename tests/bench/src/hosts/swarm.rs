//! Docker Swarm on hosts: three managers, which run services as well.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use siso_tests::{
    PATIENT, TEST_IMAGE,
    hosts::{ENGINE, Hosts},
    wait_until,
};

use super::{
    docker::{ask, must},
    failover::{MEMBERS, Store},
};

const PORT: u16 = 2377;
/// The service that is looked at when a node is lost.
pub(super) const SERVICE: &str = "web";

/// Every host is in the swarm, the first three as managers.
#[derive(Debug)]
pub(super) struct Swarm {
    hosts: Hosts,
    written: AtomicU64,
    tuned: bool,
}

impl Swarm {
    /// Makes one; `heartbeat` instead of the default of 5 s, and no delay between a task's end and the
    /// next.
    pub(super) fn up(count: u32, heartbeat: Option<Duration>) -> Self {
        let hosts = Hosts::up(count);
        let at = |number| format!("{}:{PORT}", hosts.host(number).address());
        let mut spec = json!({});
        if let Some(period) = heartbeat {
            let nanoseconds = u64::try_from(period.as_nanos()).expect("a short time");
            spec = json!({"Dispatcher": {"HeartbeatPeriod": nanoseconds}});
        }
        let place = |number| {
            let address = hosts.host(number).address();
            json!({"ListenAddr": format!("0.0.0.0:{PORT}"), "AdvertiseAddr": address})
        };
        let mut init = place(1);
        init["Spec"] = spec;
        must(&hosts.host(1).engine(), "POST", "/swarm/init", &init);
        let tokens = must(&hosts.host(1).engine(), "GET", "/swarm", &Value::Null);
        for number in 2..=count {
            let role = if number <= MEMBERS { "Manager" } else { "Worker" };
            let mut join = place(number);
            join["RemoteAddrs"] = json!([at(1)]);
            join["JoinToken"] = tokens["JoinTokens"][role].clone();
            must(&hosts.host(number).engine(), "POST", "/swarm/join", &join);
        }
        Self { hosts, written: AtomicU64::new(0), tuned: heartbeat.is_some() }
    }

    /// The nodes, as a manager that answers tells them.
    fn nodes(&self) -> Result<Vec<Value>, String> {
        for number in 1..=MEMBERS {
            let engine = self.hosts.host(number).engine();
            let Ok(reply) = engine.send("GET", "/nodes", "application/json", b"") else { continue };
            if reply.status == 200 {
                let listed: Value = serde_json::from_str(&reply.text()).unwrap_or_default();
                return Ok(listed.as_array().cloned().unwrap_or_default());
            }
        }
        Err("no manager answers".to_owned())
    }

    /// Starts the service with so many replicas.
    pub(super) fn deploy(&self, replicas: usize) {
        let mut task = json!({
            "ContainerSpec": {
                "Image": TEST_IMAGE,
                "Command": ["sleep", "1000000"],
                "StopGracePeriod": 1_000_000_000_u64,
            },
        });
        if self.tuned {
            task["RestartPolicy"] = json!({"Condition": "any", "Delay": 0});
        }
        let service = json!({
            "Name": SERVICE,
            "TaskTemplate": task,
            "Mode": {"Replicated": {"Replicas": replicas}},
        });
        must(&self.hosts.host(self.leader()).engine(), "POST", "/services/create", &service);
    }

    /// Ends it.
    pub(super) fn remove(&self) {
        let path = format!("/services/{SERVICE}");
        must(&self.hosts.host(self.leader()).engine(), "DELETE", &path, &Value::Null);
    }
}

impl Store for Swarm {
    fn name(&self) -> &'static str {
        "Swarm"
    }

    fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    fn unit(&self) -> &'static str {
        ENGINE
    }

    fn leader(&self) -> u32 {
        wait_until("a manager leads", PATIENT, || {
            let nodes = self.nodes()?;
            let leads = |node: &&Value| node["ManagerStatus"]["Leader"] == true;
            let leader = nodes.iter().find(leads).ok_or("nobody")?;
            let name = leader["Description"]["Hostname"].as_str().unwrap_or_default();
            let number = name.rsplit('-').next().and_then(|number| number.parse().ok());
            number.ok_or_else(|| name.to_owned())
        })
    }

    async fn write(&self, member: u32) -> Result<(), String> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let config = json!({"Name": format!("c{number}"), "Data": "dmFsdWU="});
        ask(&self.hosts.host(member).engine(), "/configs/create", &config).await
    }

    fn wait_whole(&self) {
        let count = self.hosts.count();
        wait_until("every node is ready and every manager reachable", PATIENT + PATIENT, || {
            let nodes = self.nodes()?;
            let well = |node: &&Value| {
                let manager = &node["ManagerStatus"]["Reachability"];
                node["Status"]["State"] == "ready" && (manager.is_null() || manager == "reachable")
            };
            let ready = nodes.iter().filter(well).count();
            if u32::try_from(ready) == Ok(count) { Ok(()) } else { Err(format!("{nodes:?}")) }
        });
    }
}
