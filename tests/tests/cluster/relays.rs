//! `logs`, `exec`, `port-forward` and `events`: what reaches through the scheduler into a container.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use siso_tests::{Follower, PROMPT, World, get, wait_until};

const TALKER: &str = "
name: NAME
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'for i in $$(seq 1 40); do echo line-$$i; done; echo complaint >&2; exec sleep 1000000']
    mem_limit: 16m
  quiet:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
";

#[test]
fn logs_are_read_from_their_end_by_their_content_and_as_they_come() {
    let Some(world) = World::new("logs") else { return };
    world.apply(&TALKER.replace("NAME", "talker")).expect(0);
    let logs = |arguments: &[&str]| {
        let mut line = vec!["logs", "talker/web"];
        line.extend_from_slice(arguments);
        world.ctl.run(&line).expect(0).stdout
    };
    wait_until("everything was written", PROMPT, || {
        let all = logs(&[]);
        if all.contains("line-40") && all.contains("complaint") { Ok(()) } else { Err(all) }
    });
    assert_eq!(logs(&[]).lines().count(), 41);
    let tail = logs(&["--tail", "3"]);
    assert_eq!(tail.lines().count(), 3, "{tail}");
    assert!(!tail.contains("line-1\n"), "{tail}");
    let matching = logs(&["--grep", "line-(7|8)$"]);
    assert_eq!(matching.lines().count(), 2, "{matching}");
    assert_eq!(logs(&["--since", "1h"]).lines().count(), 41);
    assert!(world.ctl.run(&["logs", "talker"]).expect(0).stdout.contains("line-40"));

    let follower = world.ctl.spawn(&["logs", "talker/web", "-f", "--tail", "1"]);
    follower.wait_for("\n");
    let container = world.container("talker", "web");
    world.engine.exec(&container, &["sh", "-c", "echo news > /proc/1/fd/1"]);
    follower.wait_for("news");
    follower.interrupt();
    assert_eq!(follower.finish().code, 130);
    world.ctl.run(&["logs", "talker/web", "--grep", "("]).expect(1);
}

/// A terminal must not be steered by what a container writes; a file gets it as it was written.
#[test]
fn escapes_in_foreign_text_are_harmless_on_a_terminal() {
    let Some(world) = World::new("escapes") else { return };
    let text = r#"
name: painter
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'printf "\\033]0;owned\\007red \\033[31mtext\\r\\n"; exec sleep 1000000']
    mem_limit: 16m
"#;
    world.apply(text).expect(0);
    wait_until("the line was written", PROMPT, || {
        let written = world.ctl.run(&["logs", "painter/web"]).expect(0).stdout;
        if written.contains("text") { Ok(()) } else { Err(written) }
    });
    let shown = world.ctl.run_on_a_terminal("logs painter/web");
    assert!(shown.contains("text"), "{shown:?}");
    assert!(!shown.contains("\u{1b}]0;") && !shown.contains('\u{7}'), "{shown:?}");
    world.expect_unharmed();
}

/// A page on a port that is not published, and what is said to another port is said back.
const PAGES: &str = "
name: pages
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'mkdir /tmp/www && head -c 3000000 /dev/zero | tr \"\\0\" y > /tmp/www/large && exec httpd -f -p 8080 -h /tmp/www']
    mem_limit: 32m
  echo:
    image: siso/test:1
    command: [nc, -ll, -p, '9000', -e, cat]
    mem_limit: 16m
";

/// How long, and how much at most, is written to a task that reads no more: all that lies between fills up before.
const STUCK: Duration = Duration::from_secs(2);
const STUCK_CHUNKS: usize = 256;

/// The address that a `port-forward` says it listens on.
fn leads(world: &World, arguments: &[&str]) -> (Follower, String) {
    let mut line = vec!["port-forward"];
    line.extend_from_slice(arguments);
    let follower = world.ctl.spawn(&line);
    let address = follower.first_line();
    (follower, address)
}

#[test]
fn a_port_of_this_machine_leads_to_a_port_of_a_task_that_nobody_published() {
    let Some(world) = World::new("forward") else { return };
    world.apply(PAGES).expect(0);
    let (forward, address) = leads(&world, &["pages/web", "0:8080"]);
    let large = wait_until("the page is served", PROMPT, || {
        let reply = get(&address, "/large").map_err(|error| error.to_string())?;
        if reply.status == 200 { Ok(reply) } else { Err(format!("{reply:?}")) }
    });
    assert_eq!(large.text().len(), 3_000_000);
    assert!(large.text().bytes().all(|byte| byte == b'y'));
    forward.interrupt();
    assert_eq!(forward.finish().code, 130);

    // What is sent is passed on, and so is that there will be no more: then `cat` ends.
    let (_forward, address) = leads(&world, &["pages/echo.1", "0:9000"]);
    wait_until_it_echoes(&address);
    let said: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    let mut connection = TcpStream::connect(&address).expect("a connection");
    let mut heard = connection.try_clone().expect("its other side");
    heard.set_read_timeout(Some(PROMPT)).expect("a bound");
    let sent = said.clone();
    let sending = thread::spawn(move || {
        connection.write_all(&sent).expect("all is taken");
        connection.shutdown(Shutdown::Write).expect("no more");
    });
    let mut back = Vec::new();
    heard.read_to_end(&mut back).expect("an answer");
    sending.join().expect("sent");
    assert!(back == said, "{} of {} bytes came back", back.len(), said.len());
    let taken = ["port-forward", "pages/web", &format!("{}:8080", port(&address))];
    world.ctl.run(&taken).expect(1).says(&["cannot listen", "0:8080"]);
    world.ctl.run(&["port-forward", "pages/wbe", "0:80"]).expect(1).says(&["web"]);
    world.ctl.run(&["port-forward", "pages/web.7", "0:80"]).expect(1).says(&["pages/web.1"]);
    world.ctl.run(&["scale", "pages/echo=0", "--yes"]).expect(0);
    world.ctl.run(&["port-forward", "pages/echo", "0:80"]).expect(1).says(&["scale pages/echo=1"]);
    world.ctl.run(&["port-forward", "pages/web", "80:0"]).expect(2).says(&["LOCAL:REMOTE"]);
}

