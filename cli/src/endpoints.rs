//! Where schedulers are besides those a context file names: every answer tells, and what was told is kept
//! in a file beside the context. The endpoints in the context itself are the person's and stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::context;

/// Schedulers that are kept in mind; a cluster has five as a rule.
const LEARNED_MAX: usize = 16;
/// `HOST:PORT`: a DNS name has at most 253 characters.
const ADDRESS_CHARS_MAX: usize = 260;
const FILE_BYTES_MAX: u64 = 16 << 10;

/// The endpoints of one context. Clones share what is told.
#[derive(Debug, Clone)]
pub struct Endpoints {
    given: Vec<String>,
    learned: Vec<String>,
    path: PathBuf,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    /// What the last answer said.
    schedulers: Vec<String>,
    /// What is to be told to the person at the end.
    notes: Vec<String>,
}

impl Endpoints {
    /// Those the context in `file` names, and those that were learned since.
    pub fn load(file: &Path, given: Vec<String>) -> Self {
        let path = file.with_extension("schedulers");
        let small = fs::metadata(&path).is_ok_and(|about| about.len() <= FILE_BYTES_MAX);
        let text = small.then(|| fs::read_to_string(&path).unwrap_or_default());
        let learned = plausible(text.unwrap_or_default().lines());
        Self { given, learned, path, told: Arc::default() }
    }

    /// All of them, in the order to ask them: those of the context that are still schedulers as far as is
    /// known, other schedulers, then the rest.
    pub fn all(&self) -> Vec<String> {
        let current = |endpoint: &&String| self.learned.contains(endpoint);
        let mut all: Vec<String> = self.given.iter().filter(current).cloned().collect();
        for endpoint in self.learned.iter().chain(&self.given) {
            if !all.contains(endpoint) {
                all.push(endpoint.clone());
            }
        }
        all
    }

    /// Those the person knows of.
    pub fn given(&self) -> &[String] {
        &self.given
    }

    /// An answer said that these are the schedulers now.
    pub fn hear(&self, told: &str) {
        let schedulers = plausible(told.split(','));
        if let Ok(mut held) = self.told.lock().map_err(drop)
            && !schedulers.is_empty()
        {
            held.schedulers = schedulers;
        }
    }

    /// `endpoint` answered after others had not.
    pub fn passed_over(&self, endpoint: &str, failures: &[proto::transport::TransportError]) {
        let whys: Vec<_> = failures.iter().map(ToString::to_string).collect();
        let known = if self.given.iter().any(|given| given == endpoint) {
            ""
        } else {
            ", a scheduler this context does not name and the cluster told of"
        };
        let note = format!("asked {endpoint}{known}: {}", whys.join("; "));
        if let Ok(mut held) = self.told.lock().map_err(drop)
            && held.notes.last() != Some(&note)
        {
            held.notes.push(note);
        }
    }

    /// Keeps what was told, and answers what the person should know. A file that cannot be written is no
    /// harm: the next answer tells again.
    pub fn settle(&self) -> Vec<String> {
        let Ok(mut told) = self.told.lock().map_err(drop) else { return Vec::new() };
        let schedulers = std::mem::take(&mut told.schedulers);
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        let known = if self.learned.is_empty() { &self.given } else { &self.learned };
        if !schedulers.is_empty() && sorted(known) != sorted(&schedulers) {
            let _ = context::write_private(&self.path, &(schedulers.join("\n") + "\n"));
        }
        std::mem::take(&mut told.notes)
    }
}

fn plausible<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let plain = |word: &&str| {
        let host_and_port = word.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        host_and_port
            && word.len() <= ADDRESS_CHARS_MAX
            && word.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
    };
    words.map(str::trim).filter(plain).map(str::to_owned).take(LEARNED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn schedulers_that_were_told_of_are_asked_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("home.yaml");
        let load = || Endpoints::load(&file, words("a:1 b:2"));
        assert_eq!(load().all(), ["a:1", "b:2"]);
        let endpoints = load();
        endpoints.hear("b:2,a:1");
        assert!(endpoints.settle().is_empty());
        assert!(!directory.path().join("home.schedulers").exists(), "it is no news");
        endpoints.hear("b:2, c:3,no address,d:0");
        endpoints.settle();
        assert_eq!(load().all(), ["b:2", "c:3", "a:1"], "a is none any more, and asked last");
        assert_eq!(load().given(), ["a:1", "b:2"]);
        // Back to those the context names.
        let endpoints = load();
        endpoints.hear("a:1,b:2");
        endpoints.settle();
        assert_eq!(load().all(), ["a:1", "b:2"]);
        fs::write(directory.path().join("home.schedulers"), vec![b'x'; 20_000]).unwrap();
        assert_eq!(load().all(), ["a:1", "b:2"]);
    }

    #[test]
    fn passing_over_an_endpoint_is_told_once_and_plainly() {
        let endpoints = Endpoints::load(Path::new("/nonexistent/home.yaml"), words("a:1"));
        let failure = || {
            let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            proto::transport::TransportError::Connect { endpoint: "a:1".to_owned(), cause }
        };
        for _ in 0..2 {
            endpoints.passed_over("c:3", &[failure()]);
        }
        let told = endpoints.settle();
        assert_eq!(
            told,
            [
                "asked c:3, a scheduler this context does not name and the cluster told of: cannot connect to a:1"
            ]
        );
        assert!(endpoints.settle().is_empty());
    }
}
