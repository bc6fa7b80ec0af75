//! Registries that refuse, fail, limit and lie: one service waits and says why, the others go on.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use siso_tests::{PATIENT, World, wait_until};

use crate::stacks::sleepers;

/// The first byte of a TLS greeting: engines try that first.
const HANDSHAKE: u8 = 0x16;
/// No image has it.
const DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000ff";
/// An image for machines that nobody has at home.
const ALIEN: &str = r#"{"schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
    "manifests": [{"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 500,
        "digest": "sha256:00000000000000000000000000000000000000000000000000000000000000aa",
        "platform": {"architecture": "s390x", "os": "linux"}}]}"#;
/// What is asked for, what the registry answers, and what has to be told of it.
type Image = (&'static str, &'static str, &'static str, &'static str);
const IMAGES: &[Image] = &[
    ("refused:1", "401 Unauthorized", r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#, "denies access"),
    ("forbidden:1", "403 Forbidden", r#"{"errors":[{"code":"DENIED"}]}"#, "denies access"),
    ("absent:1", "404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#, "name and tag"),
    ("limited:1", "429 Too Many Requests", r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#, "limits"),
    ("broken:1", "500 Internal Server Error", "the disk of the registry", "500"),
    ("empty:1", "200 OK", "", "unexpected end"),
    ("cut:1", "200 OK", "{\"schemaVersion\": 2, \"", "EOF"),
    ("alien:1", "200 OK", ALIEN, "has no variant for linux/"),
    ("other@DIGEST", "200 OK", r#"{"schemaVersion": 2, "layers": []}"#, "manifest"),
    // More of them than images are fetched at one time, and asked for first.
    ("a-mute:1", MUTE, "", "its registry was silent for 60 s"),
    ("b-mute:1", MUTE, "", "its registry was silent for 60 s"),
    ("c-mute:1", MUTE, "", "its registry was silent for 60 s"),
    // The engine's own words.
    ("d-deaf:1", DEAF, "", "Client.Timeout exceeded"),
];
/// Accepts, says that it is a registry, and nothing of the image.
const MUTE: &str = "mute";
/// Another one, which accepts and says nothing at all.
const DEAF: &str = "deaf";
/// Besides what each test waits for: the silence that ends a download.
const SILENCE: Duration = Duration::from_mins(1);

/// Lets this answer whoever connects until this program ends.
fn registry(answer: fn(TcpStream) -> Option<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Hears whoever connects to the end, and says nothing.
fn be_silent(mut stream: TcpStream) -> Option<()> {
    while stream.read(&mut [0; 1024]).ok()? > 0 {}
    Some(())
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    if *lines.fill_buf().ok()?.first()? == HANDSHAKE {
        return None;
    }
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if lines.read_line(&mut request).ok()? == 0 {
            return None;
        }
    }
    let name = request.split('/').nth(2)?;
    let known = IMAGES.iter().find(|(image, ..)| image.split([':', '@']).next() == Some(name));
    let (status, body) = known.map_or(("200 OK", "{}"), |(_, status, body, _)| (*status, *body));
    if status == MUTE {
        return be_silent(stream);
    }
    let list = if body.contains("manifest.list") { ".list" } else { "" };
    let kind = format!("application/vnd.docker.distribution.manifest{list}.v2+json");
    // Of one answer more is promised than is sent.
    let length = body.len() + if name == "cut" { 64 } else { 0 };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all([head.as_str(), body].concat().as_bytes()).ok()
}

fn service(image: &str) -> &str {
    image.split([':', '@']).next().expect("a name")
}

/// A stack with a service for each of these images.
fn stack(name: &str, images: &[&Image], address: SocketAddr, deaf: SocketAddr) -> String {
    let mut text = format!("name: {name}\nservices:\n");
    for (image, status, ..) in images {
        let (service, image) = (service(image), image.replace("DIGEST", DIGEST));
        let address = if *status == DEAF { deaf } else { address };
        writeln!(text, "  {service}: {{image: '{address}/{image}', mem_limit: 16m}}")
            .expect("text");
    }
    text
}

/// Of these images in a stack those that are not told of by their cause, and what is said.
#[track_caller]
fn untold<'a>(world: &World, stack: &str, images: &[&'a Image]) -> (Vec<&'a Image>, String) {
    let tasks = world.tasks(stack);
    let told = |(image, _, _, says): &Image| {
        let service = service(image);
        tasks.iter().any(|task| {
            // What waits for another machine has no node, and says why in place of an error.
            let said = ["error", "waiting_for"].map(|key| task[key].as_str().unwrap_or_default());
            let tells = |said: &str| said.contains(service) && said.contains(says);
            task["service"] == service && said.into_iter().any(tells)
        })
    };
    let untold = images.iter().filter(|image| !told(image)).copied().collect();
    (untold, format!("{tasks:#?}"))
}

/// Waits until the agent asks for more of these images than it fetches at one time.
#[track_caller]
fn wait_asked(world: &World, images: &[&Image]) {
    wait_until("they are asked for", PATIENT, || {
        let said = world.agent.output("stderr");
        let asked = |image: &&&Image| {
            said.lines().any(|line| line.contains("fetching image") && line.contains(image.0))
        };
        if images.iter().filter(asked).count() >= 2 { Ok(()) } else { Err(said) }
    });
}

#[test]
fn an_image_that_cannot_be_had_is_told_and_holds_up_nobody_else() {
    let Some(world) = World::new("registries") else { return };
    let (address, deaf) = (registry(answer), registry(be_silent));
    world.apply(&sleepers("calm", 1)).expect(0);
    let before = world.wait_running("calm", 1);
    let (silent, others): (Vec<&Image>, Vec<_>) =
        IMAGES.iter().partition(|(_, status, ..)| [MUTE, DEAF].contains(status));
    world.apply_with(&["--detach"], &stack("silent", &silent, address, deaf)).expect(0);
    wait_asked(&world, &silent);
    world.apply_with(&["--detach"], &stack("fetching", &others, address, deaf)).expect(0);
    let mute: Vec<_> = silent.iter().copied().filter(|(_, how, ..)| *how == MUTE).collect();
    wait_until("each that is answered is told of", PATIENT, || {
        let (missed, said) = untold(&world, "fetching", &others);
        let waited = untold(&world, "silent", &mute).0.len() < mute.len();
        assert!(missed.is_empty() || !waited, "{missed:?} waited for silent registries: {said}");
        if missed.is_empty() { Ok(()) } else { Err(format!("{missed:?} {said}")) }
    });
    wait_until("each is told of", SILENCE + PATIENT, || {
        let (missed, said) = untold(&world, "silent", &silent);
        if missed.is_empty() { Ok(()) } else { Err(format!("{missed:?} {said}")) }
    });
    let alien = || {
        let tasks = world.tasks("fetching");
        tasks.into_iter().find(|task| task["service"] == "alien").unwrap_or_default()
    };
    wait_until("no machine will do for it", PATIENT, || {
        let task = alien();
        let said = task["waiting_for"].as_str().unwrap_or_default();
        let waits = task["node"].is_null() && said.contains("has no variant for linux/");
        if waits { Ok(()) } else { Err(format!("{task:#}")) }
    });
    let waiting = alien();
    let why = world.ctl.json(&["explain", "fetching/alien"]).to_string();
    assert!(why.contains("take another image for alien that has a variant for linux/"), "{why}");
    let status = world.ctl.json(&["status"]);
    assert!(status["problems"].to_string().contains("fetching"), "{status:#}");
    assert!(world.running("fetching").is_empty());
    world.apply(&sleepers("later", 1)).expect(0);
    assert_eq!(world.running("calm"), before);
    assert_eq!(alien()["epoch"], waiting["epoch"], "it is not tried over and over");
    let said = world.agent.output("stderr");
    assert!(!said.contains("panicked"), "{said}");
}
