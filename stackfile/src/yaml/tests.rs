use super::{documents, intern};
use crate::{
    diagnostic::Report,
    source::{SourceFile, Texts},
    tree::{Node, Value},
};

/// The documents of a text, printed on one line each; else the messages.
fn read(text: &str) -> Result<Vec<String>, String> {
    let (mut texts, mut report) = (Texts::default(), Report::default());
    let file = intern(&SourceFile::new("f", text), &mut texts, &mut report).unwrap();
    let found = documents(file, &texts, &mut report);
    match report.finish(&texts) {
        Ok(_) => Ok(found.iter().map(show).collect()),
        Err(errors) => Err(errors
            .shown
            .iter()
            .map(|error| error.message.clone())
            .collect::<Vec<_>>()
            .join("; ")),
    }
}

fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number}f"),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) => {
            let pairs = map.entries.iter().map(|e| format!("{}: {}", e.key, show(&e.value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Broken => "broken".to_owned(),
    }
}

#[test]
fn plain_words_mean_what_compose_takes_them_for() {
    for (text, value) in [
        ("0755", "493"),
        ("0o755", "493"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("-7", "-7"),
        ("+7", "7"),
        ("1.10", "1.1f"),
        ("1e3", "1000f"),
        ("3.0", "3f"),
        (".5", "0.5f"),
        ("18446744073709551616", "18446744073709552000f"),
        ("true", "true"),
        ("False", "false"),
        ("~", "null"),
        ("", "null"),
        ("yes", "\"yes\""),
        ("no", "\"no\""),
        ("on", "\"on\""),
        ("22:22", "\"22:22\""),
        ("12:30:45", "\"12:30:45\""),
        ("1.2.3", "\"1.2.3\""),
        ("infinity", "\"infinity\""),
        ("+-1", "\"+-1\""),
        ("089", "89f"),
        ("\"5\"", "\"5\""),
        ("'true'", "\"true\""),
        ("!!str 5", "\"5\""),
        ("!!int '5'", "5"),
        ("! 5", "5"),
    ] {
        assert_eq!(read(&format!("a: {text}")), Ok(vec![format!("{{a: {value}}}")]), "{text}");
    }
}

#[test]
fn merge_keys_fill_in_and_the_first_wins() {
    let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 0}\n";
    let read = read(text).unwrap().remove(0);
    assert!(read.ends_with("c: {x: 0, y: 1, z: 2}}"), "{read}");
}

#[test]
fn a_merge_of_something_else_is_an_error() {
    assert_eq!(read("a: {<<: 5}"), Err("`<<` takes a mapping, this is a number".to_owned()));
    assert_eq!(read("a: {<<: [{x: 1}]}"), Ok(vec!["{a: {x: 1}}".to_owned()]));
    assert_eq!(read("a: {'<<': 5}"), Ok(vec!["{a: {<<: 5}}".to_owned()]));
}

#[test]
fn keys_are_words() {
    assert_eq!(read("1: a\ntrue: b\n"), Ok(vec!["{1: \"a\", true: \"b\"}".to_owned()]));
    assert_eq!(
        read("? [a]\n: b\n"),
        Err("a key must be a single word, not a list or a mapping".to_owned())
    );
}

#[test]
fn a_key_that_is_given_twice_is_said_with_both_lines() {
    let twice = |key, lines| Err(format!("`{key}` is given twice, {lines}"));
    assert_eq!(read("a: 1\na: 2\n"), twice("a", "on line 1 and on line 2"));
    assert_eq!(read("a: 1\n1: 2\n\"1\": 3\n"), twice("1", "on line 2 and on line 3"));
    assert_eq!(read("# x\na: {b: 1, b: 2}\n"), twice("b", "both times on line 2"));
}

#[test]
fn several_documents_are_read_and_empty_ones_left_out() {
    assert_eq!(read("a: 1\n---\nb: 2\n---\n"), Ok(vec!["{a: 1}".to_owned(), "{b: 2}".to_owned()]));
    assert_eq!(read("# nothing\n"), Ok(Vec::new()));
}
