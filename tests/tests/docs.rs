//! What the documents claim to be tested, by the name of the test.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The documents with tables of faults and attacks.
const DOCUMENTS: [&str; 2] = ["docs/reliability.md", "docs/security.md"];
/// Where figures stand with the commits they were measured on.
const MEASURED: [&str; 3] = ["docs/performance.md", "docs/reliability.md", "tests/fuzz/spent.tsv"];
/// A table whose head has this column names a test in each of its rows.
const COLUMN: &str = "held by";
/// Names of tests are sentences: so many words at least, joined by underscores.
const WORDS: usize = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// Every function that is a test, in the sources of all packages.
fn tests(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            tests(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
                    found.extend(name.split('(').next().map(str::to_owned));
                    is_test = false;
                }
            }
        }
    }
}

/// What stands between backticks and reads like the name of a test.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let last = quoted.map(|text| text.rsplit("::").next().unwrap_or(text));
    last.filter(|text| {
        text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && text.split('_').filter(|word| !word.is_empty()).count() >= WORDS
    })
}

/// The rows of tables with that column, without their heads.
fn rows(text: &str) -> Vec<&str> {
    let (mut rows, mut within) = (Vec::new(), false);
    for line in text.lines() {
        if !line.starts_with('|') {
            within = false;
        } else if within {
            rows.push(line);
        } else {
            within = line.split('|').any(|cell| cell.trim() == COLUMN);
        }
    }
    rows.retain(|row| !row.starts_with("|--"));
    rows
}

#[test]
fn every_test_a_document_names_is_there() {
    let mut known = BTreeSet::new();
    tests(&root(), &mut known);
    assert!(known.contains("every_test_a_document_names_is_there"), "no tests were found");
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        let missing: Vec<_> =
            text.lines().flat_map(named).filter(|name| !known.contains(*name)).collect();
        assert!(missing.is_empty(), "{document} names tests that are not there: {missing:#?}");
    }
}

/// What reads like the short name of a commit: seven to nine digits of 16, of both kinds.
fn commits(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| {
        (7..=9).contains(&word.len())
            && word.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
            && word.contains(|c: char| c.is_ascii_digit())
            && word.contains(|c: char| c.is_ascii_alphabetic())
    })
}

#[test]
fn every_commit_a_figure_was_measured_on_is_one_of_this_history() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(root()).args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    // An archive of the sources, or a clone without its past, has nothing to compare with.
    if !git(&["rev-parse", "HEAD~20"]) {
        return;
    }
    let mut count = 0;
    for document in MEASURED {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        for commit in commits(&text) {
            count += 1;
            let known = git(&["merge-base", "--is-ancestor", commit, "HEAD"]);
            assert!(known, "{document} names {commit}, which is no commit of this history");
        }
    }
    assert!(count >= 5, "only {count} commits were found");
}

#[test]
fn every_row_of_faults_and_attacks_names_a_test() {
    let mut count = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        let rows = rows(&text);
        count += rows.len();
        let bare: Vec<_> = rows.into_iter().filter(|row| named(row).next().is_none()).collect();
        assert!(bare.is_empty(), "{document}: no test is named here: {bare:#?}");
    }
    assert!(count >= 20, "only {count} rows were found");
}
