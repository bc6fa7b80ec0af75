//! Where schedulers are: those the agent was started with, and those it was told of since. Kept in a
//! file, so that an agent finds the others also when the one it was started with is gone for good.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::file;

/// Schedulers an agent keeps in mind; a cluster has five at most, and some may be on their way.
const LEARNED_MAX: usize = 16;
/// `HOST:PORT`: a DNS name has at most 253 characters.
const ADDRESS_CHARS_MAX: usize = 260;
const FILE: &str = "schedulers";
const FILE_BYTES_MAX: u64 = 16 << 10;

/// The schedulers an agent may ask.
#[derive(Debug)]
pub(crate) struct Schedulers {
    given: Vec<String>,
    learned: Mutex<Vec<String>>,
    path: PathBuf,
}

impl Schedulers {
    /// Those given, and those learned that a file in `directory` holds. A file that cannot be read is
    /// of no weight: those given answer, or somebody has to give others.
    pub(crate) fn load(directory: &Path, given: Vec<String>) -> Self {
        let path = directory.join(FILE);
        let held = file::read(&path, FILE_BYTES_MAX).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the schedulers known before are lost");
            None
        });
        let text =
            held.map_or_else(String::new, |held| String::from_utf8_lossy(&held).into_owned());
        let learned = plausible(text.lines().map(str::to_owned));
        Self { given, learned: Mutex::new(learned), path }
    }

    /// All of them, beginning with another one at each `turn`.
    pub(crate) fn from(&self, turn: usize) -> Vec<String> {
        let mut all = self.given.clone();
        for learned in self.learned.lock().iter() {
            if !all.contains(learned) {
                all.push(learned.clone());
            }
        }
        let count = all.len().max(1);
        all.rotate_left(turn % count);
        all
    }

    /// These are the cluster's schedulers now.
    pub(crate) fn learn(&self, told: Vec<String>) {
        let told = plausible(told.into_iter());
        let mut learned = self.learned.lock();
        if told.is_empty() || *learned == told {
            return;
        }
        if let Err(error) = file::replace(&self.path, told.join("\n").as_bytes()) {
            tracing::warn!(%error, "the cluster's schedulers could not be written down");
        }
        *learned = told;
    }
}

fn plausible(told: impl Iterator<Item = String>) -> Vec<String> {
    let plain = |address: &String| {
        !address.is_empty()
            && address.chars().count() <= ADDRESS_CHARS_MAX
            && address.chars().all(|c| !c.is_whitespace() && !c.is_control())
    };
    told.filter(plain).take(LEARNED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedulers_that_were_learned_are_known_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let open = || Schedulers::load(directory.path(), words("a:1"));
        assert_eq!(open().from(3), ["a:1"]);
        open().learn(words("a:1 b:2 c:3"));
        assert_eq!(open().from(0), ["a:1", "b:2", "c:3"]);
        assert_eq!(open().from(1), ["b:2", "c:3", "a:1"]);
        open().learn(Vec::new());
        open().learn(vec!["d:4".to_owned(), "no address".to_owned(), String::new()]);
        assert_eq!(open().from(0), ["a:1", "d:4"]);
        std::fs::write(directory.path().join(FILE), vec![b'x'; 20_000]).unwrap();
        assert_eq!(open().from(0), ["a:1"]);
    }
}
