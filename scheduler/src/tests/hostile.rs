//! Messages that no client of ours would send: whatever the bytes are, the answer is a status that
//! blames the caller, and everybody else is served.

use bytes::{Buf as _, BufMut as _, Bytes};
use proto::transport;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

use super::{
    agent::Agent,
    world::{CONNECT, World, admin_identity, channel},
};
use crate::api::MESSAGE_BYTES_MAX;

/// What people, agents and those who join may call.
const INTERFACES: [&str; 2] = [
    include_str!("../../../proto/v1/control.proto"),
    include_str!("../../../proto/v1/agent.proto"),
];
/// What is asked with many messages. Within a stream it is the library that answers bytes that are no
/// message, as gRPC has it, or nobody does, and the stream ends.
const STREAMS: &[&str] = &["Control/Exec", "Control/PortForward", "Agent/Session", "Agent/Relay"];
const RANDOM_MESSAGES: usize = 20;

/// `Service/Method` of all that the interfaces name.
fn methods() -> Vec<String> {
    let mut service = "";
    let mut methods = Vec::new();
    for line in INTERFACES.iter().flat_map(|text| text.lines()).map(str::trim) {
        if let Some(name) = line.strip_prefix("service ") {
            service = name.trim_end_matches(" {");
        } else if let Some(call) = line.strip_prefix("rpc ") {
            let name = call.split('(').next().unwrap_or_default();
            methods.push(format!("{service}/{name}"));
        }
    }
    methods
}

/// Bytes as they are, in both directions.
#[derive(Debug, Default, Clone, Copy)]
struct Raw;

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

/// Sends one message to a method and reads the first answer.
async fn ask(channel: &Channel, method: &str, message: Bytes) -> Result<Bytes, Status> {
    ask_with(channel, method, Request::new(message)).await
}

async fn ask_with(
    channel: &Channel,
    method: &str,
    request: Request<Bytes>,
) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(format!("/siso.v1.{method}")).unwrap();
    // Nothing follows the message; a method that wants more hears the end.
    let mut answer = client.server_streaming(request, path, Raw).await?.into_inner();
    answer.message().await.map(Option::unwrap_or_default)
}

fn random(seed: u64) -> Bytes {
    let mut rng = StdRng::seed_from_u64(seed);
    let length = rng.random_range(1..200);
    (0..length).map(|_| rng.random::<u8>()).collect::<Vec<_>>().into()
}

/// Field 1 in itself, so many times.
fn nested(depth: usize) -> Bytes {
    let mut message = Vec::new();
    for _ in 0..depth {
        let mut outer = vec![0x0a];
        let mut length = message.len();
        while length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.append(&mut message);
        message = outer;
    }
    message.into()
}

/// The caller is to blame, in whatever way; or it was a message after all, or the end of a stream.
#[track_caller]
fn is_the_callers_mistake(what: &str, answer: &Result<Bytes, Status>) {
    let Err(status) = answer else { return };
    let code = status.code();
    let not_decoded = status.message().starts_with("failed to decode Protobuf message");
    let fine = matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Ok
    ) || (code == Code::Internal && not_decoded);
    assert!(fine, "{what}: {code:?} {}", status.message());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_message_are_the_callers_mistake_and_harm_nobody() {
    let mut world = World::new().await;
    let agent = Agent::join(&mut world, "mini-1").await;
    let people = channel(&world.handle, &admin_identity(world.directory.path()));
    let node = channel(&world.handle, &agent.identity);
    let authority = world.token().await.authority;
    let stranger = transport::enrol_channel(&world.handle.advertised, authority, CONNECT).await;
    let stranger = stranger.unwrap();
    let methods = methods();
    for service in ["Control", "Agent", "Enrol"] {
        assert!(methods.iter().any(|method| method.starts_with(service)), "{service}");
    }
    for method in methods {
        let channel = match method.split('/').next() {
            Some("Agent") => &node,
            Some("Enrol") => &stranger,
            _ => &people,
        };
        for (what, message) in [
            ("an endless number", Bytes::from_static(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff])),
            ("a length past the end", Bytes::from_static(&[0x0a, 0x7f, 0x01])),
            ("no wire type", Bytes::from_static(&[0x0f])),
            ("field 0", Bytes::from_static(&[0x02, 0x00])),
        ] {
            let answer = ask(channel, &method, message).await;
            if STREAMS.contains(&method.as_str()) {
                is_the_callers_mistake(&format!("{method}, {what}"), &answer);
            } else {
                let status = answer.expect_err("an error");
                assert_eq!(status.code(), Code::InvalidArgument, "{method}, {what}: {status:?}");
            }
        }
        for depth in [1, 50, 1000, 100_000] {
            let answer = ask(channel, &method, nested(depth)).await;
            is_the_callers_mistake(&format!("{method}, {depth} deep"), &answer);
        }
        for seed in 0..RANDOM_MESSAGES as u64 {
            let answer = ask(channel, &method, random(seed)).await;
            is_the_callers_mistake(&format!("{method}, random {seed}"), &answer);
        }
    }
    assert!(world.tasks().await.is_empty());
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_too_large_or_compressed_is_refused_unread() {
    let mut world = World::new().await;
    let people = channel(&world.handle, &admin_identity(world.directory.path()));
    let large = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
    let refused = ask(&people, "Control/Apply", large).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    for encoding in ["gzip", "deflate", "zstd", "a bomb"] {
        let mut request = Request::new(Bytes::from_static(&[0x1f, 0x8b, 8, 0]));
        request.metadata_mut().insert("grpc-encoding", encoding.parse().unwrap());
        let refused = ask_with(&people, "Control/Apply", request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{encoding}: {refused:?}");
    }
    assert!(world.tasks().await.is_empty());
    world.handle.stop().await;
}
