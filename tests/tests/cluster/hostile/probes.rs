//! The plain HTTP of `/healthz` and `/metrics`: no page in somebody's browser reads it, nothing but
//! those two is there, and nobody holds it up.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use siso_tests::{World, get};

/// Longer than a server may keep anybody waiting.
const SILENCE: Duration = Duration::from_mins(1);
/// More than there are places.
const STALLERS: usize = 40;

/// The whole answer to these bytes; empty when there was none.
fn say(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
    // It may be hung up on before it has said everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(line: &str, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\n");
    for header in headers {
        text += &[*header, "\r\n"].concat();
    }
    (text + "\r\n").into_bytes()
}

/// What is asked, in which bytes, and how the answer's status begins.
fn questions() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let local = "Host: 127.0.0.1";
    let form = "Content-Type: application/x-www-form-urlencoded";
    let long = format!("X: {}", "a".repeat(64 << 10));
    let many: Vec<String> = (0..10_000).map(|number| format!("X-{number}: a")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain([local]).collect();
    vec![
        ("as a collector", request("GET /metrics", &[local]), "200"),
        ("rebound", request("GET /metrics", &["Host: evil.example"]), "421"),
        ("rebound at a port", request("GET /metrics", &["Host: evil.example:7480"]), "421"),
        ("rebound to health", request("GET /healthz", &["Host: evil.example"]), "421"),
        ("two hosts", request("GET /metrics", &[local, "Host: evil.example"]), "421"),
        ("a whole address", request("GET http://evil.example/metrics", &[local]), "421"),
        (
            "an address that looks like one",
            request("GET /", &["Host: 127.0.0.1.evil.example"]),
            "421",
        ),
        ("a form", request("POST /metrics", &[local, form, "Content-Length: 0"]), "405"),
        (
            "a page's text",
            request(
                "POST /healthz",
                &[local, "Origin: null", "Content-Type: text/plain", "Content-Length: 0"],
            ),
            "405",
        ),
        (
            "a page's question",
            request("OPTIONS /metrics", &[local, "Origin: http://evil.example"]),
            "405",
        ),
        ("a change", request("DELETE /metrics", &[local]), "405"),
        ("a tunnel", request("CONNECT 127.0.0.1:22", &[local]), "404"),
        ("dots", request("GET /../../etc/passwd", &[local]), "404"),
        ("hidden dots", request("GET /%2e%2e/%2e%2e/etc/passwd", &[local]), "404"),
        ("dots behind a page", request("GET /metrics/../../etc/passwd", &[local]), "404"),
        ("a second slash", request("GET //etc/passwd", &[local]), "404"),
        ("an end", request("GET /metrics%00", &[local]), "404"),
        ("a script", request("GET /<script>alert(1)</script>", &[local]), "40"),
        ("a long header", request("GET /metrics", &[local, &long]), "431"),
        ("many headers", request("GET /metrics", &many), "431"),
        (
            "two lengths",
            request("POST /metrics", &[local, "Content-Length: 5", "Transfer-Encoding: chunked"]),
            "4",
        ),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), ""),
        ("TLS", vec![0x16; 600], "400"),
    ]
}

#[test]
fn only_metrics_and_health_are_read_and_only_by_a_name_of_the_machine() {
    let Some(world) = World::new("probe-attacks") else { return };
    for (whose, address) in
        [("scheduler", world.scheduler_metrics()), ("agent", world.agent_metrics())]
    {
        for (what, bytes, status) in questions() {
            let answer = say(&address, &bytes);
            let begins = format!("HTTP/1.1 {status}");
            let refused_unread = status == "431" && answer.is_empty();
            assert!(
                answer.starts_with(&begins)
                    || refused_unread
                    || (status.is_empty() && !answer.contains("200 OK")),
                "{whose}, {what}: {answer:?}"
            );
            let told = answer.contains("siso_");
            assert_eq!(told, status == "200", "{whose}, {what}: {answer}");
            let lower = answer.to_lowercase();
            assert!(
                !lower.contains("access-control-") && !lower.contains("<script"),
                "{what}: {answer}"
            );
            assert!(
                answer.is_empty() || status != "421" || lower.contains("text/plain"),
                "{what}: {answer}"
            );
        }
    }
    assert!(world.agent.output("stderr").find("panicked").is_none());
    world.expect_unharmed();
}

#[test]
fn who_stalls_loses_its_place_and_the_next_one_is_served() {
    let Some(world) = World::new("probe-stallers") else { return };
    for address in [world.scheduler_metrics(), world.agent_metrics()] {
        let stall = |number: usize| {
            let address = address.clone();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
                // Some say nothing, some a byte a second, some promise a body that never comes.
                let first: &[u8] = match number % 3 {
                    0 => b"",
                    1 => b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
                    _ => b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n",
                };
                let _ = stream.write_all(first);
                let mut talker = stream.try_clone().expect("the same connection");
                let talking = thread::spawn(move || {
                    while number % 3 == 1 && talker.write_all(b"x").is_ok() {
                        thread::sleep(Duration::from_secs(1));
                    }
                });
                let mut answer = Vec::new();
                let ended = stream.read_to_end(&mut answer);
                let open = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
                drop(stream);
                talking.join().expect("the talker");
                open
            })
        };
        let stallers: Vec<_> = (0..STALLERS).map(stall).collect();
        assert_eq!(get(&address, "/healthz").expect("an answer").status, 200);
        for staller in stallers {
            assert!(!staller.join().expect("a staller"), "one is still open");
        }
        assert_eq!(get(&address, "/metrics").expect("an answer").status, 200);
    }
    world.expect_unharmed();
}
