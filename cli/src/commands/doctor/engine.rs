//! The container engine of this machine, asked two questions of its HTTP interface.

use std::{path::PathBuf, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::Finding;

/// How long the engine may take to answer: it is on this machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer read; they are a few kilobytes.
const MAX_ANSWER: usize = 1 << 20;
/// The oldest engine this is tried with.
const OLDEST_MAJOR: u32 = 20;

/// What the engine says of itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EngineInfo {
    /// Memory of the machine, or the virtual machine, it runs in.
    pub(super) mem_total: u64,
    /// Where it keeps images and volumes, on that machine.
    pub(super) docker_root_dir: String,
    memory_limit: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineVersion {
    version: String,
}

/// Asks the engine; with what it says of itself when it answers.
pub(super) async fn examine(named: Option<&str>) -> (Vec<Finding>, Option<EngineInfo>) {
    let endpoint = named.map_or_else(usual_endpoint, str::to_owned);
    match questions(&endpoint).await {
        Ok((version, info)) => {
            (vec![judge(&endpoint, &version.version), judge_limits(&info)], Some(info))
        }
        Err(why) => {
            let finding =
                Finding::fail("engine", format!("no container engine at {endpoint}: {why}"));
            (vec![finding.fix(start_it(&why))], None)
        }
    }
}

fn judge(endpoint: &str, version: &str) -> Finding {
    let detail = format!("docker {version} at {endpoint}");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST_MAJOR) {
        return Finding::warn("engine", format!("{detail} is old"))
            .fix(format!("install Docker Engine {OLDEST_MAJOR}.10 or later"));
    }
    Finding::ok("engine", detail)
}

fn judge_limits(info: &EngineInfo) -> Finding {
    if info.memory_limit {
        return Finding::ok("memory limits", "the engine enforces them");
    }
    Finding::fail("memory limits", "the engine cannot limit the memory of containers")
        .fix("boot with `cgroup_enable=memory` (on Raspberry Pi and some Debian kernels it is off)")
}

fn start_it(why: &str) -> &'static str {
    if why.contains("ermission denied") {
        return "join the engine's group: `sudo usermod -aG docker $USER`, then log in again";
    }
    if cfg!(target_os = "macos") {
        "start it: `colima start --cpu 8 --memory 14 --disk 100`"
    } else {
        "install or start it: `sudo apt-get install docker.io`, `sudo systemctl start docker`"
    }
}

/// The first socket there is of those engines usually have.
fn usual_endpoint() -> String {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let usual = PathBuf::from("/var/run/docker.sock");
    let sockets = [
        usual.clone(),
        home.join(".colima/default/docker.sock"),
        home.join(".docker/run/docker.sock"),
    ];
    let found = sockets.into_iter().find(|socket| socket.exists()).unwrap_or(usual);
    format!("unix://{}", found.display())
}

async fn questions(endpoint: &str) -> Result<(EngineVersion, EngineInfo), String> {
    let both =
        async { Ok((question(endpoint, "/version").await?, question(endpoint, "/info").await?)) };
    timeout(ANSWER_TIMEOUT, both)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
}

async fn question<A: DeserializeOwned>(endpoint: &str, path: &str) -> Result<A, String> {
    let words = |error: std::io::Error| error.to_string();
    let body = if let Some(socket) = endpoint.strip_prefix("unix://") {
        get(UnixStream::connect(socket).await.map_err(words)?, path).await?
    } else if let Some(address) = endpoint.strip_prefix("tcp://") {
        get(TcpStream::connect(address).await.map_err(words)?, path).await?
    } else {
        return Err("only unix:// and tcp:// can be checked".to_owned());
    };
    serde_json::from_slice(&body)
        .map_err(|_| "its answer is not that of a container engine".to_owned())
}

/// One HTTP answer's body.
pub(super) async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
) -> Result<Bytes, String> {
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let driven = tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(words)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    driven.abort();
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    if status.is_success() { Ok(body) } else { Err(format!("it answered {status}")) }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
    };

    use super::*;
    use crate::commands::doctor::Verdict;

    async fn answer(listener: &UnixListener, body: &str) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn an_engine_is_asked_for_its_version_and_memory() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let endpoint = format!("unix://{}", socket.display());
        let serve = async {
            answer(&listener, r#"{"Version":"27.3.1","ApiVersion":"1.47"}"#).await;
            answer(
                &listener,
                r#"{"MemTotal":15000000000,"MemoryLimit":true,"DockerRootDir":"/d"}"#,
            )
            .await;
        };
        let ((findings, info), ()) = tokio::join!(examine(Some(&endpoint)), serve);
        assert_eq!(findings[0].detail, format!("docker 27.3.1 at {endpoint}"));
        assert!(findings.iter().all(|finding| finding.result == Verdict::Ok), "{findings:?}");
        assert_eq!(info.unwrap().mem_total, 15_000_000_000);
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_fails_with_a_way_to_start_it() {
        let directory = tempfile::tempdir().unwrap();
        let missing = format!("unix://{}/none.sock", directory.path().display());
        for endpoint in [missing.as_str(), "ssh://mini-1", "tcp://127.0.0.1:1"] {
            let (findings, info) = examine(Some(endpoint)).await;
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].result, Verdict::Fail);
            assert!(findings[0].fix.is_some() && info.is_none());
        }
    }

    #[test]
    fn an_old_engine_is_worth_a_warning() {
        for (version, expected) in [
            ("20.10.24", Verdict::Ok),
            ("27.3.1", Verdict::Ok),
            ("19.03.15", Verdict::Warn),
            ("dev", Verdict::Ok),
        ] {
            assert_eq!(judge("unix:///x", version).result, expected, "{version}");
        }
        assert_eq!(judge_limits(&EngineInfo::default()).result, Verdict::Fail);
    }
}
