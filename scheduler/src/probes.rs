//! `/healthz` and `/metrics`, over plain HTTP on an address of their own.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE,
    server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{dispatch::Dispatch, log::Standing, metrics::Figures};

/// Connections at one time: a collector, a supervisor, a curious person, and room.
const CONNECTIONS_MAX: usize = 16;
/// From the connection to the end of the request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers larger than this are not from a collector.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// After an accept failed for want of files or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Answers until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    dispatch: Arc<Dispatch>,
    figures: Arc<Figures>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((tcp, _)) = listener.accept().await else {
                sleep(ACCEPT_RETRY).await;
                continue;
            };
            let (dispatch, figures) = (Arc::clone(&dispatch), Arc::clone(&figures));
            let connection = async move {
                answer(tcp, dispatch, figures).await;
                drop(place);
            };
            tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
        }
    };
    stop.run_until_cancelled(accepting).await;
}

async fn answer(tcp: TcpStream, dispatch: Arc<Dispatch>, figures: Arc<Figures>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &dispatch, &figures);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(tcp), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a probe's connection ended badly");
    }
}

fn respond(
    method: &Method,
    path: &str,
    dispatch: &Dispatch,
    figures: &Figures,
) -> Response<Full<Bytes>> {
    let standing = dispatch.log.standing().borrow().clone();
    let (status, text) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/healthz") => health(&standing),
        (&Method::GET | &Method::HEAD, "/metrics") => {
            let sessions = dispatch.sessions.count();
            (StatusCode::OK, figures.text(&dispatch.log.cluster(), &standing, sessions))
        }
        (_, "/healthz" | "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, "here are /healthz and /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let text = "text/plain; version=0.0.4; charset=utf-8";
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(text));
    response
}

/// Healthy: someone leads, and this scheduler can still write its log.
fn health(standing: &Standing) -> (StatusCode, String) {
    if let Some(reason) = &standing.failed {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("the log has stopped: {reason}\n"));
    }
    match standing.leader {
        Some(_) => (StatusCode::OK, "ok\n".to_owned()),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no leader is known\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_healthy_with_a_leader_and_a_log() {
        let check = |leader, failed: Option<&str>, expected: StatusCode, says: &str| {
            let failed = failed.map(str::to_owned);
            let (status, text) = health(&Standing { leader, failed, ..Standing::default() });
            assert_eq!(status, expected);
            assert!(text.contains(says), "{text}");
        };
        check(Some(1), None, StatusCode::OK, "ok");
        check(None, None, StatusCode::SERVICE_UNAVAILABLE, "no leader");
        check(Some(1), Some("disk"), StatusCode::SERVICE_UNAVAILABLE, "disk");
    }
}
