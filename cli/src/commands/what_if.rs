//! `whatif`: what the cluster would come to, were something else so.

use std::path::{Path, PathBuf};

use model::{ImaginedNode, NodeName, StackSpec, view::WhatIfView};
use proto::v1 as pb;
use scheduler_core::{Cluster, view, what_if_offline};

use super::node::known;
use crate::{
    args::{Global, StackFiles, WhatIf},
    client::Client,
    error::Error,
    offline::{Machines, unimaginable},
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
    if let Some(file) = &args.nodes {
        return show(&offline(file, &args.file, &suppositions, out)?, &suppositions, out);
    }
    let client = Client::connect(global, out)?;
    show(&online(&suppositions, &client).await?, &suppositions, out)
}

/// On the cluster as it is.
async fn online(suppositions: &[Supposition], client: &Client) -> Result<WhatIfView, Error> {
    let mut found = client.what_if(suppositions.iter().map(Supposition::wire).collect()).await;
    for name in suppositions.iter().filter_map(Supposition::of_node) {
        found = known(found, name.as_str(), client).await;
    }
    found
}

fn show(found: &WhatIfView, suppositions: &[Supposition], out: &mut Out) -> Result<(), Error> {
    if out.is_json() {
        return json::document(out, found);
    }
    let lost = suppositions.iter().filter_map(|held| match held {
        Supposition::Lose(name) => Some(name.as_str()),
        Supposition::Drain(_) | Supposition::Add(_) | Supposition::Apply(_) => None,
    });
    let text = render(found, &lost.collect::<Vec<_>>(), out);
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

fn offline(
    nodes: &Path,
    files: &[PathBuf],
    suppositions: &[Supposition],
    out: &mut Out,
) -> Result<WhatIfView, Error> {
    let machines = Machines::read(nodes)?;
    let stacks: Vec<StackSpec> =
        files.iter().map(|file| stack(file, out)).collect::<Result<_, _>>()?;
    let seats = machines.seats(&stacks)?;
    suppositions
        .iter()
        .filter_map(Supposition::of_node)
        .try_for_each(|name| machines.must_have(name))?;
    let found = what_if_offline(&stacks, &machines.nodes, &seats, |cluster| {
        Ok(suppositions.iter().filter_map(|held| held.on(cluster)).collect())
    });
    found.map_err(|why| unimaginable(&why))
}

impl Supposition {
    /// The node there is, of which it supposes something.
    const fn of_node(&self) -> Option<&NodeName> {
        match self {
            Self::Lose(name) | Self::Drain(name) => Some(name),
            Self::Add(_) | Self::Apply(_) => None,
        }
    }

    /// The same on that cluster; nothing when it has no such node.
    fn on(&self, cluster: &Cluster) -> Option<view::Supposition> {
        let id = |name: &NodeName| cluster.node_named(name).map(|node| node.id);
        Some(match self {
            Self::Lose(name) => view::Supposition::Lose(id(name)?),
            Self::Drain(name) => view::Supposition::Drain(id(name)?),
            Self::Add(node) => view::Supposition::Add(node.clone()),
            Self::Apply(spec) => view::Supposition::Apply((**spec).clone()),
        })
    }

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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::testing::cluster::{FakeCluster, Script};

    #[tokio::test]
    async fn a_machine_that_is_not_there_is_answered_with_the_nearest_that_is() {
        let rows = ["mini-1", "mini-2"]
            .map(|name| pb::NodeRow { name: name.to_owned(), ..pb::NodeRow::default() });
        let script = Script {
            what_if: VecDeque::from([Err(tonic::Status::not_found("there is no node `mini-22`"))]),
            nodes: VecDeque::from([Ok(pb::ListNodesReply { nodes: rows.into() })]),
            ..Script::default()
        };
        let (_, client) = FakeCluster::new(script);
        let names = ["mini-1", "mini-22"].map(|node| Supposition::Lose(name(node).unwrap()));
        let error = online(&names, &client).await.unwrap_err();
        assert_eq!(error.exit_code(), 1);
        let (mut out, _, said) = crate::testing::streams(crate::output::Look::plain());
        error.report(&mut out);
        assert!(
            said.text_lossy().contains("hint: did you mean `mini-2`?"),
            "{}",
            said.text_lossy()
        );
    }
}
