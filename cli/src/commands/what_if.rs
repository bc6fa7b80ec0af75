//! `whatif`: what the cluster would come to, were something else so.

use std::path::{Path, PathBuf};

use model::{ImaginedNode, NodeName, StackSpec, view::WhatIfView};
use proto::v1 as pb;

use crate::{
    args::{Global, StackFiles, WhatIf},
    client::Client,
    error::Error,
    output::{Out, json, what_if::render},
    stack_input::{LoadedStack, StackInput, say_notes},
};

/// How a supposition is written.
const FORM: &str =
    "write `lose NODE`, `drain NODE`, `add NAME=SIZE[,cpus=N][,label=K=V]` or `apply FILE`";

/// Something to imagine, read and checked.
#[derive(Debug)]
enum Supposition {
    Lose(NodeName),
    Drain(NodeName),
    Add(ImaginedNode),
    Apply(Box<StackSpec>),
}

/// Carries out `whatif`.
pub async fn run(args: &WhatIf, global: &Global, out: &mut Out) -> Result<(), Error> {
    let suppositions = read(&args.suppositions, out)?;
    let asked = suppositions.iter().map(Supposition::wire).collect();
    let found = Client::connect(global, out)?.what_if(asked).await?;
    show(&found, out)
}

fn show(found: &WhatIfView, out: &mut Out) -> Result<(), Error> {
    if out.is_json() {
        return json::document(out, found);
    }
    let text = render(found, out);
    out.data(&text)
}

/// In pairs of a word and what it is about.
fn read(words: &[String], out: &mut Out) -> Result<Vec<Supposition>, Error> {
    let mut read = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let known = ["lose", "drain", "add", "apply"].contains(&word.as_str());
        let of = rest.next().filter(|_| known);
        let of = of.ok_or_else(|| wrong(&format!("`{word}` is no supposition on its own")))?;
        read.push(match word.as_str() {
            "lose" => Supposition::Lose(name(of)?),
            "drain" => Supposition::Drain(name(of)?),
            "add" => Supposition::Add(
                stackfile::node(of).map_err(|why| wrong(&format!("add {of}: {why}")))?,
            ),
            _ => Supposition::Apply(Box::new(stack(Path::new(of), out)?)),
        });
    }
    Ok(read)
}

fn wrong(what: &str) -> Error {
    Error::input(what).hint(FORM)
}

fn name(text: &str) -> Result<NodeName, Error> {
    text.parse().map_err(|error| wrong(&format!("`{text}`: {error}")))
}

fn stack(file: &Path, out: &mut Out) -> Result<StackSpec, Error> {
    let files = StackFiles { files: vec![PathBuf::from(file)], ..StackFiles::default() };
    let LoadedStack { spec, notes } = StackInput::read(&files)?.load()?;
    if !out.is_json() {
        say_notes(out, &notes);
    }
    Ok(spec)
}

impl Supposition {
    fn wire(&self) -> pb::Supposition {
        use pb::supposition::Kind;
        let kind = match self {
            Self::Lose(node) => Kind::Lose(node.to_string()),
            Self::Drain(node) => Kind::Drain(node.to_string()),
            Self::Add(node) => Kind::Add(node.into()),
            Self::Apply(spec) => Kind::Apply((&**spec).into()),
        };
        pb::Supposition { kind: Some(kind) }
    }
}
