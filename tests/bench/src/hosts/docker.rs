//! The engines of the hosts, asked past everything that is measured.

use std::time::Duration;

use serde_json::Value;
use siso_tests::{Engine, PATIENT, hosts::Hosts, wait_until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

const KIND: &str = "application/json";

/// A request that must succeed.
#[track_caller]
pub(super) fn must(engine: &Engine, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = engine.send(method, path, KIND, body.as_bytes());
    let reply = reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let text = reply.text();
    assert!(reply.status < 400, "{method} {path}: {} {text}", reply.status);
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// The same within a time, and without blocking; an engine that is paused takes connections and says
/// nothing.
pub(super) async fn ask(engine: &Engine, path: &str, body: &Value) -> Result<(), String> {
    let socket = engine.endpoint();
    let socket = socket.strip_prefix("unix://").ok_or("no socket")?;
    let told = |error: std::io::Error| error.to_string();
    let mut stream = UnixStream::connect(socket).await.map_err(told)?;
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {KIND}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.map_err(told)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(told)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    if status.is_some_and(|status| status < 400) { Ok(()) } else { Err(answer.into_owned()) }
}

/// Containers with this label on a host, running or not: id and whether it runs.
pub(super) fn containers(hosts: &Hosts, number: u32, label: &str) -> Vec<(String, bool)> {
    let filter = format!("%7B%22label%22%3A%5B%22{}%22%5D%7D", label.replace('=', "%3D"));
    let path = format!("/containers/json?all=1&filters={filter}");
    let listed = must(&hosts.host(number).engine(), "GET", &path, &Value::Null);
    let row = |row: &Value| {
        (row["Id"].as_str().unwrap_or_default().to_owned(), row["State"] == "running")
    };
    listed.as_array().into_iter().flatten().map(row).collect()
}

/// Waits until so many containers with this label run on these hosts together, and answers how many
/// on each.
#[track_caller]
pub(super) fn wait_running(hosts: &Hosts, on: &[u32], label: &str, count: usize) -> Vec<usize> {
    wait_until(&format!("{count} containers of {label} run"), PATIENT + PATIENT, || {
        let runs = |number: &u32| {
            containers(hosts, *number, label).iter().filter(|(_, runs)| *runs).count()
        };
        let each: Vec<usize> = on.iter().map(runs).collect();
        if each.iter().sum::<usize>() == count { Ok(each) } else { Err(format!("{each:?}")) }
    })
}

/// Between two looks at what runs.
pub(super) const GLANCE: Duration = Duration::from_millis(20);
