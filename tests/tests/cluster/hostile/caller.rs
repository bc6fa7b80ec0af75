//! Whoever speaks the cluster's own language as no program of ours does: under any name, to any
//! method, with any bytes.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use bytes::{Buf as _, BufMut as _, Bytes};
use model::token::{Hex, JoinToken, Role};
use proto::{
    transport::{self, Identity},
    v1::{JoinReply, JoinRequest, enrol_client::EnrolClient},
};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use siso_tests::World;
use tokio::runtime::Runtime;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::{MetadataKey, MetadataValue},
    transport::Channel,
};

const CONNECT: Duration = Duration::from_secs(10);
pub(super) const DAY: Duration = Duration::from_hours(24);

/// Bytes as they are, in both directions.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, read: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(read.copy_to_bytes(read.remaining())))
    }
}

/// A connection to a scheduler, made at its first call.
pub(super) struct Caller {
    pub(super) runtime: Runtime,
    pub(super) channel: Channel,
}

pub(super) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
}

impl Caller {
    /// Under this name.
    #[track_caller]
    pub(super) fn as_(identity: &Identity, world: &World) -> Self {
        let runtime = runtime();
        let inside = runtime.enter();
        let channel = Self::channel_of(identity, world);
        drop(inside);
        Self { runtime, channel }
    }

    /// The same, for somebody within a runtime.
    #[track_caller]
    pub(super) fn channel_of(identity: &Identity, world: &World) -> Channel {
        transport::channel(&[world.endpoint()], identity, CONNECT).expect("a name")
    }

    /// Under none.
    #[track_caller]
    pub(super) fn nameless(world: &World) -> Self {
        let authority = token(world, "node").authority;
        let runtime = runtime();
        let endpoint = world.endpoint();
        let open = transport::enrol_channel(&endpoint, authority, CONNECT);
        let channel = runtime.block_on(open).expect("a connection");
        Self { runtime, channel }
    }

    /// Sends one message, with these headers, and waits for the first answer.
    pub(super) fn ask(
        &self,
        method: &str,
        headers: &[(&'static str, &'static str)],
        message: impl Into<Bytes>,
    ) -> Result<Bytes, Status> {
        let mut request = Request::new(message.into());
        for (name, value) in headers {
            let name = MetadataKey::from_static(name);
            request.metadata_mut().insert(name, MetadataValue::from_static(value));
        }
        self.runtime.block_on(async {
            let mut client = Grpc::new(self.channel.clone());
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = PathAndQuery::try_from(format!("/siso.v1.{method}")).expect("a path");
            let mut answer = client.server_streaming(request, path, Raw).await?.into_inner();
            answer.message().await.map(Option::unwrap_or_default)
        })
    }
}

/// A new join token.
#[track_caller]
pub(super) fn token(world: &World, role: &str) -> JoinToken {
    let made = world.ctl.run(&["token", "create", "--role", role]).expect(0);
    made.stdout.trim().parse().expect("a token")
}

/// The person the cluster's context file names.
#[track_caller]
pub(super) fn admin(world: &World) -> Identity {
    #[derive(serde::Deserialize)]
    struct Context {
        authorities: String,
        certificate: String,
        key: String,
    }
    let text = fs::read_to_string(&world.ctl.context).expect("the context file");
    let context: Context = serde_saphyr::from_str(&text).expect("a context");
    let Context { authorities, certificate, key } = context;
    Identity { authorities, certificate, key }
}

/// A machine that joins by hand: its reply and its name from then on.
pub(super) fn join(
    world: &World,
    token: &JoinToken,
    name: &str,
) -> Result<(JoinReply, Identity), Status> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(Vec::new()).expect("no names");
    let request = JoinRequest {
        token_secret: Hex(&token.secret).to_string(),
        token_id: token.id.raw(),
        csr: params.serialize_request(&key).expect("a request").der().to_vec(),
        name: name.to_owned(),
        labels: [("role".to_owned(), "test".to_owned())].into(),
        address: "127.0.0.1:7401".to_owned(),
    };
    let reply = runtime().block_on(async {
        let open = transport::enrol_channel(&world.endpoint(), token.authority, CONNECT).await;
        EnrolClient::new(open.expect("a connection")).join(request).await
    });
    let reply = reply?.into_inner();
    let identity = Identity {
        authorities: reply.authorities.clone(),
        certificate: reply.certificate.clone(),
        key: key.serialize_pem(),
    };
    Ok((reply, identity))
}

/// Makes certificates nobody issued, with the key of the cluster's own authority or of another.
pub(super) struct Forger {
    cluster: String,
    authorities: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Forger {
    /// Who has stolen the key of the authority.
    #[track_caller]
    pub(super) fn with_the_key_of(world: &World) -> Self {
        let pki = |file| fs::read_to_string(world.path("scheduler/pki").join(file)).expect(file);
        let key = KeyPair::from_pem(&pki("ca.key")).expect("the authority's key");
        let issuer = Issuer::from_ca_cert_pem(&pki("ca.crt"), key).expect("the authority");
        let authorities = admin(world).authorities;
        Self { cluster: world.cluster().to_owned(), authorities, issuer }
    }

    /// An authority of the same name with a key of its own.
    #[track_caller]
    pub(super) fn posing_as(world: &World) -> Self {
        let real = Self::with_the_key_of(world);
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let common = format!("siso cluster {}", real.cluster);
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
        let issuer = Issuer::new(params, KeyPair::generate().expect("a key"));
        Self { issuer, ..real }
    }

    /// What `role` and `id` are called in a certificate of this cluster.
    pub(super) fn uri(&self, role: Role, id: &str) -> String {
        transport::identity_uri(&self.cluster, role, id)
    }

    /// For thirty days, of which `ago` is the last.
    pub(super) fn ended(&self, role: Role, id: &str, ago: Duration) -> Identity {
        let end = SystemTime::now() - ago;
        self.make(&[&self.uri(role, id)], (end - 30 * DAY, end))
    }

    /// For thirty days from now.
    pub(super) fn named(&self, uris: &[&str]) -> Identity {
        let now = SystemTime::now();
        self.make(uris, (now - DAY, now + 30 * DAY))
    }

    /// Holding these names in this time.
    pub(super) fn make(&self, uris: &[&str], (from, until): (SystemTime, SystemTime)) -> Identity {
        let (params, key) = wanted(uris, (from, until));
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let authorities = self.authorities.clone();
        Identity { authorities, certificate, key: key.serialize_pem() }
    }

    /// Vouched for by itself.
    pub(super) fn self_signed(&self, role: Role, id: &str) -> Identity {
        let now = SystemTime::now();
        let (params, key) = wanted(&[&self.uri(role, id)], (now - DAY, now + 30 * DAY));
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let authorities = self.authorities.clone();
        Identity { authorities, certificate, key: key.serialize_pem() }
    }
}

fn wanted(uris: &[&str], (from, until): (SystemTime, SystemTime)) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("plain characters"));
    params.subject_alt_names = uris.iter().map(uri).collect();
    (params.not_before, params.not_after) = (from.into(), until.into());
    (params, KeyPair::generate().expect("a key"))
}
