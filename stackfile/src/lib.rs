//! Compose text to a stack. Text comes in, a [`model::StackSpec`] or diagnostics that point at the
//! line come out.
//!
//! **Invariant:** nothing here reads a file, a clock or the environment: what a stack file names,
//! the caller reads through [`Sources`]. Whatever the text is, the work is bounded.
//!
//! Both ways in begin with `project`: `yaml` (bytes to a tree with places) → `interpolate`
//! (`${VAR}`) → `grammar` (the tables of keys; `canonical` turns short forms into long ones) →
//! `merge` (several files) → env files, paths, references. [`config`] shows that tree; [`load`]
//! goes on with `lower`: what a cluster refuses or weakens, the tree to the model, limits.
//! To add a key, add a line to `grammar/keys` and read it in `lower`.

#![warn(missing_docs)]

mod canonical;
mod diagnostic;
mod dotenv;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
mod interpolate;
mod json;
mod lower;
mod merge;
mod nodes;
mod project;
mod source;
mod tree;
mod values;
mod yaml;

use std::collections::BTreeMap;

use diagnostic::Report;
pub use diagnostic::{Diagnostic, Diagnostics, Location, MAX_SHOWN, Severity};
use model::{ImaginedNode, NodeName, Resources, StackSpec};
use source::Texts;
pub use source::{Bounds, MAX_FILE_BYTES, SourceFile};

/// Reads the files a stack file names.
pub trait Sources {
    /// The content of `path`, which is absolute or relative to the project directory; at most
    /// [`MAX_FILE_BYTES`].
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError>;
}

/// Why a named file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// There is no such file.
    NotFound,
    /// It is larger than [`MAX_FILE_BYTES`].
    TooLarge,
    /// Something else, in words.
    Other(String),
}

/// What a stack is read from.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The stack files in the order of `-f`; later ones override earlier ones.
    pub files: &'a [SourceFile],
    /// `--stack`/`-p`: the stack's name, above all other sources of it.
    pub stack_name: Option<&'a str>,
    /// The project directory as an absolute path; relative paths are shown below it and its last
    /// part names the stack when nothing else does.
    pub project_directory: &'a str,
    /// The environment of the process; it is above `dotenv`.
    pub environment: &'a BTreeMap<String, String>,
    /// `.env`, or the files of `--env-file` in order.
    pub dotenv: &'a [SourceFile],
    /// `--profile`; `COMPOSE_PROFILES` is used when empty.
    pub profiles: &'a [String],
    /// Reads what the files name.
    pub sources: &'a dyn Sources,
    /// How much may be read.
    pub bounds: Bounds,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The environment holds secrets, and the texts are long.
        f.debug_struct("Request")
            .field("files", &self.files.iter().map(|file| &file.name).collect::<Vec<_>>())
            .field("stack_name", &self.stack_name)
            .field("project_directory", &self.project_directory)
            .finish_non_exhaustive()
    }
}

/// A stack that can be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What the files ask for.
    pub stack: StackSpec,
    /// Warnings and notes: what is translated, weaker or surprising. Never errors.
    pub notes: Vec<Diagnostic>,
}

/// The normalised stack in the shape of `docker compose config`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Short forms are long, variables are in, defaults of the format are filled in; keys sorted.
    pub tree: serde_json::Value,
    /// Warnings of the loader, such as variables that are not set.
    pub notes: Vec<Diagnostic>,
}

impl Config {
    /// One JSON document, indented, ending with a newline.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.tree)
    }

    /// The same as YAML, with every `$` doubled: a stack file again.
    pub fn to_yaml(&self) -> String {
        yaml::print(&json::escape_variables(&self.tree))
    }
}

/// Reads a stack to apply: everything in it is honoured, translated with a note, or refused.
pub fn load(request: &Request<'_>) -> Result<Loaded, Diagnostics> {
    let mut texts = Texts::default();
    let mut report = Report::within(request.bounds);
    let project = project::read(request, &mut texts, &mut report);
    let stack = project.and_then(|project| lower::stack(project, &mut report));
    let notes = report.finish(&texts)?;
    match stack {
        Some(stack) => Ok(Loaded { stack, notes }),
        // A layer that gives nothing has reported why.
        None => Err(Diagnostics { shown: notes, more: 0 }),
    }
}

/// Reads a stack to show: faithful to the Compose Specification, without what a cluster refuses.
pub fn config(request: &Request<'_>) -> Result<Config, Diagnostics> {
    let mut texts = Texts::default();
    let mut report = Report::within(request.bounds);
    let project = project::read(request, &mut texts, &mut report);
    let tree = project.map(|project| project.to_json());
    let notes = report.finish(&texts)?;
    match tree {
        Some(tree) => Ok(Config { tree, notes }),
        None => Err(Diagnostics { shown: notes, more: 0 }),
    }
}

/// Reads one imagined machine from a word: `NAME=SIZE[,cpus=N][,label=NAME=VALUE][,arch=ARCH]`. The error
/// says what is wrong and how it is written.
pub fn node(text: &str) -> Result<ImaginedNode, String> {
    nodes::one(text)
}

/// Reads an amount of memory, and of CPU where it is named, from a word: `SIZE[,cpus=N]`. The error says what
/// is wrong and how it is written.
pub fn room(text: &str) -> Result<Resources, String> {
    nodes::room(text)
}

/// What `NODES.yaml` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodesFile {
    /// The machines; one with a `count` is called `NAME-1 … NAME-n`.
    pub nodes: Vec<ImaginedNode>,
    /// Where replicas run, the first one first, by `SERVICE` or `STACK/SERVICE`; `None` runs nowhere.
    pub current: BTreeMap<String, Vec<Option<NodeName>>>,
}

/// Reads `NODES.yaml`.
pub fn nodes(file: &SourceFile) -> Result<NodesFile, Diagnostics> {
    let mut texts = Texts::default();
    let mut report = Report::within(Bounds::IMAGINED);
    let nodes = nodes::read(file, &mut texts, &mut report);
    report.finish(&texts)?;
    Ok(nodes)
}
