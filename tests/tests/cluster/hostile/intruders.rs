//! Who is not a member gets nothing, and members get what is theirs. Why, the scheduler keeps to itself.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, SystemTime},
};

use model::token::Role;
use siso_tests::World;
use tonic::{Code, Status};

use super::caller::{Caller, DAY, Forger, admin, join, token};

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
    world.expect_unharmed();
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
    world.expect_unharmed();
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
    ours.expect_unharmed();
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
fn the_files_that_open_a_cluster_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::scheduler_only("modes");
    let mode = fs::metadata(&world.ctl.context).expect("the context").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A method of each service that wants a certificate.
const DOORS: [&str; 3] = ["Control/ListTasks", "Agent/Session", "Replica/Vote"];

/// How a caller fares at them.
#[derive(Debug, Clone, Copy)]
enum Fares {
    /// The connection itself is refused.
    Outside,
    /// Each door answers.
    At([Code; 3]),
}

/// In TLS 1.3 a client learns after its handshake that it was refused: its connection breaks, before
/// or while it sends its first call.
fn is_outside(refused: &Status) -> bool {
    matches!(refused.code(), Code::Unavailable | Code::Cancelled | Code::Unknown)
}

/// Whose certificate, who calls with it, how it fares, and what the log says of that.
type Row = (&'static str, Caller, Fares, &'static str);

/// Certificates of the cluster, and none: the doors decide.
fn inside(world: &World, ours: &Forger) -> Vec<Row> {
    use Code::{
        FailedPrecondition, InvalidArgument, Ok as Open, PermissionDenied as Denied,
        Unauthenticated as Unknown,
    };
    use Fares::At;
    let (_, node) = join(world, &token(world, "node"), "mini-1").expect("a member");
    let of = |role, id| ours.uri(role, id);
    let someone = Caller::nameless(world);
    let as_ = |identity| Caller::as_(&identity, world);
    vec![
        ("no certificate", someone, At([Unknown; 3]), "there was none"),
        ("a node's", as_(node), At([Denied, InvalidArgument, Denied]), "role node may not do this"),
        ("a person's", as_(admin(world)), At([Open, Denied, Denied]), "role admin may not do this"),
        (
            "a scheduler's",
            as_(ours.named(&[&of(Role::Scheduler, "1")])),
            At([Denied, Denied, FailedPrecondition]),
            "role scheduler may not do this",
        ),
        (
            "a node's that nobody knows",
            as_(ours.named(&[&of(Role::Node, "n99")])),
            At([Denied; 3]),
            "role node may not do this",
        ),
        (
            "a person's until yesterday",
            as_(ours.ended(Role::Admin, "a", DAY)),
            At([Unknown, Denied, Denied]),
            "has expired",
        ),
        (
            "a node's until yesterday",
            as_(ours.ended(Role::Node, "n1", DAY)),
            At([Denied, Unknown, Denied]),
            "role node may not do this",
        ),
        (
            "a scheduler's until yesterday",
            as_(ours.ended(Role::Scheduler, "1", DAY)),
            At([Denied, Denied, Unknown]),
            "role scheduler may not do this",
        ),
    ]
}

/// Certificates that are not the cluster's, or nobody's, or not of this time.
fn outside(world: &World, ours: &Forger) -> Vec<Row> {
    use Fares::Outside;
    let posing = Forger::posing_as(world);
    let soon = SystemTime::now() + DAY;
    let of = |role, id| ours.uri(role, id);
    let as_ = |identity| Caller::as_(&identity, world);
    vec![
        ("its own", as_(ours.self_signed(Role::Admin, "a")), Outside, "UnknownIssuer"),
        (
            "of an authority of the same name",
            as_(posing.named(&[&of(Role::Admin, "a")])),
            Outside,
            "BadSignature",
        ),
        (
            "of another cluster by the same authority",
            as_(ours.named(&["siso://other/admin/a"])),
            Outside,
            "belongs to another cluster",
        ),
        ("nobody's", as_(ours.named(&[])), Outside, "no alternative name"),
        (
            "two people's",
            as_(ours.named(&[&of(Role::Admin, "a"), &of(Role::Admin, "b")])),
            Outside,
            "several siso:// URIs",
        ),
        ("a king's", as_(ours.named(&["siso://other/king/a"])), Outside, "is not siso://"),
        (
            "a person's from tomorrow",
            as_(ours.make(&[&of(Role::Admin, "a")], (soon, soon + DAY))),
            Outside,
            "not valid yet",
        ),
        (
            "a node's until last year",
            as_(ours.ended(Role::Node, "n1", 366 * DAY)),
            Outside,
            "expired",
        ),
    ]
}

#[test]
fn a_certificate_opens_the_doors_of_its_role_and_no_other() {
    let world = World::scheduler_only("certificates");
    let ours = Forger::with_the_key_of(&world);
    let table = inside(&world, &ours).into_iter().chain(outside(&world, &ours));
    for (whose, caller, fares, kept) in table {
        let before = world.scheduler.output("stderr").len();
        for (door, method) in DOORS.iter().enumerate() {
            // That a call was passed on for somebody is believed from a scheduler only.
            let passed_on = &[("siso-caller", "admin root")][..];
            let headers = if whose == "a scheduler's" { &[] } else { passed_on };
            let answer = caller.ask(method, headers, Vec::new());
            let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
            match (fares, &answer) {
                (Fares::Outside, Err(refused)) if is_outside(refused) => {
                    let heard = refused.message();
                    assert!(!heard.contains(kept), "{whose} hears why: {heard}");
                }
                (Fares::At(codes), _) if codes[door] == code => {}
                _ => panic!("{whose} at {method}: {fares:?} is expected, {answer:?} is answered"),
            }
        }
        let said = world.scheduler.output("stderr").split_off(before);
        assert!(said.contains(kept), "{whose}: the log does not say {kept:?}: {said}");
        world.expect_unharmed();
    }
    let metrics = siso_tests::get(&world.scheduler_metrics(), "/metrics").expect("metrics").text();
    for what in ["connection", "call"] {
        let counted = format!("siso_refusals_total{{what=\"{what}\"}} ");
        assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
    }
}
