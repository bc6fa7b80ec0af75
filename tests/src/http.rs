//! The little HTTP that tests need: one request per connection, to a port or to a socket.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A server that is silent this long does not answer.
pub(crate) const SILENCE: Duration = Duration::from_mins(1);

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers, as sent.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `GET path` from `address`.
pub fn get(address: &str, path: &str) -> io::Result<Reply> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    exchange(stream, "GET", path, "", b"")
}

/// Sends one request and reads to the end. HTTP/1.0, so that the end of the body is the end of the
/// connection and nothing arrives in chunks.
pub(crate) fn exchange<S: Read + Write>(
    mut stream: S,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> io::Result<Reply> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other(format!("no HTTP answer to {method} {path}")))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
    Ok(Reply { status, head, body: answer.split_off(end + 4) })
}
