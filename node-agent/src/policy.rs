//! What this machine runs, whatever a scheduler sends: the agent checks again.
//!
//! **Invariant:** a bind is mounted by the real path found here, and every directory on the way to
//! it from an allowed root can be changed by nobody but the agent's user and root, and by no container
//! of another task. So no link can be swapped between this look and the mount.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use model::{
    Allows, Capability, ServiceSpec, TaskId,
    allow::{KNOWN_SOCKETS, PATHS_MAX, asked},
    spec::MountSource,
};
use thiserror::Error;

/// Labels that begin so are ours.
const RESERVED_LABELS: &str = "siso.";
/// Bits of a directory's mode that let others change it.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The only user besides the agent's own who may own a directory on the way to a bind.
const ROOT: u32 = 0;

/// Why a service is not run here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A privilege that was not allowed.
    #[error("{asks} is refused on this node; `siso-agent --allow {}` permits it", needs.as_str())]
    NotAllowed {
        /// What the service asks for.
        asks: String,
        /// What would permit it.
        needs: Capability,
    },
    /// A bind that is not below an allowed root.
    #[error("bind {path} is refused on this node; `siso-agent --allow-bind {path}` permits it")]
    BindOutside {
        /// The path as written.
        path: String,
    },
    /// A bind whose path is not a plain absolute one.
    #[error(
        "bind {path} is refused: write the plain absolute path without `..`, which also has to be \
         below one that `siso-agent --allow-bind` names"
    )]
    BindPath {
        /// The path as written.
        path: String,
    },
    /// A bind that leads out of the allowed roots through a link.
    #[error(
        "bind {path} is refused on this node: it leads to {real}; `siso-agent --allow-bind {real}` \
         permits it"
    )]
    BindLeaves {
        /// The path as written.
        path: String,
        /// Where it leads.
        real: String,
    },
    /// Others could swap a part of the path.
    #[error(
        "bind {path} is refused on this node: others can write to {directory}; let it belong to \
         root with mode 0755, or name a path below it with `siso-agent --allow-bind`"
    )]
    BindUnsafe {
        /// The path as written.
        path: String,
        /// The directory others can change.
        directory: String,
    },
    /// Another container could swap a part of the path.
    #[error(
        "bind {path} is refused on this node: task {other} has {theirs}, and whichever of the two \
         holds the other can be written to, so that links could be swapped in it; bind exactly the \
         same path in both, or paths side by side, or the outer one read-only"
    )]
    BindNested {
        /// The path as written.
        path: String,
        /// Who has the other path.
        other: TaskId,
        /// The other path.
        theirs: String,
    },
    /// A container that was made with other paths than its binds lead to now.
    #[error(
        "the container is not started again: {made} is not where its binds lead any more; \
         restart the service to make it anew"
    )]
    BindMoved {
        /// The path it was made with.
        made: String,
    },
    /// A bind of the agent's own directory.
    #[error("bind {path} is refused: it holds the agent's key, which nothing permits to mount")]
    AgentsOwn {
        /// The path as written.
        path: String,
    },
    /// A bind of something that is not there.
    #[error("bind {path} is refused: it cannot be looked at on this node ({why})")]
    BindAbsent {
        /// The path as written.
        path: String,
        /// What the system says.
        why: String,
    },
    /// A label that is ours.
    #[error("label {label} is refused: labels that begin with `siso.` are Siso's own")]
    ReservedLabel {
        /// The label.
        label: String,
    },
}

/// What was allowed when the agent was started.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// `--allow`
    pub allowed: Vec<Capability>,
    /// `--allow-bind`
    pub bind_roots: Vec<PathBuf>,
    /// The engine's socket, where it is one.
    pub socket: Option<PathBuf>,
    /// The agent's own directory.
    pub data_dir: PathBuf,
}

/// A path of this machine that another task mounts, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The task.
    pub task: TaskId,
    /// The path, as mounted or as written.
    pub path: PathBuf,
    /// Whether it may write there.
    pub writes: bool,
}

/// A service that may run, and for each of its binds the real path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permit {
    /// From the path as written to the path to mount.
    pub binds: BTreeMap<String, PathBuf>,
}

impl Policy {
    /// Whether a service may run here at all. Changes nothing.
    pub fn check(&self, spec: &ServiceSpec) -> Result<Permit, Refusal> {
        self.permit(spec, None)
    }

    /// Whether a service may run here beside these, now. Makes directories of binds that are to be
    /// made, below the allowed roots.
    pub fn check_beside(
        &self,
        spec: &ServiceSpec,
        beside: &[Neighbour],
    ) -> Result<Permit, Refusal> {
        self.permit(spec, Some(beside))
    }

    /// What the scheduler is told, so that it places nothing here that would be refused; `None` when it
    /// is too much to tell.
    pub fn told(&self) -> Option<Allows> {
        let both = |paths: &[PathBuf]| {
            let real = paths.iter().filter_map(|path| path.canonicalize().ok());
            let all = paths.iter().cloned().chain(real);
            all.filter_map(|path| path.into_os_string().into_string().ok()).collect()
        };
        let capabilities = self.allowed.iter().map(|allowed| allowed.as_str().to_owned());
        let allows = Allows {
            capabilities: capabilities.collect(),
            binds: both(&self.bind_roots),
            sockets: both(self.socket.as_slice()),
        };
        (allows.binds.len() <= PATHS_MAX).then_some(allows)
    }

