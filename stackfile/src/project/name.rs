use crate::{
    Request,
    diagnostic::Report,
    interpolate::{Variables, substitute},
    source::Span,
    tree::Map,
};

/// What the stack is called, and who said so.
#[derive(Debug)]
pub(crate) struct ProjectName {
    /// By Compose's rule: `a-z0-9_-`.
    pub(crate) text: String,
    /// As it was given; the name of the directory when nothing was.
    pub(crate) given: String,
    /// Where it stands, when a file gives it.
    pub(crate) at: Option<Span>,
    /// Nobody gave a name: the directory's is used, and changed as needed.
    pub(crate) from_directory: bool,
}

impl ProjectName {
    /// Reports a name no tool could use.
    pub(super) fn check(&self, request: &Request<'_>, report: &mut Report) {
        if self.text.is_empty() {
            report
                .error(self.at, format!("`{}` gives the stack no name", self.given))
                .path("name")
                .hint("name it: `--stack NAME`, or `name: NAME` in the file");
        } else if request.stack_name.is_some() && self.text != self.given {
            report
                .error(None, format!("`{}` is not a name for a stack", self.given))
                .path("name")
                .hint(format!("call it `{}`", self.text));
        }
    }
}

/// The name of the command line, of the environment, of the last file that gives one, of the
/// directory; in this order.
pub(super) fn choose(
    request: &Request<'_>,
    variables: &Variables<'_>,
    documents: &[Map],
) -> ProjectName {
    let given = |given: &str, at| ProjectName {
        text: normalise(given),
        given: given.to_owned(),
        at,
        from_directory: false,
    };
    let from_variable = || variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
    if let Some(name) = request.stack_name.or_else(from_variable) {
        return given(name, None);
    }
    let named = documents.iter().rev().find_map(|map| map.get("name"));
    if let Some((node, text)) = named.and_then(|node| Some((node, node.as_text()?))) {
        let lookup = |name: &str| variables.get(name);
        // A fault in the template is reported when the file is interpolated.
        let name = substitute(text, &lookup, &mut Vec::new()).unwrap_or_default();
        if !name.is_empty() {
            return given(&name, Some(node.at));
        }
    }
    let directory = request.project_directory.trim_end_matches('/').rsplit('/').next();
    let directory = directory.unwrap_or_default();
    ProjectName {
        text: normalise(directory),
        given: directory.to_owned(),
        at: None,
        from_directory: true,
    }
}

/// Compose's rule: lower case, other characters dropped, beginning with a letter or digit.
fn normalise(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept = lower.chars().filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'));
    kept.collect::<String>().trim_start_matches(['_', '-']).to_owned()
}
