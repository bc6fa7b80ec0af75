//! Images that this agent fetched: when the disk fills, those go that nothing here needs any more, the one
//! that was fetched longest ago first. Whatever others brought is left alone.
//!
//! The file `images` has a line for each, the oldest first: the engine's id and the name it was fetched by.
//! Losing it costs room and nothing else.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{Bytes, story};
use tokio::time::sleep;

use crate::{
    board::Board,
    file,
    runtime::{Runtime, RuntimeError},
};

const FILE: &str = "images";
/// Images that are remembered; the oldest are forgotten first.
const IMAGES_MAX: usize = 500;
/// A name takes a few hundred bytes.
const FILE_BYTES: u64 = 1 << 20;
/// Between two looks at the disk.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Less free than this, and images go: a fifth of the disk, of a large one 50 GiB.
const BEGIN: Least = Least { percent: 20, most: Bytes::gib(50) };
/// As much free, and no more have to go.
const END: Least = Least { percent: 30, most: Bytes::gib(75) };

/// What should be free of a disk.
#[derive(Debug, Clone, Copy)]
struct Least {
    percent: u64,
    most: Bytes,
}

impl Least {
    /// Whether less is free; never where the disk cannot be seen.
    fn is_undercut(self, (size, free): (Bytes, Bytes)) -> bool {
        let part = (size.0 / 100).saturating_mul(self.percent);
        size > Bytes::ZERO && free.0 < part.min(self.most.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Image {
    id: String,
    name: String,
}

/// What this agent fetched, in memory and on disk.
#[derive(Debug)]
pub struct Fetched {
    path: PathBuf,
    images: Mutex<Vec<Image>>,
}

impl Fetched {
    /// What the directory's file holds; nothing where it cannot be read.
    pub fn load(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let text = file::read(&path, FILE_BYTES).unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known which images were fetched");
            None
        });
        let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
        let image = |line: &str| {
            let (id, name) = line.split_once(' ')?;
            let (id, name) = (id.to_owned(), name.to_owned());
            (id.starts_with("sha256:") && !name.is_empty()).then_some(Image { id, name })
        };
        let images = text.lines().filter_map(image).collect();
        Self { path, images: Mutex::new(images) }
    }

    /// An image was fetched.
    pub fn add(&self, id: &str, name: &str) -> io::Result<()> {
        self.change(|images| {
            images.retain(|held| held.id != id);
            images.push(Image { id: id.to_owned(), name: name.to_owned() });
            let over = images.len().saturating_sub(IMAGES_MAX);
            images.drain(..over);
        })
    }

    fn forget(&self, id: &str) -> io::Result<()> {
        self.change(|images| images.retain(|held| held.id != id))
    }

    /// Writes while it is locked: two at a time would leave the older list.
    fn change(&self, change: impl FnOnce(&mut Vec<Image>)) -> io::Result<()> {
        let mut images = self.lock();
        change(&mut images);
        let mut lines = Vec::new();
        for Image { id, name } in &*images {
            writeln!(lines, "{id} {name}")?;
        }
        file::replace(&self.path, &lines)
    }

    fn all(&self) -> Vec<Image> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Image>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the disk now and then.
#[derive(Debug)]
pub struct Sweeper<R> {
    /// The engine.
    pub runtime: Arc<R>,
    /// What is assigned.
    pub board: Arc<Board>,
    /// What may go.
    pub fetched: Arc<Fetched>,
}

impl<R: Runtime> Sweeper<R> {
    /// Looks for ever.
    pub async fn run(self) {
        loop {
            sleep(LOOK_EVERY).await;
            if let Err(error) = self.sweep().await {
                tracing::debug!(why = story(&error), "images are looked at later");
            }
        }
    }

    /// Removes images while the disk is too full. What a container was made from the engine keeps; what is
    /// assigned and has no container yet is told apart by its name.
    async fn sweep(&self) -> Result<(), RuntimeError> {
        let fetched = self.fetched.all();
        let Some(assigned) = self.board.images().filter(|_| !fetched.is_empty()) else {
            return Ok(());
        };
        if !BEGIN.is_undercut(self.runtime.disk().await?) {
            return Ok(());
        }
        let mut needed = BTreeSet::new();
        for name in &assigned {
            needed.extend(self.runtime.image_id(name).await?);
        }
        for Image { id, name } in fetched.into_iter().filter(|held| !needed.contains(&held.id)) {
            if !self.runtime.remove_image(&id).await? {
                continue;
            }
            tracing::info!(
                image = name,
                id,
                "removed: the disk is filling and nothing here needs it"
            );
            let fetched = Arc::clone(&self.fetched);
            let forgotten = tokio::task::spawn_blocking(move || fetched.forget(&id)).await;
            if let Err(error) = forgotten.map_err(io::Error::other).flatten() {
                tracing::warn!(%error, "which images were fetched cannot be written");
            }
            if !END.is_undercut(self.runtime.disk().await?) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
