//! Context files: where a cluster is and who you are. A context is a file of its own, so that it can
//! be copied, mounted and removed like one; `current` next to them names the one in use.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{args::Global, error::Error, output::amount::nearest};

/// The largest context file read: a few certificates and endpoints are far smaller.
const MAX_CONTEXT_BYTES: u64 = 256 * 1024;
/// The longest name, so that it fits a file name everywhere.
const MAX_NAME: usize = 63;

/// What a context file holds, as a scheduler writes it.
#[derive(Clone, Deserialize)]
pub struct Context {
    /// The cluster's id.
    pub cluster: String,
    /// `HOST:PORT` of its schedulers.
    pub endpoints: Vec<String>,
    /// Certificates of those who may sign for the cluster, PEM.
    pub authorities: String,
    /// The person's certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("cluster", &self.cluster)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// The directory of this person's contexts.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

/// A context as `context ls` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ContextRow {
    /// Its name.
    pub name: String,
    /// Whether it is used when none is named.
    pub current: bool,
    /// The cluster's id; `None` when the file cannot be read.
    pub cluster: Option<String>,
    /// Where its schedulers are.
    pub endpoints: Vec<String>,
    /// Why it cannot be used.
    pub error: Option<String>,
}

/// What `context add` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// A context of that name was there before.
    pub replaced: bool,
    /// It is the current one.
    pub current: bool,
}

impl Store {
    /// `$XDG_CONFIG_HOME/siso`, else `~/.config/siso`.
    pub fn of_process() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let config =
            variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let config =
            config.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")));
        let Some(config) = config else {
            return Err(Error::input("neither HOME nor XDG_CONFIG_HOME is set")
                .hint("name the context file with --context-file or SISO_CONTEXT_FILE"));
        };
        Ok(Self::at(config.join("siso")))
    }

    /// The store in `directory`.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn contexts(&self) -> PathBuf {
        self.directory.join("contexts")
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.contexts().join(format!("{name}.yaml"))
    }

    /// The name of the current context, if one was chosen.
    pub fn current(&self) -> Result<Option<String>, Error> {
        let path = self.directory.join("current");
        match fs::read_to_string(&path) {
            Ok(name) => Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// Copies a context file in under `name`, readable by its owner only.
    pub fn add(&self, name: &str, file: &Path) -> Result<Added, Error> {
        check_name(name)?;
        let text = read(file)?;
        parse(file, &text)?;
        let target = self.file_of(name);
        let replaced = target.exists();
        write_private(&target, &text)?;
        let current = self.current()?;
        if current.is_none() {
            self.make_current(name)?;
        }
        Ok(Added { replaced, current: current.is_none_or(|current| current == name) })
    }

    /// Makes a context the current one.
    pub fn choose(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        if !self.file_of(name).exists() {
            return Err(self.unknown(name));
        }
        self.make_current(name)
    }

    fn make_current(&self, name: &str) -> Result<(), Error> {
        write_private(&self.directory.join("current"), &format!("{name}\n"))
    }

    /// The names of all contexts, sorted.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let directory = self.contexts();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&directory, &error)),
        };
        let name_of = |entry: fs::DirEntry| {
            entry.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned)
        };
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter_map(name_of)
            .filter(|name| is_name(name))
            .collect();
        names.sort();
        Ok(names)
    }

    /// All contexts; one that cannot be read says why.
    pub fn list(&self) -> Result<Vec<ContextRow>, Error> {
        let current = self.current()?;
        let row = |name: String| {
            let path = self.file_of(&name);
            let context = read(&path).and_then(|text| parse(&path, &text));
            let current = current.as_ref() == Some(&name);
            match context {
                Ok(Context { cluster, endpoints, .. }) => {
                    ContextRow { name, current, cluster: Some(cluster), endpoints, error: None }
                }
                Err(error) => {
                    let error = Some(error.to_string());
                    ContextRow { name, current, cluster: None, endpoints: Vec::new(), error }
                }
            }
        };
        Ok(self.names()?.into_iter().map(row).collect())
    }

    fn unknown(&self, name: &str) -> Error {
        let names = self.names().unwrap_or_default();
        let hint = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => ADD_ONE.to_owned(),
            None => format!("there are: {}", names.join(", ")),
        };
        Error::input(format!("there is no context `{name}`")).hint(hint)
    }

    fn path_to_use(&self, named: Option<&str>) -> Result<PathBuf, Error> {
        if let Some(name) = named {
            check_name(name)?;
            let path = self.file_of(name);
            return if path.exists() { Ok(path) } else { Err(self.unknown(name)) };
        }
        match self.current()? {
            Some(name) if is_name(&name) && self.file_of(&name).exists() => Ok(self.file_of(&name)),
            Some(name) => Err(Error::input(format!("the current context `{name}` is gone"))
                .hint("choose another one with `sisoctl context use NAME`")),
            None => Err(self.none_chosen()),
        }
    }

    fn none_chosen(&self) -> Error {
        let names = self.names().unwrap_or_default();
        let error = Error::input("no cluster is chosen: there is no current context");
        if names.is_empty() {
            error.hint(ADD_ONE)
        } else {
            error.hint(format!("choose one with `sisoctl context use NAME`: {}", names.join(", ")))
        }
    }
}