    fn permit(&self, spec: &ServiceSpec, beside: Option<&[Neighbour]>) -> Result<Permit, Refusal> {
        if let Some(label) = spec.labels.keys().find(|label| label.starts_with(RESERVED_LABELS)) {
            return Err(Refusal::ReservedLabel { label: label.clone() });
        }
        for (asks, needs) in asked(&spec.privileges) {
            self.needs(needs, asks)?;
        }
        let mut binds = BTreeMap::new();
        for mount in &spec.mounts {
            if let MountSource::Bind { path, create } = &mount.source {
                let (real, missing) = self.bind(path, *create)?;
                if let Some(beside) = beside {
                    not_nested(path, (&real, !mount.read_only), beside)?;
                }
                if beside.is_some() && missing {
                    fs::create_dir_all(&real).map_err(|error| absent(path, &error))?;
                }
                binds.insert(path.clone(), real);
            }
        }
        Ok(Permit { binds })
    }

    fn needs(&self, needs: Capability, asks: String) -> Result<(), Refusal> {
        if self.allowed.contains(&needs) {
            return Ok(());
        }
        Err(Refusal::NotAllowed { asks, needs })
    }

    /// Where a bind leads, and whether a directory has to be made there.
    fn bind(&self, path: &str, create: bool) -> Result<(PathBuf, bool), Refusal> {
        let written = Path::new(path);
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !written.is_absolute() || !written.components().all(plain) || path.contains('\0') {
            return Err(Refusal::BindPath { path: path.to_owned() });
        }
        let (real, missing) = real_path(written).map_err(|error| absent(path, &error))?;
        if self.is_own(&real) {
            return Err(Refusal::AgentsOwn { path: path.to_owned() });
        }
        let sockets = self.sockets();
        if sockets.contains(&real) {
            self.needs(Capability::EngineSocket, format!("bind {path} (the engine's socket)"))?;
            return Ok((real, false));
        }
        let Some(root) = self.root_of(&real) else {
            let below = self.bind_roots.iter().any(|root| written.starts_with(root));
            let (path, real) = (path.to_owned(), real.display().to_string());
            return Err(if below {
                Refusal::BindLeaves { path, real }
            } else {
                Refusal::BindOutside { path }
            });
        };
        if sockets.iter().any(|socket| socket.starts_with(&real)) {
            self.needs(
                Capability::EngineSocket,
                format!("bind {path} (it has the engine's socket)"),
            )?;
        }
        if missing && !create {
            return Err(absent(path, &io::ErrorKind::NotFound.into()));
        }
        only_ours(&root, &real).map_err(|directory| Refusal::BindUnsafe {
            path: path.to_owned(),
            directory: directory.display().to_string(),
        })?;
        Ok((real, missing))
    }

    fn is_own(&self, real: &Path) -> bool {
        let own = self.data_dir.canonicalize().unwrap_or_else(|_| self.data_dir.clone());
        real.starts_with(&own) || own.starts_with(real) && self.root_of(real).is_some()
    }

    fn root_of(&self, real: &Path) -> Option<PathBuf> {
        let roots = self.bind_roots.iter().filter_map(|root| root.canonicalize().ok());
        roots.filter(|root| real.starts_with(root)).max_by_key(|root| root.components().count())
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let known = KNOWN_SOCKETS.iter().map(PathBuf::from).chain(self.socket.clone());
        known.map(|socket| socket.canonicalize().unwrap_or(socket)).collect()
    }
}

/// Where a path leads, and whether its end is missing: then the part that exists is resolved.
fn real_path(path: &Path) -> io::Result<(PathBuf, bool)> {
    match path.canonicalize() {
        Ok(real) => Ok((real, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link to nothing would be followed by whoever makes the directory.
            if path.is_symlink() {
                return Err(error);
            }
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(error);
            };
            real_path(parent).map(|(real, _)| (real.join(name), true))
        }
        Err(error) => Err(error),
    }
}

fn absent(path: &str, error: &io::Error) -> Refusal {
    Refusal::BindAbsent { path: path.to_owned(), why: error.to_string() }
}

impl Permit {
    /// Whether a container that was made with these paths would be made with them again: the engine
    /// looks for them anew at every start.
    pub fn still_holds<'a>(
        &self,
        made: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<(), Refusal> {
        let moved = |made: &&PathBuf| !self.binds.values().any(|real| real == *made);
        match made.into_iter().find(moved) {
            Some(made) => Err(Refusal::BindMoved { made: made.display().to_string() }),
            None => Ok(()),
        }
    }
}

/// Whether no other task can change directories on the way to this path, nor this one those of
/// another. Root in a container is root here, so owners and modes do not keep it from that.
fn not_nested(
    path: &str,
    (real, writes): (&Path, bool),
    beside: &[Neighbour],
) -> Result<(), Refusal> {
    for other in beside {
        let theirs = real_path(&other.path).map_or_else(|_| other.path.clone(), |(real, _)| real);
        let inside = other.writes && real.starts_with(&theirs);
        let around = writes && theirs.starts_with(real);
        if (inside || around) && theirs != real {
            return Err(Refusal::BindNested {
                path: path.to_owned(),
                other: other.task,
                theirs: theirs.display().to_string(),
            });
        }
    }
    Ok(())
}

/// Whether from `root` down to the parent of `real` only the agent's user and root can change
/// anything; else the first directory where others can.
fn only_ours(root: &Path, real: &Path) -> Result<(), PathBuf> {
    let us = rustix::process::geteuid().as_raw();
    let parents = real.ancestors().skip(1).take_while(|directory| directory.starts_with(root));
    for directory in parents.filter(|directory| directory.exists()) {
        let safe = fs::metadata(directory).is_ok_and(|found| {
            [ROOT, us].contains(&found.uid()) && found.mode() & WRITABLE_BY_OTHERS == 0
        });
        if !safe {
            return Err(directory.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
