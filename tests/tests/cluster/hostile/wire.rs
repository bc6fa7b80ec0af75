//! What no client of ours would send over a good connection: bytes that are no message, messages that
//! are too large, and very many calls at once.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use proto::v1::{EventsRequest, control_client::ControlClient};
use siso_tests::{PATIENT, World, wait_until};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Status, codegen::Service as _, codegen::http};

use super::caller::{Caller, admin, join, token};

/// What a scheduler takes in one message.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Calls on one connection at once.
const CALLS: usize = 10_000;
/// What a scheduler serves of streams, of all callers together.
const STREAMS_MAX: usize = 256;
/// For calls beyond what a connection may have at once: they wait on this side.
const WAIT: Duration = Duration::from_secs(10);

/// Field 1 in itself, so many times.
fn nested(depth: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for _ in 0..depth {
        let mut outer = vec![0x0a];
        let mut length = message.len();
        while length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).expect("seven bits"));
        outer.append(&mut message);
        message = outer;
    }
    message
}

/// Bytes without any order, the same in every run.
fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// One method of each service that takes one message, and one that takes many.
const METHODS: [&str; 6] = [
    "Control/Apply",
    "Control/Watch",
    "Control/Exec",
    "Enrol/Join",
    "Enrol/JoinScheduler",
    "Agent/Renew",
];