const ADD_ONE: &str = "add the file the first scheduler wrote: `sisoctl context add NAME --file DATA_DIR/admin.yaml`,\n\
                       or start a cluster on this machine: `deploy/quickstart.sh`";

/// The context to use: `--context-file`, else `--context`, else the current one.
pub fn load(global: &Global) -> Result<(PathBuf, Context), Error> {
    let path = match (&global.context_file, &global.context) {
        // A named context is more particular than a file named by the environment.
        (Some(file), None) => file.clone(),
        (_, named) => Store::of_process()?.path_to_use(named.as_deref())?,
    };
    let text = read(&path)?;
    let context = parse(&path, &text)?;
    Ok((path, context))
}

/// Whether others than its owner may read the file, which holds a key.
pub fn is_exposed(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let read = fs::File::open(path)
        .and_then(|file| file.take(MAX_CONTEXT_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_CONTEXT_BYTES => Err(Error::input(format!(
            "{} is no context file: it is larger than {MAX_CONTEXT_BYTES} bytes",
            path.display()
        ))),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::input(format!("there is no context file {}", path.display())).hint(ADD_ONE))
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<Context, Error> {
    let wrong = |why: &dyn std::fmt::Display| {
        Error::input(format!("{} is not a context file: {why}", path.display()))
            .hint("a scheduler writes one as DATA_DIR/admin.yaml; copy it whole")
    };
    let context: Context =
        serde_saphyr::from_str(text).map_err(|error| wrong(&without_source(&error)))?;
    if context.endpoints.is_empty() {
        return Err(wrong(&"it names no endpoint"));
    }
    for (what, pem, begin) in [
        ("authorities", &context.authorities, "-----BEGIN CERTIFICATE-----"),
        ("certificate", &context.certificate, "-----BEGIN CERTIFICATE-----"),
        ("key", &context.key, "-----BEGIN "),
    ] {
        if !pem.trim_start().starts_with(begin) {
            return Err(wrong(&format!("`{what}` is not in PEM form")));
        }
    }
    Ok(context)
}

/// The first line only: what follows quotes the file, which holds a key.
fn without_source(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

fn check_name(name: &str) -> Result<(), Error> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::input(format!("`{name}` cannot name a context")).hint(format!(
        "use up to {MAX_NAME} letters, digits, `-`, `_` and `.`, not beginning with `.`"
    )))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::input(format!("cannot read {}: {error}", path.display()))
}

/// Writes a file for its owner only, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let cannot =
        |error: io::Error| Error::input(format!("cannot write {}: {error}", path.display()));
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(cannot)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&temporary))).map_err(cannot)
}

#[cfg(test)]
mod tests;
