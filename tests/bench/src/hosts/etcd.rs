//! etcd on hosts: three members with their ordinary settings.

use std::{collections::BTreeMap, path::Path, sync::OnceLock, time::Duration};

use siso_tests::{PATIENT, hosts::Hosts, wait_until};
use tokio::{runtime::Runtime, time::timeout};
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::failover::{MEMBERS, Store};
use crate::load::{PutRequest, PutResponse};

const UNIT: &str = "etcd";
const CLIENTS_PORT: u16 = 2379;
const PEERS_PORT: u16 = 2380;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const STATUS_LIMIT: Duration = Duration::from_secs(1);

/// `etcdserverpb.StatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

/// `etcdserverpb.ResponseHeader`, as far as it is needed here.
#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
}

/// `etcdserverpb.StatusResponse`, as far as it is needed here.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// The members, and a client for each.
#[derive(Debug)]
pub(super) struct Etcd {
    hosts: Hosts,
    clients: OnceLock<(tokio::runtime::Handle, BTreeMap<u32, Grpc<Channel>>)>,
}

impl Etcd {
    /// Starts them.
    pub(super) fn up(program: &Path) -> Self {
        let hosts = Hosts::up(MEMBERS);
        let of = |number: u32, port| format!("http://{}:{port}", hosts.host(number).address());
        let all: Vec<_> =
            (1..=MEMBERS).map(|number| format!("m{number}={}", of(number, PEERS_PORT))).collect();
        for host in hosts.all() {
            let number = host.number();
            let flags = [
                ("--name", format!("m{number}")),
                ("--data-dir", host.on_disk(UNIT).display().to_string()),
                ("--listen-client-urls", of(number, CLIENTS_PORT)),
                ("--advertise-client-urls", of(number, CLIENTS_PORT)),
                ("--listen-peer-urls", of(number, PEERS_PORT)),
                ("--initial-advertise-peer-urls", of(number, PEERS_PORT)),
                ("--initial-cluster", all.join(",")),
                ("--logger", "zap".to_owned()),
                ("--log-level", "error".to_owned()),
            ];
            let flags: Vec<_> =
                flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
            host.install(UNIT, program, &flags);
        }
        Self { hosts, clients: OnceLock::new() }
    }

    /// Makes the clients.
    pub(super) fn connect(&self, runtime: &Runtime) {
        let _within = runtime.enter();
        let client = |number| {
            let address = format!("http://{}:{CLIENTS_PORT}", self.hosts.host(number).address());
            let endpoint = Endpoint::from_shared(address).expect("an address");
            let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy();
            (number, Grpc::new(channel))
        };
        let clients = (1..=MEMBERS).map(client).collect();
        let made = self.clients.set((runtime.handle().clone(), clients));
        assert!(made.is_ok(), "connected once");
    }

    fn client(&self, member: u32) -> Grpc<Channel> {
        self.clients.get().and_then(|(_, clients)| clients.get(&member)).expect("a client").clone()
    }

    /// Whether this member leads, when it answers and knows a leader.
    fn leads(&self, member: u32) -> Option<bool> {
        let ask = async {
            let mut client = self.client(member);
            client.ready().await.ok()?;
            let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Status");
            let codec = ProstCodec::<StatusRequest, StatusResponse>::default();
            let asked = client.unary(tonic::Request::new(StatusRequest {}), path, codec).await;
            let status = asked.ok()?.into_inner();
            let own = status.header?.member;
            (status.leader != 0).then_some(status.leader == own)
        };
        let (handle, _) = self.clients.get().expect("clients");
        handle.block_on(async { timeout(STATUS_LIMIT, ask).await.ok().flatten() })
    }
}

impl Store for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    fn unit(&self) -> &'static str {
        UNIT
    }

    fn leader(&self) -> u32 {
        wait_until("a member leads", PATIENT, || {
            let mut leads = (1..=MEMBERS).filter(|member| self.leads(*member) == Some(true));
            leads.next().ok_or_else(|| "nobody".to_owned())
        })
    }

    async fn write(&self, member: u32) -> Result<(), String> {
        let mut client = self.client(member);
        client.ready().await.map_err(|error| error.to_string())?;
        let put = PutRequest { key: b"failover".to_vec(), value: b"value".to_vec() };
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let codec = ProstCodec::<PutRequest, PutResponse>::default();
        let answer = client.unary(tonic::Request::new(put), path, codec).await;
        answer.map(drop).map_err(|status| status.to_string())
    }

    fn wait_whole(&self) {
        wait_until("every member knows the leader", PATIENT, || {
            let all: Vec<_> = (1..=MEMBERS).map(|member| self.leads(member)).collect();
            let whole = all.iter().all(Option::is_some) && all.contains(&Some(true));
            if whole { Ok(()) } else { Err(format!("{all:?}")) }
        });
    }
}
