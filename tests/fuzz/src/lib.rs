//! Fuzzing with the stable toolchain and nothing else: inputs that are known are changed a little, or
//! much, and given to a reader, which must neither panic nor contradict itself.
//!
//! What a reader answers, without its numbers and quotations, is what guides it: an input with an
//! answer nobody saw before is changed further. That is quick and notices what is broken at large.
//! The paths inside are seen by the guided fuzzer, `tests/fuzz/run.sh`: it gives inputs to the same
//! readers, and every input it keeps in `corpus/TARGET.inputs` is tried here first, and every one
//! that was a finding, in `corpus/TARGET`.
//!
//! **Invariant:** without `SISO_FUZZ_SECONDS` the same inputs are tried each time.
//!
//! Start at [`Fuzz`].

pub mod archive;
mod dice;
mod mutate;
mod words;

use std::{
    collections::BTreeSet,
    env, fs, io,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

pub use dice::Dice;

/// How long each target is fuzzed; without it, [`RUNS`] inputs are tried.
const SECONDS: &str = "SISO_FUZZ_SECONDS";
/// Enough to notice what is broken at large, in a second or two.
const RUNS: u64 = 5_000;
/// Inputs that may be changed further.
const POOL_MAX: usize = 4_096;
/// Longer ones are seldom broken in ways short ones are not, and slow.
const INPUT_BYTES_MAX: usize = 16 << 10;

/// One target: where its inputs come from.
#[derive(Debug)]
pub struct Fuzz {
    name: &'static str,
    corpus: PathBuf,
    pool: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Fuzz {
    /// A target. What took a path of its own is kept in `tests/fuzz/corpus/NAME.inputs`, what made it
    /// fail once in `tests/fuzz/corpus/NAME`; both are tried first.
    ///
    /// # Panics
    ///
    /// When there is no whole archive of inputs.
    pub fn new(name: &'static str) -> Self {
        let corpus = here().join("corpus").join(name);
        let fuzz = Self { name, corpus: corpus.clone(), pool: Vec::new(), words: Vec::new() };
        let fuzz = fuzz.inputs(kept(&corpus.with_extension("inputs")));
        if corpus.exists() { fuzz.files(&corpus) } else { fuzz }
    }

    /// Begins with the files of this directory too.
    #[must_use]
    pub fn files(mut self, directory: &Path) -> Self {
        let entries = fs::read_dir(directory);
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        // In one order everywhere, or a run could not be repeated.
        paths.sort();
        self.pool.extend(paths.iter().filter(|path| path.is_file()).map(|path| {
            fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        }));
        self
    }

    /// Begins with these too.
    #[must_use]
    pub fn inputs(mut self, inputs: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.pool.extend(inputs);
        self
    }

    /// Uses the words of `tests/fuzz/words/NAME`, which no change of bits would come upon.
    #[must_use]
    pub fn words(mut self, name: &str) -> Self {
        let path = here().join("words").join(name);
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.words.extend(words::read(&text));
        self
    }

    /// Gives inputs to the reader, which answers what it made of them and panics when that is wrong.
    /// An input at which it does is kept.
    #[track_caller]
    #[allow(clippy::panic, reason = "this is how a test fails")]
    pub fn run(mut self, read: impl Fn(&[u8]) -> String) {
        assert!(!self.pool.is_empty(), "{} has nothing to begin with", self.name);
        let lasts = env::var(SECONDS).ok().map(|seconds| {
            Duration::from_secs(seconds.parse().expect("SISO_FUZZ_SECONDS is a number"))
        });
        let seed = lasts.map_or(1, |_| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            now.as_secs()
        });
        let (began, mut dice) = (Instant::now(), Dice::new(seed));
        let mut answers = BTreeSet::new();
        for number in 0..self.pool.len() {
            answers.insert(gist(&self.try_one(&read, &self.pool[number])));
        }
        let mut runs = self.pool.len() as u64;
        while lasts.map_or(runs < RUNS, |lasts| began.elapsed() < lasts) {
            let input = mutate::one(&mut dice, &self.pool, &self.words, INPUT_BYTES_MAX);
            let new = answers.insert(gist(&self.try_one(&read, &input)));
            if new && self.pool.len() < POOL_MAX {
                self.pool.push(input);
            }
            runs += 1;
        }
        // Shown by `--nocapture`; nobody to tell otherwise.
        let took = began.elapsed().as_secs();
        let (name, answers) = (self.name, answers.len());
        let _ = writeln!(
            io::stderr(),
            "{name}: {runs} inputs, {answers} different answers, {took} s, seed {seed}"
        );
    }

    #[track_caller]
    #[allow(clippy::panic, reason = "this is how a test fails")]
    fn try_one(&self, read: &impl Fn(&[u8]) -> String, input: &[u8]) -> String {
        catch_unwind(AssertUnwindSafe(|| read(input))).unwrap_or_else(|_| {
            let path = self.corpus.join(format!("{:016x}", hash(input)));
            let kept = fs::create_dir_all(&self.corpus).and_then(|()| fs::write(&path, input));
            panic!("{} failed at {} ({kept:?})", self.name, path.display());
        })
    }
}

#[allow(clippy::panic, reason = "this is how a test fails")]
fn kept(path: &Path) -> Vec<Vec<u8>> {
    let archive = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    archive::read(&archive).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An answer without what differs between inputs of one kind: numbers and quotations.
fn gist(answer: &str) -> u64 {
    let (mut quoted, mut text) = (false, Vec::new());
    for byte in answer.bytes() {
        match byte {
            b'`' | b'"' => quoted = !quoted,
            b'0'..=b'9' => {}
            _ if quoted => {}
            _ => text.push(byte),
        }
    }
    hash(&text)
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_two_changes_of_a_known_input_reach() {
        let found = catch_unwind(|| {
            Fuzz { name: "found", corpus: env::temp_dir().join("siso-fuzz-test"), ..some() }.run(
                |input| {
                    assert!(!input.ends_with(b"good]]"), "found");
                    format!("{} of {}", input.contains(&b']'), input.len())
                },
            );
        });
        assert!(found.is_err());
    }

    fn some() -> Fuzz {
        let pool = vec![b"all is good".to_vec()];
        Fuzz { name: "", corpus: PathBuf::new(), pool, words: vec![b"]".to_vec()] }
    }

    #[test]
    fn every_target_keeps_an_archive_of_inputs_and_there_is_no_other() {
        let script = fs::read_to_string(here().join("run.sh")).unwrap();
        let line = script.lines().find_map(|line| line.strip_prefix("TARGETS=(")).unwrap();
        let targets: BTreeSet<_> =
            line.trim_end_matches(')').split_whitespace().map(str::to_owned).collect();
        assert!(targets.len() > 5, "{targets:?}");
        for target in &targets {
            let inputs = kept(&here().join("corpus").join(target).with_extension("inputs"));
            assert!(inputs.iter().all(|input| input.len() <= INPUT_BYTES_MAX), "{target}");
        }
        for entry in fs::read_dir(here().join("corpus")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(targets.contains(&name), "{} is of no target", path.display());
        }
    }

    #[test]
    #[should_panic(expected = "broken.inputs: it is damaged")]
    fn a_target_with_a_damaged_archive_is_not_tried_without_it() {
        let path = env::temp_dir().join(format!("siso-fuzz-{}-broken.inputs", std::process::id()));
        let mut bytes = archive::write([b"input".to_vec()]);
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        fs::write(&path, bytes).unwrap();
        let read = catch_unwind(|| kept(&path));
        fs::remove_file(&path).unwrap();
        if let Err(cause) = read {
            std::panic::resume_unwind(cause);
        }
    }

    #[test]
    fn answers_of_one_kind_have_one_gist() {
        assert_eq!(gist("line 3: `a` is bad"), gist("line 45: `bcd` is bad"));
        assert_ne!(gist("line 3: `a` is bad"), gist("line 3: `a` is good"));
    }
}
