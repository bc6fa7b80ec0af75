//! Siso on hosts.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use proto::{
    transport::{Identity, channel},
    v1::{SetSchedulableRequest, control_client::ControlClient},
};
use rand::random;
use serde::Deserialize;
use siso_tests::{
    PATIENT,
    hosts::{Cluster, Hosts, SCHEDULER, Shape},
    wait_until,
};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use super::failover::{MEMBERS, Store};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Whose cordon is set and taken away.
const NODE: &str = "host-1";

/// The file `sisoctl` reads, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Context {
    authorities: String,
    certificate: String,
    key: String,
}

/// A cluster, and a client for each scheduler.
#[derive(Debug)]
pub(super) struct Siso {
    pub(super) cluster: Cluster,
    clients: OnceLock<BTreeMap<u32, ControlClient<Channel>>>,
}

impl Siso {
    /// Three schedulers, and an agent on every host.
    pub(super) fn up(hosts: u32, scheduler_flags: &[&str]) -> Self {
        let scheduler_flags = scheduler_flags.iter().map(|&flag| flag.to_owned()).collect();
        let shape = Shape { hosts, schedulers: MEMBERS, scheduler_flags, ..Shape::default() };
        let cluster = Cluster::on(Hosts::up(hosts), "bench", shape);
        Self { cluster, clients: OnceLock::new() }
    }

    /// Makes the clients.
    pub(super) fn connect(&self, runtime: &Runtime) {
        let _within = runtime.enter();
        let text = std::fs::read_to_string(&self.cluster.ctl.context).expect("the context");
        let Context { authorities, certificate, key } =
            serde_saphyr::from_str(&text).expect("a context");
        let identity = Identity { authorities, certificate, key };
        let client = |(number, endpoint): (u32, String)| {
            let channel = channel(&[endpoint], &identity, CONNECT_TIMEOUT).expect("a channel");
            (number, ControlClient::new(channel))
        };
        let clients = self.cluster.endpoints().into_iter().map(client).collect();
        assert!(self.clients.set(clients).is_ok(), "connected once");
    }
}

impl Store for Siso {
    fn name(&self) -> &'static str {
        "Siso"
    }

    fn hosts(&self) -> &Hosts {
        &self.cluster.hosts
    }

    fn unit(&self) -> &'static str {
        SCHEDULER
    }

    fn leader(&self) -> u32 {
        self.cluster.leader()
    }

    async fn write(&self, member: u32) -> Result<(), String> {
        let client = self.clients.get().and_then(|clients| clients.get(&member));
        let mut client = client.expect("a client").clone();
        let request = SetSchedulableRequest {
            request_id: random::<u128>().to_be_bytes().to_vec(),
            node: NODE.to_owned(),
            schedulable: random(),
        };
        let answer = client.set_schedulable(request).await;
        answer.map(drop).map_err(|status| status.to_string())
    }

    fn wait_whole(&self) {
        for number in 1..=MEMBERS {
            let ctl = self.cluster.ctl_of(number);
            wait_until(&format!("scheduler {number} answers"), PATIENT, || {
                let answer = ctl.run(&["status", "--timeout", "2s"]);
                if answer.code == 0 { Ok(()) } else { Err(answer.to_string()) }
            });
        }
        // One that lags is none that could lead.
        wait_until("every scheduler has applied the same", PATIENT, || {
            let applied = |number| self.cluster.figure(number, "siso_raft_applied_index");
            let all: Vec<_> = (1..=MEMBERS).map(applied).collect();
            let same = all.iter().all(|one| one.is_some() && *one == all[0]);
            if same { Ok(()) } else { Err(format!("{all:?}")) }
        });
    }
}
