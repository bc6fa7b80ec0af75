//! What the documents claim to be tested, by the name of the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The documents with tables of faults and attacks, and how many rows of those each has at least.
const DOCUMENTS: [(&str, usize); 2] = [("docs/reliability.md", 35), ("docs/security.md", 30)];
/// What else names tests.
const NAMING: [&str; 3] = ["ARCHITECTURE.md", "docs/placement.md", "docs/performance.md"];
/// Where figures stand with the commits they were measured on.
const MEASURED: [&str; 3] = ["docs/performance.md", "docs/reliability.md", "tests/fuzz/spent.tsv"];
/// A table whose head has one of these columns names a test in each of its rows.
const COLUMNS: [&str; 2] = ["held by", "test"];
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

/// The rows of tables with such a column, without their heads.
fn rows(text: &str) -> Vec<&str> {
    let (mut rows, mut within) = (Vec::new(), false);
    for line in text.lines() {
        if !line.starts_with('|') {
            within = false;
        } else if within {
            rows.push(line);
        } else {
            within = line.split('|').any(|cell| COLUMNS.contains(&cell.trim()));
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
    let documents = DOCUMENTS.iter().map(|(document, _)| document).chain(&NAMING);
    for document in documents {
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
    for (document, least) in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        let rows = rows(&text);
        assert!(rows.len() >= least, "{document}: only {} rows were found", rows.len());
        let bare: Vec<_> = rows.into_iter().filter(|row| named(row).next().is_none()).collect();
        assert!(bare.is_empty(), "{document}: no test is named here: {bare:#?}");
    }
}

/// Where the samples are kept that tables were made from, by the commit they were measured on.
const FIGURES: &str = "docs/figures";
/// The head of a table of figures.
const HEAD: &str = "| what | median | min | max | unit | wanted |";
/// Tables round to three digits.
const ROUNDED: f64 = 0.005;

/// A figure as a table shows it.
#[derive(Debug)]
struct Figure {
    /// Median, minimum and maximum.
    numbers: [f64; 3],
    unit: String,
    /// What was wanted, and whether it was met; empty when nothing was.
    verdict: String,
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// The figures of a kept file, by what was measured, each true to its samples.
fn kept(name: &str) -> BTreeMap<String, Figure> {
    let text = fs::read_to_string(root().join(FIGURES).join(name)).expect("a file of figures");
    let kept: Value = serde_json::from_str(&text).expect("figures as JSON");
    let commit = kept["about"]["commit"].as_str().expect("the commit");
    let of = name.split(['-', '.']).next().unwrap_or("-");
    assert!(commit.starts_with(of), "{name} is of {commit}");
    let figure = |figure: &Value| {
        let what = figure["what"].as_str().expect("what was measured").to_owned();
        let mut samples: Vec<f64> =
            figure["samples"].as_array().expect("samples").iter().map(number).collect();
        samples.sort_by(f64::total_cmp);
        let (low, high) = (samples[(samples.len() - 1) / 2], samples[samples.len() / 2]);
        let found = [f64::midpoint(low, high), samples[0], samples[samples.len() - 1]];
        let numbers = ["median", "min", "max"].map(|name| number(&figure[name]));
        let near = found.iter().zip(&numbers).all(|(found, told)| (found - told).abs() < 1e-6);
        assert!(near, "{name}: {what}: {numbers:?} of {samples:?}");
        let verdict = figure["wanted"].as_str().map(|wanted| {
            let bound: f64 =
                wanted[wanted.find(' ').map_or(0, |at| at + 1)..].parse().expect("a bound");
            let met = match wanted.chars().next() {
                Some('≤') => numbers[0] <= bound,
                Some('≥') => numbers[0] >= bound,
                _ => panic!("{name}: {what}: {wanted}"),
            };
            assert_eq!(figure["met"], met, "{name}: {what}");
            format!("{wanted}: {}", if met { "met" } else { "missed" })
        });
        let unit = figure["unit"].as_str().unwrap_or_default().to_owned();
        (what, Figure { numbers, unit, verdict: verdict.unwrap_or_default() })
    };
    kept["figures"].as_array().expect("figures").iter().map(figure).collect()
}

/// Each table of figures: its rows as cells, and the file that the words below it name. Where they say
/// that it is the same run, it is that of the table before.
fn tables(text: &str) -> Vec<(Vec<Vec<&str>>, String)> {
    let mut tables: Vec<(Vec<Vec<&str>>, String)> = Vec::new();
    let (mut within, mut before) = (false, String::new());
    for line in text.lines() {
        if line == HEAD {
            within = true;
            before = tables.last().map(|(_, file)| file.clone()).unwrap_or_default();
            tables.push((Vec::new(), String::new()));
        } else if within && line.starts_with("| ") {
            let cells = line.trim_matches('|').split('|').map(str::trim).collect();
            tables.last_mut().expect("a table").0.push(cells);
        } else if !line.starts_with('|') {
            within = false;
            let Some((_, file)) = tables.last_mut().filter(|(_, file)| file.is_empty()) else {
                continue;
            };
            if let Some((_, named)) = line.split_once("`figures/") {
                named.split('`').next().unwrap_or_default().clone_into(file);
            } else if line.starts_with("The same run") {
                file.clone_from(&before);
            }
        }
    }
    tables
}

#[test]
fn every_table_of_performance_is_that_of_the_samples_it_names() {
    let text = fs::read_to_string(root().join("docs/performance.md")).expect("the document");
    let mut compared = 0;
    for (rows, file) in tables(&text) {
        assert!(!file.is_empty(), "the samples of {rows:#?} are not named below it");
        let kept = kept(&file);
        for row in rows {
            let [what, shown @ .., unit, verdict] = &row[..] else { panic!("{row:?}") };
            let figure = kept.get(*what).unwrap_or_else(|| panic!("{what} is not in {file}"));
            let shown: Vec<f64> = shown.iter().filter_map(|cell| cell.parse().ok()).collect();
            let near =
                |(shown, kept): (&f64, &f64)| (shown - kept).abs() <= ROUNDED * kept.abs().max(1.0);
            let all = shown.len() == 3 && shown.iter().zip(&figure.numbers).all(near);
            let same = *unit == figure.unit && *verdict == figure.verdict;
            assert!(all && same, "{file}: {row:?}, measured: {figure:?}");
            compared += 1;
        }
    }
    assert!(compared >= 30, "only {compared} rows were compared");
}