#[test]
fn bytes_that_are_no_message_are_answered_as_the_callers_mistake() {
    let world = World::scheduler_only("garbled");
    let (_, node) = join(&world, &token(&world, "node"), "mini-1").expect("a member");
    let (people, nodes) = (Caller::as_(&admin(&world), &world), Caller::as_(&node, &world));
    let random = (0..20).map(|seed| ("random bytes", random(seed, 200)));
    let messages: Vec<(&str, Vec<u8>)> = [
        ("an endless number", vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a length past the end", vec![0x0a, 0x7f, 0x01]),
        ("no wire type", vec![0x0f]),
        ("field 0", vec![0x02, 0x00]),
        ("a group that never ends", vec![0x0b; 10_000]),
        ("100,000 deep", nested(100_000)),
        ("nothing at all", Vec::new()),
    ]
    .into_iter()
    .chain(random)
    .collect();
    for method in METHODS {
        let caller = if method.starts_with("Agent") { &nodes } else { &people };
        for (what, message) in &messages {
            let Err(refused) = caller.ask(method, &[], message.clone()) else {
                // Fields nobody knows are left out, so bytes without order may be an empty message.
                assert!(["nothing at all", "random bytes"].contains(what), "{method} took {what}");
                continue;
            };
            // Within a stream the library answers for itself.
            let fine = match refused.code() {
                Code::InvalidArgument | Code::NotFound | Code::PermissionDenied => true,
                Code::Internal => method == "Control/Exec",
                _ => false,
            };
            assert!(fine, "{method}, {what}: {refused:?}");
        }
    }
    assert_eq!(world.ctl.json(&["stack", "ls"]).as_array().map(Vec::len), Some(0));
    world.expect_unharmed();
}

/// One frame of gRPC: whether it is compressed, the length it claims, and its bytes.
fn frame(compressed: u8, claims: u32, bytes: &[u8]) -> Vec<u8> {
    [&[compressed][..], &claims.to_be_bytes(), bytes].concat()
}

/// Six hundred megabytes of zeros, packed.
fn bomb() -> Vec<u8> {
    let line = "head -c 629145600 /dev/zero | gzip -1";
    Command::new("sh").args(["-c", line]).output().expect("gzip").stdout
}

/// Sends these bytes as the body of a call; the status in its head or its end.
fn send(caller: &Caller, encoding: Option<&str>, body: Vec<u8>) -> Status {
    let mut request = http::Request::post("http://scheduler/siso.v1.Control/Apply")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(tonic::body::Body::new(Full::new(Bytes::from(body))));
    let mut channel = caller.channel.clone();
    caller.runtime.block_on(async {
        let ready = std::future::poll_fn(|context| channel.poll_ready(context)).await;
        ready.expect("a connection");
        let answer = channel.call(request.expect("a request")).await;
        match answer {
            Ok(answer) => Status::from_header_map(answer.headers())
                .unwrap_or_else(|| Status::unknown("the status is not in the head")),
            Err(error) => Status::unavailable(error.to_string()),
        }
    })
}

#[test]
fn frames_that_are_too_large_compressed_or_cut_off_are_refused_unread() {
    use Code::{Internal, ResourceExhausted, Unimplemented};
    let world = World::scheduler_only("frames");
    let people = Caller::as_(&admin(&world), &world);
    let (large, bomb) = (vec![0; MESSAGE_BYTES_MAX + 1], bomb());
    assert!(bomb.len() > 1000 && bomb.len() < MESSAGE_BYTES_MAX, "{} bytes", bomb.len());
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short");
    for (what, encoding, body, codes) in [
        ("one byte too many", None, frame(0, length(&large), &large), &[ResourceExhausted][..]),
        ("four gigabytes announced", None, frame(0, u32::MAX, b"x"), &[ResourceExhausted]),
        ("a bomb", Some("gzip"), frame(1, length(&bomb), &bomb), &[Unimplemented]),
        ("a bomb nobody announced", None, frame(1, length(&bomb), &bomb), &[Internal]),
        ("packed as nobody does", Some("a bomb"), frame(1, 3, b"abc"), &[Unimplemented]),
        ("neither packed nor not", None, frame(7, 3, b"abc"), &[Internal]),
        ("cut off", None, frame(0, 100, b"abc"), &[Internal, Code::InvalidArgument]),
        ("half a head", None, vec![0, 0], &[Internal, Code::InvalidArgument]),
        ("nothing", None, Vec::new(), &[Internal, Code::InvalidArgument]),
    ] {
        let refused = send(&people, encoding, body);
        assert!(codes.contains(&refused.code()), "{what}: {refused:?}");
    }
    let name: &'static str = String::leak("x".repeat(64 << 10));
    let refused = people.ask("Control/ListTasks", &[("x-long", name)], Vec::new());
    assert!(refused.is_err(), "a header of 64 KiB was taken");
    assert_eq!(world.ctl.json(&["stack", "ls"]).as_array().map(Vec::len), Some(0));
    world.expect_unharmed();
}

#[test]
fn ten_thousand_calls_on_one_connection_get_the_streams_there_are_and_give_them_back() {
    let world = World::scheduler_only("streams");
    let people = Caller::as_(&admin(&world), &world);
    let following = || {
        let mut client = ControlClient::new(people.channel.clone());
        async move { client.events(EventsRequest { follow: true, ..EventsRequest::default() }).await }
    };
    people.runtime.block_on(async {
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            let call = following();
            calls.spawn(async move { timeout(WAIT, call).await });
        }
        let (mut open, mut waited) = (Vec::new(), 0);
        while let Some(call) = calls.join_next().await {
            match call.expect("a call") {
                Ok(Ok(stream)) => open.push(stream),
                Ok(Err(refused)) => {
                    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
                }
                Err(_) => waited += 1,
            }
        }
        assert_eq!((open.len(), waited), (STREAMS_MAX, CALLS - STREAMS_MAX));
        // Of all callers together: whoever comes by another connection is told so.
        let mut other = ControlClient::new(Caller::channel_of(&admin(&world), &world));
        let refused =
            other.events(EventsRequest { follow: true, ..EventsRequest::default() }).await;
        assert_eq!(refused.expect_err("no place").code(), Code::ResourceExhausted);
        // Other people have other connections.
        world.expect_unharmed();
    });
    // Streams that are gone give their places back, to others as well.
    let again = Caller::as_(&admin(&world), &world);
    wait_until("there is a place for a stream", PATIENT, || {
        let mut client = ControlClient::new(again.channel.clone());
        let opened = again
            .runtime
            .block_on(client.events(EventsRequest { follow: true, ..EventsRequest::default() }));
        opened.map(drop).map_err(|refused| refused.to_string())
    });
    world.expect_unharmed();
}
