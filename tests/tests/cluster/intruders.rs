//! Who is not a member gets nothing.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use siso_tests::{Daemon, World};

/// Longer than a server may keep a stranger waiting.
const SILENCE: Duration = Duration::from_secs(30);

#[test]
fn plain_text_gets_no_answer() {
    let world = World::scheduler_only("plain-text");
    let mut stream = TcpStream::connect(world.endpoint()).expect("a connection");
    stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("written");
    let mut answer = Vec::new();
    // A reset is as good an end as an orderly one.
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}

/// A greeting of TLS 1.2: a cipher suite of that version, and no word of a later one.
fn hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[u8] = &[
        0x00, 0x0a, 0, 4, 0, 2, 0x00, 0x17, // groups: secp256r1
        0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03, // signatures: ECDSA with SHA-256
    ];
    let mut hello = vec![0x03, 0x03];
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 2, 0xc0, 0x2b]); // ECDHE, ECDSA, AES 128 GCM
    hello.extend([1, 0]); // no compression
    hello.extend([0, u8::try_from(extensions.len()).expect("few")]);
    hello.extend(extensions);
    let mut record = vec![0x16, 0x03, 0x01, 0, u8::try_from(hello.len() + 4).expect("short")];
    record.extend([1, 0, 0, u8::try_from(hello.len()).expect("short")]);
    record.extend(hello);
    record
}

#[test]
fn tls_below_1_3_is_refused() {
    let world = World::scheduler_only("old-tls");
    let mut stream = TcpStream::connect(world.endpoint()).expect("a connection");
    stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
    stream.write_all(&hello_of_tls_1_2()).expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    // A fatal alert: protocol_version (RFC 8446, section 6.2).
    assert_eq!(answer.first(), Some(&0x15), "{answer:02x?}");
    assert_eq!(answer.get(5..7), Some(&[2, 70][..]), "{answer:02x?}");
}

#[test]
fn a_certificate_of_another_cluster_opens_nothing() {
    let ours = World::scheduler_only("ours");
    let theirs = World::scheduler_only("theirs");
    let read = |world: &World| fs::read_to_string(&world.ctl.context).expect("a context");
    // Our authority and endpoint, their certificate and key.
    let (our, their) = (read(&ours), read(&theirs));
    let parts = [
        section(&our, "cluster"),
        section(&our, "endpoints"),
        section(&our, "authorities"),
        section(&their, "certificate"),
        section(&their, "key"),
    ];
    let forged = ours.write("forged.yaml", &parts.concat());
    let check = |context: &str| {
        let answer = ours.ctl.with_context(context).run(&["-o", "json", "ps"]);
        assert!(answer.code == 3 || answer.code == 4, "{answer}");
        assert!(answer.stdout.trim().is_empty(), "{answer}");
    };
    check(&forged);
    // Their whole identity against our endpoint: the client itself must turn away.
    let parts = [section(&their, "cluster"), section(&our, "endpoints")];
    let rest = ["authorities", "certificate", "key"].map(|key| section(&their, key));
    check(&ours.write("misled.yaml", &(parts.concat() + &rest.concat())));
}

/// One top-level key of a context file with everything below it.
fn section(text: &str, key: &str) -> String {
    let mut inside = false;
    let belongs = |line: &&str| {
        if !line.starts_with([' ', '-']) && !line.is_empty() {
            inside = line.starts_with(&format!("{key}:"));
        }
        inside
    };
    let lines: Vec<_> = text.lines().filter(belongs).collect();
    assert!(!lines.is_empty(), "no {key} in {text}");
    lines.join("\n") + "\n"
}

#[test]
fn a_token_works_once_and_only_unchanged() {
    let Some(world) = World::new("tokens") else { return };
    let used = fs::read_to_string(world.path("agent.token")).expect("the token");
    let fresh = world.ctl.run(&["token", "create", "--role", "node"]).expect(0).stdout;
    let scheduler = world.ctl.run(&["token", "create", "--role", "scheduler"]).expect(0).stdout;
    let mut changed = fresh.trim().to_owned();
    let last = changed.pop().expect("a token");
    changed.push(if last == 'a' { 'b' } else { 'a' });
    for (what, token) in [("used", &used), ("changed", &changed), ("of-a-scheduler", &scheduler)] {
        let file = world.write(&format!("{what}.token"), token);
        let mut arguments = world.agent_arguments(what, &file);
        rename(&mut arguments, what);
        let mut agent =
            Daemon::new(what, world.agent.program().to_owned(), arguments, &world.path(""));
        agent.start();
        let status = agent.wait_ended();
        assert!(!status.success(), "{what}: {}", agent.story());
        let said = agent.output("stderr") + &agent.output("stdout");
        assert!(said.contains("token"), "{what}: {said}");
        let secret = token.trim().rsplit('.').next().expect("a secret");
        assert!(!said.contains(secret), "{what}: the secret stands in the log");
    }
    assert_eq!(world.ctl.json(&["node", "ls"]).as_array().map(Vec::len), Some(1));
}

/// Names are unique among nodes: a refusal must be the token's.
fn rename(arguments: &mut [String], name: &str) {
    let flag = arguments.iter().position(|argument| argument == "--name").expect("--name");
    name.clone_into(&mut arguments[flag + 1]);
}

#[test]
fn the_files_that_open_a_cluster_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::scheduler_only("modes");
    let mode = fs::metadata(&world.ctl.context).expect("the context").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
