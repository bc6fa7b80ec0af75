//! The connection to the engine: made when first needed, in a dialect both sides speak.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bollard::{
    API_DEFAULT_VERSION, BollardRequest, Docker, auth::DockerCredentials, errors::Error,
};
use thiserror::Error as ThisError;

use super::{
    QUICK, RuntimeError,
    login::{LoginError, login},
    within,
};

/// The minor version of the API (1.41) this adapter was written against: Engine 20.10's newest.
const SPOKEN: u64 = 41;
/// No version has been agreed on yet.
const UNKNOWN: u64 = 0;
/// Carries the login of a fetch.
const LOGIN_HEADER: &str = "x-registry-auth";
/// The library's own limit for an answer to begin, in seconds: far away, see `within`.
const LIBRARY_LIMIT: u64 = 24 * 60 * 60;

/// The text is not the address of an engine.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("`{0}` is not an engine's address: use unix:///PATH or tcp://HOST:PORT")]
pub struct BadEndpoint(String);

/// A Docker Engine. It need not be there yet: every call tries again.
#[derive(Clone)]
pub struct DockerEngine {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: String,
    logins: Option<PathBuf>,
    client: Mutex<Option<Docker>>,
    /// Minor version in use; shared with the request modifier.
    version: Arc<AtomicU64>,
    /// CPU cores of the machine; 0 until the engine said so.
    cores: AtomicU64,
    /// Networks are looked for and made by one task at a time: the engine allows twins.
    pub(super) networks: tokio::sync::Mutex<()>,
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine")
            .field("endpoint", &self.inner.endpoint)
            .finish_non_exhaustive()
    }
}

impl DockerEngine {
    /// The engine at `unix:///PATH` or `tcp://HOST:PORT`. Does not connect. Images are fetched with
    /// the logins in that file, as `docker login` writes it.
    pub fn new(endpoint: &str, logins: Option<PathBuf>) -> Result<Self, BadEndpoint> {
        let known = endpoint.starts_with("unix:///")
            || ["tcp://", "http://"].iter().any(|scheme| endpoint.starts_with(scheme));
        if !known {
            return Err(BadEndpoint(endpoint.to_owned()));
        }
        let inner = Inner {
            endpoint: endpoint.to_owned(),
            logins,
            client: Mutex::new(None),
            version: Arc::new(AtomicU64::new(UNKNOWN)),
            cores: AtomicU64::new(0),
            networks: tokio::sync::Mutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The login for the registry of an image.
    pub(super) fn login(&self, image: &str) -> Result<Option<DockerCredentials>, LoginError> {
        self.inner.logins.as_deref().map_or(Ok(None), |file| login(file, image))
    }

    pub(super) fn handle(&self) -> Self {
        self.clone()
    }

    pub(super) fn remember_cores(&self, cores: u64) {
        self.inner.cores.store(cores, Ordering::Relaxed);
    }

    /// CPU cores of the machine, once known.
    pub(super) fn cores(&self) -> Option<u64> {
        Some(self.inner.cores.load(Ordering::Relaxed)).filter(|cores| *cores > 0)
    }

    pub(super) async fn network_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.inner.networks.lock().await
    }

    /// A client that speaks a version the engine knows.
    pub(super) async fn client(&self) -> Result<Docker, RuntimeError> {
        let docker = self.connect()?;
        if self.inner.version.load(Ordering::Relaxed) == UNKNOWN {
            let shown = within(QUICK, docker.version()).await?;
            let newest = shown.api_version.as_deref().and_then(minor).unwrap_or(SPOKEN);
            let oldest = shown.min_api_version.as_deref().and_then(minor).unwrap_or(newest);
            let agreed = agree(oldest, newest);
            self.inner.version.store(agreed, Ordering::Relaxed);
            tracing::debug!(api = format!("1.{agreed}"), "the engine's dialect is agreed");
        }
        Ok(docker)
    }

    fn connect(&self) -> Result<Docker, RuntimeError> {
        let mut client = self.inner.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(docker) = client.as_ref() {
            return Ok(docker.clone());
        }
        let endpoint = &self.inner.endpoint;
        let docker = if endpoint.starts_with("unix://") {
            Docker::connect_with_unix(endpoint, LIBRARY_LIMIT, API_DEFAULT_VERSION)
        } else {
            Docker::connect_with_http(endpoint, LIBRARY_LIMIT, API_DEFAULT_VERSION)
        };
        let version = Arc::clone(&self.inner.version);
        let docker = docker
            .map_err(trouble)?
            .with_request_modifier(move |request| pinned(request, version.load(Ordering::Relaxed)));
        *client = Some(docker.clone());
        Ok(docker)
    }
}

/// The version closest to the one this adapter was written against.
fn agree(oldest: u64, newest: u64) -> u64 {
    SPOKEN.min(newest).max(oldest)
}

/// The minor number of `1.41`.
fn minor(version: &str) -> Option<u64> {
    version.strip_prefix("1.")?.parse().ok()
}

/// Puts the version before the path: the library sends none, and a newer engine would answer in
/// its newest dialect.
fn pinned(mut request: BollardRequest, minor: u64) -> BollardRequest {
    // The library writes logins in base64's ordinary letters, the engine reads those for addresses
    // and takes anything else for no login at all.
    if let Some(login) = request.headers_mut().get_mut(LOGIN_HEADER)
        && let Some(text) = login.to_str().ok().map(|text| text.replace('+', "-").replace('/', "_"))
        && let Ok(readable) = text.parse()
    {
        *login = readable;
        login.set_sensitive(true);
    }
    if minor == UNKNOWN {
        return request;
    }
    let whole = request.uri().to_string();
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let (authority, path) = whole.split_at(whole.len() - path);
    if let Ok(uri) = format!("{authority}/v1.{minor}{path}").parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// What an error of the library means.
pub(super) fn trouble(error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => {
            RuntimeError::Absent { what: message }
        }
        // 503: the daemon is on its way up or down.
        Error::DockerResponseServerError { status_code, message } if status_code != 503 => {
            RuntimeError::Refused { message }
        }
        Error::DockerStreamError { error } => RuntimeError::Refused { message: error },
        other => RuntimeError::Unreachable { cause: Box::new(other) },
    }
}

/// For removing: what is gone already was removed.
pub(super) fn absent_is_fine(answer: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match answer {
        Err(RuntimeError::Absent { .. }) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialect_is_the_one_closest_to_ours_that_the_engine_speaks() {
        for (oldest, newest, agreed) in [(12, 41, 41), (24, 52, 41), (44, 54, 44), (12, 40, 40)] {
            assert_eq!(agree(oldest, newest), agreed, "engine {oldest} to {newest}");
        }
    }

    #[test]
    fn an_address_names_its_scheme() {
        for good in ["unix:///var/run/docker.sock", "tcp://10.0.0.1:2375", "http://localhost:80"] {
            assert!(DockerEngine::new(good, None).is_ok(), "{good}");
        }
        for bad in ["", "/var/run/docker.sock", "unix://", "ssh://host"] {
            assert!(DockerEngine::new(bad, None).is_err(), "{bad}");
        }
    }
}
