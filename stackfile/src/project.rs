//! From files to one tree: the project every later layer works on.

use model::StackName;

use crate::{
    Request,
    diagnostic::Report,
    source::{Span, Texts},
    tree::{Map, Value},
    yaml,
};

/// A stack after merging, before anything a cluster thinks of it.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) name: StackName,
    pub(crate) tree: Map,
}

/// Reads all files of a request.
pub(crate) fn read(
    request: &Request<'_>,
    texts: &mut Texts,
    report: &mut Report,
) -> Option<Project> {
    let mut tree = Map::default();
    for file in request.files {
        let Some(number) = yaml::intern(file, texts, report) else { continue };
        for document in yaml::documents(number, texts, report) {
            if let Value::Map(map) = document.value {
                tree = map;
            } else {
                report.error(
                    document.at,
                    format!("a stack file is a mapping, this is {}", document.kind()),
                );
            }
        }
    }
    let name = name(request, &tree, report)?;
    Some(Project { name, tree })
}

fn name(request: &Request<'_>, tree: &Map, report: &mut Report) -> Option<StackName> {
    let at: Option<Span> = tree.get("name").map(|node| node.at);
    let name = request.stack_name.or_else(|| tree.text("name"));
    match StackName::new(name.unwrap_or("stack")) {
        Ok(name) => Some(name),
        Err(error) => {
            report.error(at, error.to_string());
            None
        }
    }
}