#[test]
fn of_forwarded_connections_one_that_ends_or_is_stuck_leaves_the_others_alone() {
    let Some(world) = World::new("forwards") else { return };
    world.apply(PAGES).expect(0);
    let (_forward, address) = leads(&world, &["pages/echo", "0:9000"]);
    wait_until_it_echoes(&address);
    let mut lasting = TcpStream::connect(&address).expect("a connection");
    for _ in 0..3 {
        assert_eq!(echoed(&mut lasting, b"still").expect("an echo"), *b"still");
        let mut passing = TcpStream::connect(&address).expect("another one");
        assert_eq!(echoed(&mut passing, b"here").expect("an echo"), *b"here");
    }
    // Nor does one whose task reads no more, as much as it is sent.
    let mut stuck = TcpStream::connect(&address).expect("a third");
    assert_eq!(echoed(&mut stuck, b"first").expect("an echo"), *b"first");
    stuck.set_write_timeout(Some(STUCK)).expect("a bound");
    let chunk = vec![b'x'; 1 << 20];
    let sent = (0..STUCK_CHUNKS).take_while(|_| stuck.write_all(&chunk).is_ok()).count();
    assert!(sent < STUCK_CHUNKS, "nobody reads what comes back, and all was taken");
    assert_eq!(echoed(&mut lasting, b"there").expect("an echo"), *b"there");
}

#[test]
fn a_forwarded_connection_that_is_broken_off_does_not_look_as_if_it_had_ended() {
    let Some(mut world) = World::new("cut-forward") else { return };
    world.apply(PAGES).expect(0);
    // Nobody listens on this port.
    let (forward, address) = leads(&world, &["pages/echo", "0:9001"]);
    let mut refused = TcpStream::connect(&address).expect("a connection");
    is_broken_off(&mut refused);
    wait_until("why is said", PROMPT, || {
        let said = forward.said();
        if said.contains("no connection to port 9001 of the task") { Ok(()) } else { Err(said) }
    });

    let (_forward, address) = leads(&world, &["pages/echo", "0:9000"]);
    wait_until_it_echoes(&address);
    let mut cut = TcpStream::connect(&address).expect("a connection");
    assert_eq!(echoed(&mut cut, b"here").expect("an echo"), *b"here");
    world.agent.kill9();
    is_broken_off(&mut cut);
    world.agent.start();
    wait_until_it_echoes(&address);
}

#[track_caller]
fn is_broken_off(connection: &mut TcpStream) {
    connection.set_read_timeout(Some(PROMPT)).expect("a bound");
    let end = connection.read(&mut [0; 1]).expect_err("it ended well");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

/// The task may listen a little after it runs.
#[track_caller]
fn wait_until_it_echoes(address: &str) {
    wait_until("it listens", PROMPT, || {
        let mut connection = TcpStream::connect(address).map_err(|error| error.to_string())?;
        echoed(&mut connection, b"yes").map(drop).map_err(|error| error.to_string())
    });
}

/// What comes back of what is said.
fn echoed<const N: usize>(connection: &mut TcpStream, said: &[u8; N]) -> io::Result<[u8; N]> {
    connection.set_read_timeout(Some(PROMPT))?;
    connection.write_all(said)?;
    let mut heard = [0; N];
    connection.read_exact(&mut heard)?;
    Ok(heard)
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(_, port)| port)
}

#[test]
fn exec_runs_in_the_container_with_its_exit_code_and_its_input() {
    let Some(world) = World::new("exec") else { return };
    world.apply(&TALKER.replace("NAME", "worker")).expect(0);
    let exec = |command: &[&str], input: &[u8]| {
        let mut line = vec!["exec", "worker/quiet", "--"];
        line.extend_from_slice(command);
        world.ctl.run_with_input(&line, input)
    };
    let answer = exec(&["sh", "-c", "echo out; echo err >&2"], b"").expect(0);
    assert_eq!(answer.stdout, "out\n");
    assert!(answer.stderr.contains("err"), "{answer}");
    let _ = exec(&["sh", "-c", "exit 7"], b"").expect(7);
    let counted = exec(&["wc", "-c"], &vec![b'x'; 200_000]).expect(0);
    assert_eq!(counted.stdout.trim(), "200000");
    let _ = world.ctl.run(&["exec", "worker/nobody", "--", "true"]).expect(1);
}

#[test]
fn events_tell_what_happened_in_order_and_as_it_comes() {
    let Some(world) = World::new("events") else { return };
    let follower = world.ctl.spawn(&["-o", "json", "events", "-f"]);
    world.apply(&TALKER.replace("NAME", "newsworthy")).expect(0);
    follower.wait_for("newsworthy");
    let events = world.events();
    let revisions: Vec<_> = events.iter().map(|event| event["revision"].as_u64()).collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    let about = |service: &str| {
        events.iter().any(|event| event["stack"] == "newsworthy" && event["service"] == service)
    };
    assert!(about("web") && about("quiet"), "{events:#?}");
    for event in &events {
        assert!(event["message"].as_str().is_some_and(|text| !text.is_empty()), "{event:#}");
    }
}
