//! etcd, one member, with its ordinary settings, and a client for it: `KV.Put` over gRPC.

use std::{
    net::TcpListener,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use siso_tests::Daemon;
use tokio::net::TcpStream;
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{Writer, tls::Keys};

/// What an entry of our own log takes for the write it is compared with.
pub(super) const VALUE_BYTES: usize = 64;
/// Generous for one member on an idle machine.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// `etcdserverpb.PutRequest`, as far as it is needed here.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`; its header is of no interest.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PutResponse {}

/// A running etcd.
#[derive(Debug)]
pub(super) struct Etcd {
    _daemon: Daemon,
    address: String,
    keys: Option<Arc<Keys>>,
}

impl Etcd {
    /// Starts one with a directory of its own below `scratch`; with keys it speaks mutual TLS only.
    pub(super) fn start(program: &Path, scratch: &Path, keys: Option<Arc<Keys>>) -> Self {
        let name = if keys.is_some() { "etcd-tls" } else { "etcd" };
        let directory = scratch.join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let (address, peers) = (free_address(), free_address());
        let scheme = if keys.is_some() { "https" } else { "http" };
        let mut arguments: Vec<String> = [
            ("--name", "bench".to_owned()),
            ("--data-dir", directory.join("data").display().to_string()),
            ("--listen-client-urls", format!("{scheme}://{address}")),
            ("--advertise-client-urls", format!("{scheme}://{address}")),
            ("--listen-peer-urls", format!("http://{peers}")),
            ("--initial-advertise-peer-urls", format!("http://{peers}")),
            ("--initial-cluster", format!("bench=http://{peers}")),
            ("--logger", "zap".to_owned()),
            ("--log-level", "error".to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        if let Some(keys) = &keys {
            arguments.extend(keys.write(&directory));
        }
        let mut daemon = Daemon::new(name, program.to_owned(), arguments, &directory);
        daemon.start();
        let began = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(began.elapsed() < STARTS_WITHIN, "etcd: {}", daemon.story());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { _daemon: daemon, address, keys }
    }

    /// Clients, each with a connection and a key of its own.
    pub(super) fn writers(&self, crowd: usize) -> Vec<Putter> {
        let connect = |number| Putter {
            grpc: Grpc::new(self.channel()),
            key: format!("bench-{number}").into_bytes(),
        };
        (0..crowd).map(connect).collect()
    }

    fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        let endpoint = endpoint.expect("an address");
        let (address, tls) = (self.address.clone(), self.keys.as_ref().map(|keys| keys.client()));
        endpoint.connect_with_connector_lazy(service_fn(move |_| {
            let (address, tls) = (address.clone(), tls.clone());
            async move {
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                let stream: Box<dyn Duplex> = match tls {
                    Some((connector, name)) => Box::new(connector.connect(name, tcp).await?),
                    None => Box::new(tcp),
                };
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        }))
    }
}

trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Duplex for T {}

/// An address nobody listens on at the moment.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}

/// One client.
#[derive(Debug)]
pub(super) struct Putter {
    grpc: Grpc<Channel>,
    key: Vec<u8>,
}

impl Writer for Putter {
    async fn write(&mut self) {
        let put = PutRequest { key: self.key.clone(), value: vec![b'v'; VALUE_BYTES] };
        self.grpc.ready().await.expect("a connection to etcd");
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let codec = ProstCodec::<PutRequest, PutResponse>::default();
        self.grpc.unary(tonic::Request::new(put), path, codec).await.expect("etcd's answer");
    }
}
