//! `/healthz` and `/metrics` of both processes: plain HTTP, for supervisors and Prometheus.
//!
//! **Invariant:** nothing is changed here, whoever asks; whoever stalls loses its place within
//! `ANSWER_TIMEOUT`; and no page in somebody's browser reads it under a name of its own.

use std::{convert::Infallible, future::Future, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HOST, HeaderValue},
    http::uri::Authority,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Prometheus' text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Connections at one time: a collector, a supervisor, a curious person, and room.
const CONNECTIONS_MAX: usize = 16;
/// From the connection to the end of the request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// From the connection to the end of the answer. Each request has a connection of its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers larger than this are not from a collector.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// After an accept failed for want of files or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Ends of names that nobody can register (RFC 6761, RFC 6762, RFC 8375, and ICANN's `internal`).
const NOBODYS_DOMAINS: [&str; 4] = [".localhost", ".local", ".home.arpa", ".internal"];

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Whether it is well: 200, or 503.
    pub well: bool,
    /// The text.
    pub text: String,
}

/// Answers `GET` and `HEAD` of the paths `page` knows, until `stop`. `names` are those the machine has
/// beside its addresses.
pub async fn serve<P>(
    listener: TcpListener,
    names: Vec<String>,
    page: P,
    stop: impl Future<Output = ()>,
) where
    P: Fn(&str) -> Option<Page> + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let site = Arc::new((names, page));
    let mut open = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        // Without a place nobody is accepted: the rest waits in the system's backlog.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            // The connections end as their set is dropped.
            () = &mut stop => return,
            Some(_) = open.join_next() => {}
            (place, accepted) = accepted => match accepted {
                Ok((tcp, _)) => {
                    let site = Arc::clone(&site);
                    open.spawn(async move {
                        // Whoever is late or leaves early is not answered.
                        let _ = timeout(ANSWER_TIMEOUT, answer(tcp, site)).await;
                        drop(place);
                    });
                }
                Err(_) => sleep(ACCEPT_RETRY).await,
            },
        }
    }
}

async fn answer<P>(tcp: TcpStream, site: Arc<(Vec<String>, P)>) -> hyper::Result<()>
where
    P: Fn(&str) -> Option<Page> + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (names, page) = &*site;
        let (status, text) = respond(&request, names, page);
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, TEXT);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(tcp), service)
        .await
}

fn respond<B>(
    request: &Request<B>,
    names: &[String],
    page: impl Fn(&str) -> Option<Page>,
) -> (StatusCode, String) {
    let uri = request.uri();
    let headers = request.headers().get_all(HOST).iter();
    let asked = headers.map(|host| host.to_str().unwrap_or_default());
    // The first line may hold a whole address (RFC 9112 §3.2.2).
    let mut hosts = asked.chain(uri.authority().map(Authority::as_str));
    if !hosts.all(|host| is_own(host, names)) {
        let text = "this machine is not known here by that name: ask by its address\n";
        return (StatusCode::MISDIRECTED_REQUEST, text.to_owned());
    }
    match page(uri.path()) {
        None => (StatusCode::NOT_FOUND, "here are /healthz and /metrics\n".to_owned()),
        Some(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, String::new())
        }
        Some(Page { well: true, text }) => (StatusCode::OK, text),
        Some(Page { well: false, text }) => (StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

/// Whether whoever asked meant this machine: by an address, or by a name that a page of somebody else
/// cannot have. A browser that was led here by another name (DNS rebinding) names that.
fn is_own(host: &str, names: &[String]) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_one =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let nobodys = !name.contains('.') || NOBODYS_DOMAINS.iter().any(|end| name.ends_with(end));
    let own = name.parse::<IpAddr>().is_ok()
        || nobodys && !name.is_empty()
        || names.iter().any(|own| own.eq_ignore_ascii_case(&name));
    port_is_one && own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_asked_by_its_addresses_and_names_only() {
        let names = ["mini-1.tail.net".to_owned()];
        for (host, own) in [
            ("127.0.0.1:7480", true),
            ("100.64.0.1", true),
            ("[::1]:7480", true),
            ("[fd7a:115c::1]", true),
            ("localhost:7480", true),
            ("mini-1", true),
            ("Mini-1.Tail.net:7480", true),
            ("mini-1.local.", true),
            ("evil.example", false),
            ("evil.example:7480", false),
            ("mini-1.tail.net.evil.example", false),
            ("evillocal.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:7480@evil.example", false),
            ("[::1", false),
            ("", false),
            (":7480", false),
        ] {
            assert_eq!(is_own(host, &names), own, "{host}");
        }
    }

    #[test]
    fn only_reading_is_answered_and_only_where_something_is() {
        let page = |path: &str| {
            let well = path == "/metrics";
            (well || path == "/healthz").then(|| Page { well, text: path.to_owned() })
        };
        for (method, uri, host, expected) in [
            ("GET", "/metrics", Some("127.0.0.1"), 200),
            ("HEAD", "/metrics", None, 200),
            ("GET", "/healthz", Some("127.0.0.1"), 503),
            ("GET", "/metrics?x=/healthz", Some("127.0.0.1"), 200),
            ("GET", "/metrics/", Some("127.0.0.1"), 404),
            ("GET", "/", Some("127.0.0.1"), 404),
            ("GET", "/metrics", Some("evil.example"), 421),
            ("GET", "http://evil.example/metrics", Some("127.0.0.1"), 421),
            ("POST", "/metrics", Some("evil.example"), 421),
            ("POST", "/metrics", Some("127.0.0.1"), 405),
            ("DELETE", "/healthz", Some("127.0.0.1"), 405),
        ] {
            let mut request = Request::builder().method(method).uri(uri);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let (status, _) = respond(&request.body(()).unwrap(), &[], page);
            assert_eq!(status, expected, "{method} {uri} of {host:?}");
        }
    }
}
