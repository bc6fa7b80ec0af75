//! Logins at image registries, read from the file that `docker login` writes.
//!
//! It is read anew at every fetch, so that a new login counts at once. Credential helpers are programs
//! of somebody's desktop and are not asked.

use std::{collections::BTreeMap, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use thiserror::Error;

/// The registry of an image that names none, and its key in the file.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_KEY: &str = "index.docker.io";
/// The file is a handful of lines for each registry; a larger one is none.
const FILE_MAX: u64 = 1 << 20;

/// Why no login could be read. Never says what stands in the file.
#[derive(Debug, Error)]
pub(super) enum LoginError {
    #[error("the registry logins cannot be read")]
    Read(#[source] io::Error),
    #[error("the file of registry logins is larger than {FILE_MAX} bytes")]
    TooLarge,
    #[error("the registry logins are not what `docker login` writes (line {line})")]
    Malformed { line: usize },
    #[error(
        "the login for {registry} is kept by a credential helper, which the agent does not ask"
    )]
    Helper { registry: String },
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Login>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// The login for the registry of an image; `None` where the file has none.
pub(super) fn login(file: &Path, image: &str) -> Result<Option<DockerCredentials>, LoginError> {
    match std::fs::metadata(file) {
        Ok(found) if found.len() > FILE_MAX => return Err(LoginError::TooLarge),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LoginError::Read(error)),
    }
    parse(&std::fs::read(file).map_err(LoginError::Read)?, registry(image))
}

fn parse(bytes: &[u8], registry: &str) -> Result<Option<DockerCredentials>, LoginError> {
    let malformed = |error: serde_json::Error| LoginError::Malformed { line: error.line() };
    let file: File = serde_json::from_slice(bytes).map_err(malformed)?;
    let Some((key, login)) = file.auths.iter().find(|(key, _)| host(key) == host_of(registry))
    else {
        return Ok(None);
    };
    let pair = login.auth.as_deref().and_then(decode);
    if pair.is_none() && login.identitytoken.is_none() {
        let kept = file.creds_store.is_some() || file.cred_helpers.contains_key(key);
        let registry = registry.to_owned();
        return if kept { Err(LoginError::Helper { registry }) } else { Ok(None) };
    }
    let (username, password) = pair.unzip();
    Ok(Some(DockerCredentials {
        username,
        password,
        identitytoken: login.identitytoken.clone(),
        serveraddress: Some(key.clone()),
        ..DockerCredentials::default()
    }))
}

/// `user:password` in base64.
fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// The part of an image's name before the first slash, when it is a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => first,
        _ => DEFAULT_REGISTRY,
    }
}

fn host_of(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY { DEFAULT_KEY } else { registry }
}

/// Keys of the file are hosts, or addresses with a path as of old.
fn host(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = bare.split('/').next().unwrap_or_default();
    host_of(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "auths": {
            "https://index.docker.io/v1/": { "auth": "YW5uOnM6M2NyZXQ=" },
            "ghcr.io": { "auth": "Ym9iOnB3" },
            "kept.example": {},
            "token.example:5000": { "auth": "", "identitytoken": "idt" }
        },
        "credHelpers": { "kept.example": "desktop" }
    }"#;

    #[track_caller]
    fn check(image: &str, expected: Option<(&str, &str)>) {
        let found = parse(FILE.as_bytes(), registry(image)).unwrap();
        let pair = found.and_then(|login| login.username.zip(login.password));
        let expected = expected.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(pair, expected, "{image}");
    }

    #[test]
    fn the_login_is_that_of_the_images_registry() {
        check("postgres:16", Some(("ann", "s:3cret")));
        check("siso/brain-api", Some(("ann", "s:3cret")));
        check("docker.io/library/postgres", Some(("ann", "s:3cret")));
        check("ghcr.io/team/app:1", Some(("bob", "pw")));
        check("localhost:5000/app", None);
        let token = parse(FILE.as_bytes(), "token.example:5000").unwrap().unwrap();
        assert_eq!((token.identitytoken.as_deref(), token.username), (Some("idt"), None));
    }

    #[test]
    fn what_cannot_be_used_is_said_without_its_secrets() {
        let told = |bytes: &str, image| parse(bytes.as_bytes(), image).unwrap_err().to_string();
        assert!(told(FILE, "kept.example").contains("credential helper"));
        let said = told("{\n \"auths\": { \"a\": \"c2VjcmV0\" } }", "a");
        assert!(said.contains("line 2") && !said.contains("c2Vj"), "{said}");
        assert!(login(Path::new("/nonexistent/config.json"), "a").unwrap().is_none());
    }
}
