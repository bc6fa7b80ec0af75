//! What this crate holds whatever it is given. Its own tests try a few thousand inputs, the guided
//! fuzzer of `tests/fuzz/guided` as many as it has time for; both call these functions, which answer
//! what became of the input and panic when that is wrong.

use std::collections::BTreeSet;

use crate::{
    Bounds, Config, Diagnostics, Loaded, NodesFile, ReadError, Request, SourceFile, Sources,
    config, load,
};

/// No stack file names a file that is there.
struct Nowhere;

impl Sources for Nowhere {
    fn read(&self, _path: &str) -> Result<Vec<u8>, ReadError> {
        Err(ReadError::NotFound)
    }
}

fn asked<T>(
    stack: impl AsRef<[u8]>,
    dotenv: &[SourceFile],
    read: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let variables = [("A", "one"), ("B", "$A ${A} '")];
    read(&Request {
        files: &[SourceFile::new("stack.yaml", stack.as_ref())],
        stack_name: None,
        project_directory: "/home/me/shop",
        environment: &variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        dotenv,
        profiles: &[],
        sources: &Nowhere,
        bounds: Bounds::APPLIED,
    })
}

fn loaded(stack: impl AsRef<[u8]>) -> Result<Loaded, Diagnostics> {
    asked(stack, &[], load)
}

fn configured(stack: impl AsRef<[u8]>) -> Result<Config, Diagnostics> {
    asked(stack, &[], config)
}

/// Messages are for a terminal: nothing in them may move its cursor.
fn in_plain_words(errors: &Diagnostics) -> String {
    let text = errors.to_string();
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "{text:?}");
    text
}

/// A stack file is read, or refused in plain words.
pub fn stack_file(bytes: &[u8]) -> String {
    match loaded(bytes) {
        Ok(loaded) => format!("{} services", loaded.stack.services.len()),
        Err(errors) => in_plain_words(&errors),
    }
}

/// What is shown of a stack file is a stack file that shows the same, and asks for the same.
///
/// # Panics
///
/// When it does not.
pub fn shown(bytes: &[u8]) -> String {
    let Ok(config) = configured(bytes) else { return "refused".to_owned() };
    let shown = config.to_yaml();
    let again = configured(&shown).unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
    assert_eq!(again.to_yaml(), shown);
    let Ok(asked) = loaded(bytes) else { return "shown".to_owned() };
    let again = loaded(&shown).unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
    assert_eq!(again.stack, asked.stack, "{shown}");
    "shown, and asks for the same".to_owned()
}

/// Variables are filled in, or refused in plain words. What follows the first line is `.env`.
pub fn variables(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (text, dotenv) = text.split_once('\n').unwrap_or((&text, "C=3"));
    let text = text.replace(['\'', '\r'], "");
    let stack = format!("services: {{web: {{image: x, command: ['{text}']}}}}");
    match asked(&stack, &[SourceFile::new(".env", dotenv)], load) {
        Ok(loaded) => format!("{} notes", loaded.notes.len()),
        Err(errors) => in_plain_words(&errors),
    }
}

/// A file of nodes names each node once, or is refused in plain words.
pub fn nodes(bytes: &[u8]) -> String {
    match crate::nodes(&SourceFile::new("nodes.yaml", bytes)) {
        Ok(NodesFile { nodes, .. }) => {
            let names: BTreeSet<_> = nodes.iter().map(|node| &node.name).collect();
            assert!(!nodes.is_empty() && names.len() == nodes.len(), "{nodes:?}");
            format!("{} nodes", nodes.len())
        }
        Err(errors) => in_plain_words(&errors),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ::fuzz::Fuzz;

    fn stacks(name: &'static str) -> Fuzz {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Fuzz::new(name)
            .files(&root.join("tests/mistakes"))
            .files(&root.join("../deploy/stacks"))
            .words("stackfile")
    }

    #[test]
    fn any_stack_file_is_read_or_refused_in_plain_words() {
        stacks("stackfile").run(super::stack_file);
    }

    #[test]
    fn what_is_shown_of_any_stack_file_is_a_stack_file_that_shows_and_asks_for_the_same() {
        stacks("config").run(super::shown);
    }

    #[test]
    fn any_variables_are_filled_in_or_refused_in_plain_words() {
        let inputs = [
            "$A ${A} ${A:-x} ${A-x} ${A:?no} ${A?no} ${A:+x} ${A+x} $$A",
            "${A:-${B:-${C}}}",
            "${} ${ } ${1} ${A ${A:} $ $$ ${A:-}}",
            "${A:-'}' \"}\"}",
            "${C} ${D}\nexport C='3'\n# no\nD=\"${C:-x}\\n\" # yes\nE",
        ];
        Fuzz::new("interpolation")
            .inputs(inputs.map(|text| text.as_bytes().to_vec()))
            .words("interpolation")
            .run(super::variables);
    }

    #[test]
    fn any_file_of_nodes_is_read_or_refused_in_plain_words() {
        let inputs = [
            "nodes:\n  - {name: mini, count: 2, memory: 14GiB, cpus: 8, labels: {role: db}}\n",
            "nodes: [{name: a, memory: 1g, arch: arm64}, {name: b-1, memory: 512m, cpus: 0.5}]",
        ];
        Fuzz::new("nodes")
            .inputs(inputs.map(|text| text.as_bytes().to_vec()))
            .words("stackfile")
            .run(super::nodes);
    }
}
