//! Fetching images: the reference as the engine wants it, progress, and what its errors mean.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use bollard::{
    Docker, auth::DockerCredentials, errors::Error, models::CreateImageInfo,
    query_parameters::CreateImageOptions,
};
use futures::{Stream, StreamExt as _};
use model::Bytes;
use tokio::time::timeout;

use super::{PullError, RuntimeError, connection::trouble};
use crate::runtime::OnProgress;

/// How long silence may last. The engine itself waits for ever.
#[derive(Debug, Clone, Copy)]
struct Silence {
    /// Until the registry has said what the image is made of. Two mirrors that answer nobody fit, which
    /// the engine tries first for 25 s each.
    first: Duration,
    /// Within a download: the engine reports every half second, but not of a layer it unpacks slowly.
    later: Duration,
}

const SILENCE: Silence = Silence { first: Duration::from_mins(1), later: Duration::from_mins(5) };

/// See [`crate::runtime::Runtime::pull`].
pub(super) async fn pull(
    docker: &Docker,
    (image, login): (&str, Option<DockerCredentials>),
    progress: &OnProgress,
) -> Result<(), PullError> {
    let (name, tag) = reference(image);
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: Some(tag.to_owned()),
        ..Default::default()
    };
    let answers = docker.create_image(Some(options), None, login);
    follow(image, answers, progress, SILENCE).await
}

/// Follows a download to its end, or until it has been silent for too long.
async fn follow(
    image: &str,
    answers: impl Stream<Item = Result<CreateImageInfo, Error>>,
    progress: &OnProgress,
    silence: Silence,
) -> Result<(), PullError> {
    let mut answers = pin!(answers);
    let mut layers = BTreeMap::new();
    let mut limit = silence.first;
    loop {
        match timeout(limit, answers.next()).await {
            Ok(Some(Ok(answer))) => {
                limit = silence.later;
                if let Some(error) = answer.error_detail.as_ref().and_then(|e| e.message.as_deref())
                {
                    return Err(classify(image, error));
                }
                let (done, total) = sum(&mut layers, answer);
                progress(done, total);
            }
            Ok(Some(Err(error))) => return Err(meaning(image, trouble(error))),
            Ok(None) => return Ok(()),
            Err(_) => {
                let message = format!(
                    "its registry was silent for {} s, and is asked again",
                    limit.as_secs()
                );
                return Err(PullError::Failed { image: image.to_owned(), message });
            }
        }
    }
}

/// Repository and tag (or digest). Without a tag the engine would fetch every one there is.
fn reference(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    // A colon before a slash belongs to the registry's port.
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// Adds a report to what is known of the layers: bytes fetched and to fetch.
fn sum(layers: &mut BTreeMap<String, (u64, u64)>, report: CreateImageInfo) -> (Bytes, Bytes) {
    let status = report.status.as_deref().unwrap_or_default();
    let detail = report.progress_detail.unwrap_or_default();
    let bytes = |amount: Option<i64>| amount.and_then(|amount| u64::try_from(amount).ok());
    if let Some(layer) = report.id {
        match (status, bytes(detail.current), bytes(detail.total)) {
            ("Downloading", Some(current), Some(total)) => {
                layers.insert(layer, (current, total));
            }
            ("Download complete" | "Pull complete", ..) => {
                if let Some((done, total)) = layers.get_mut(&layer) {
                    *done = *total;
                }
            }
            _ => {}
        }
    }
    let total = layers.values().map(|(_, total)| Bytes(*total)).sum();
    (layers.values().map(|(done, _)| Bytes(*done)).sum(), total)
}

fn meaning(image: &str, error: RuntimeError) -> PullError {
    match error {
        RuntimeError::Absent { what: message } | RuntimeError::Refused { message } => {
            classify(image, &message)
        }
        other @ (RuntimeError::Unreachable { .. }
        | RuntimeError::Jammed { .. }
        | RuntimeError::Cramped { .. }
        | RuntimeError::Stillborn { .. }
        | RuntimeError::ImageAbsent { .. }
        | RuntimeError::VolumeAbsent { .. }) => PullError::Engine(other),
    }
}

/// What the engine says of an image that is for machines of another kind: with its own store of images, and
/// with that of containerd.
const NO_VARIANT: [&str; 2] = ["no matching manifest for ", "no match for platform in manifest"];

/// The platform that is named in `no matching manifest for linux/arm64/v8 in the manifest list entries`.
fn platform(message: &str) -> String {
    let named = message.split_once(NO_VARIANT[0]).map(|(_, rest)| rest);
    let named = named.and_then(|rest| rest.split_whitespace().next());
    named.map_or_else(|| "this machine's platform".to_owned(), str::to_owned)
}

/// The engine tells these apart only by its registry's words.
fn classify(image: &str, message: &str) -> PullError {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let image = image.to_owned();
    if says(&["toomanyrequests", "Too Many Requests", "rate limit"]) {
        PullError::Limited { image }
    } else if says(&["denied", "unauthorized", "no basic auth"]) {
        PullError::Denied { image }
    } else if says(&NO_VARIANT) {
        PullError::NoVariant { image, platform: platform(message) }
    } else if says(&["manifest unknown", "not found", "does not exist", "name unknown"]) {
        PullError::NotFound { image }
    } else {
        PullError::Failed { image, message: message.trim().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn a_reference_without_a_tag_is_the_latest() {
        for (image, expected) in [
            ("redis", ("redis", "latest")),
            ("redis:7", ("redis", "7")),
            ("localhost:5000/a/b", ("localhost:5000/a/b", "latest")),
            ("localhost:5000/a:1", ("localhost:5000/a", "1")),
            ("a@sha256:00ff", ("a", "sha256:00ff")),
        ] {
            assert_eq!(reference(image), expected, "{image}");
        }
    }

    #[test]
    fn progress_is_the_sum_over_the_layers() {
        let mut layers = BTreeMap::new();
        let mut report = |id: &str, status: &str, current, total| {
            let detail = ProgressDetail { current: Some(current), total: Some(total) };
            let answer = CreateImageInfo {
                id: Some(id.to_owned()),
                status: Some(status.to_owned()),
                progress_detail: Some(detail),
                ..Default::default()
            };
            let (done, total) = sum(&mut layers, answer);
            (done.0, total.0)
        };
        assert_eq!(report("a", "Downloading", 10, 100), (10, 100));
        assert_eq!(report("b", "Downloading", 5, 50), (15, 150));
        assert_eq!(report("a", "Download complete", 0, 0), (105, 150));
        assert_eq!(report("a", "Extracting", 3, 900), (105, 150));
    }

    #[tokio::test]
    async fn silence_ends_a_download_sooner_before_its_first_word() {
        const LONG: Duration = Duration::from_hours(1);
        let report = || {
            Ok(CreateImageInfo { status: Some("Pulling from a".to_owned()), ..Default::default() })
        };
        let progress: OnProgress = Box::new(|_, _| {});
        let check = async |words: usize, silence: Silence| {
            let heard = futures::stream::iter((0..words).map(|_| report()));
            let silent = heard.chain(futures::stream::pending());
            follow("a:1", silent, &progress, silence).await.unwrap_err().to_string()
        };
        let told =
            "image a:1 could not be fetched: its registry was silent for 0 s, and is asked again";
        let now = Duration::from_millis(1);
        assert_eq!(check(0, Silence { first: now, later: LONG }).await, told);
        assert_eq!(check(2, Silence { first: LONG, later: now }).await, told);
        let whole = futures::stream::iter([report(), report()]);
        assert!(follow("a:1", whole, &progress, SILENCE).await.is_ok());
    }

    #[test]
    fn a_registrys_words_tell_what_to_do() {
        let check = |message: &str, expected: &str| {
            let said = classify("app:1", message).to_string();
            assert!(said.contains(expected), "{message}: {said}");
        };
        check("manifest for app:1 not found: manifest unknown: manifest unknown", "name and tag");
        check("pull access denied for app, repository does not exist", "denies access");
        check("toomanyrequests: You have reached your pull rate limit", "limits how often");
        check("dial tcp: lookup registry: no such host", "no such host");
        check(
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            "app:1 has no variant for linux/arm64/v8: say where it runs with `platform:",
        );
        check(
            "failed to resolve image: no match for platform in manifest: not found",
            "has no variant for this machine's platform",
        );
    }
}
