//! The one place that calls `apply`: folds the log into the [`Cluster`] and answers who proposed.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use model::Revision;
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    alias::SnapshotOf,
    entry::RaftEntry as _,
    storage::{EntryResponder, RaftStateMachine},
};
use parking_lot::RwLock;
use scheduler_core::{Applied, Cluster};
use tokio::sync::watch;

use super::{
    LogError, codec, room,
    snapshots::{self, Loaded, SnapshotFiles},
    types::{LogId, Payload, RaftEntry, SnapshotMeta, StoredMembership, Types},
};

/// A snapshot on its way: the bytes of its file.
pub(super) type SnapshotBytes = Bytes;

/// The cluster as this replica knows it, and how far into the log that is.
#[derive(Default)]
pub(super) struct State {
    pub(super) cluster: Cluster,
    pub(super) applied: Option<LogId>,
    membership: StoredMembership,
}

/// Between two looks whether a snapshot has room.
const ROOM_LOOK_EVERY: Duration = Duration::from_secs(5);

/// Applies the log. Clones share the state.
#[derive(Clone)]
pub(crate) struct StateMachine {
    state: Arc<RwLock<State>>,
    files: SnapshotFiles,
    /// The highest form of entries that is read.
    known: u32,
    revision: Arc<watch::Sender<Revision>>,
}

impl StateMachine {
    pub(super) fn new(files: SnapshotFiles, known: u32, loaded: Option<Loaded>) -> Self {
        let state = loaded.map_or_else(State::default, |Loaded { meta, cluster }| State {
            cluster,
            applied: meta.last_log_id,
            membership: meta.last_membership,
        });
        let (revision, _) = watch::channel(state.cluster.revision());
        let state = Arc::new(RwLock::new(state));
        Self { state, files, known, revision: Arc::new(revision) }
    }

    pub(super) fn state(&self) -> Arc<RwLock<State>> {
        Arc::clone(&self.state)
    }

    /// Writes what the cluster is now; or not, for want of room: below `least` bytes it is not even made.
    fn snapshot_if_there_is_room(
        &self,
        least: u64,
    ) -> io::Result<Result<SnapshotOf<Types, Bytes>, LogError>> {
        if let Err(full) = room::check(self.files.directory(), least) {
            return Ok(Err(full));
        }
        let (meta, bytes) = {
            let state = self.state.read();
            let meta = SnapshotMeta {
                last_log_id: state.applied,
                last_membership: state.membership.clone(),
            };
            let bytes = snapshots::encode(&meta, &state.cluster);
            (meta, bytes)
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Err(full) = room::check(self.files.directory(), room::least_for_snapshot(size)) {
            return Ok(Err(full));
        }
        self.files.adopt(&meta, &bytes)?;
        Ok(Ok(SnapshotOf::<Types, Bytes> { meta, snapshot: bytes }))
    }

    pub(super) fn revision(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Folds one entry. An entry that cannot be read was written by a newer version or is damaged
    /// beyond its checksums: this replica must not go on without it.
    fn fold(&self, entry: &RaftEntry) -> io::Result<Option<Applied>> {
        // Read before the cluster is locked: whoever asks meanwhile has an answer.
        let command = match &entry.payload {
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
            EntryPayload::Normal(Payload(bytes)) => {
                Some(codec::decode_entry_up_to(bytes, self.known).map_err(|cause| {
                    let text = format!("entry {} cannot be read: {cause}", entry.index());
                    tracing::error!(index = entry.index(), %cause, "an entry cannot be read");
                    io::Error::new(io::ErrorKind::InvalidData, text)
                })?)
            }
        };
        let mut state = self.state.write();
        if let EntryPayload::Membership(membership) = &entry.payload {
            state.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
        }
        let answer = command.map(|command| state.cluster.apply(&command));
        state.applied = Some(entry.log_id);
        let revision = state.cluster.revision();
        drop(state);
        self.revision.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        Ok(answer)
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotBytes;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.state.read();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = self.fold(&entry)?;
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, bytes: Bytes) -> io::Result<()> {
        let (files, of) = (self.files.clone(), meta.clone());
        // Away from the threads that serve: heartbeats must not wait for it.
        let adopted = tokio::task::spawn_blocking(move || files.adopt(&of, &bytes)).await;
        let cluster = adopted.map_err(io::Error::other)??;
        let revision = cluster.revision();
        *self.state.write() =
            State { cluster, applied: meta.last_log_id, membership: meta.last_membership.clone() };
        self.revision.send_replace(revision);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, Bytes>>> {
        let newest = self.files.newest_bytes()?;
        Ok(newest.map(|(meta, snapshot)| SnapshotOf::<Types, Bytes> { meta, snapshot }))
    }
}

impl RaftSnapshotBuilder<Types> for StateMachine {
    type SnapshotData = SnapshotBytes;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, Bytes>> {
        let (mut told, mut known) = (false, 0);
        loop {
            let (this, least) = (self.clone(), known);
            let build = tokio::task::spawn_blocking(move || this.snapshot_if_there_is_room(least));
            match build.await.map_err(io::Error::other)?? {
                Ok(snapshot) => return Ok(snapshot),
                // One that fails ends the process; the log needs none until there is room.
                Err(full) => {
                    if let LogError::DiskFull { least, .. } = &full {
                        known = *least;
                    }
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%full, "no snapshot is made");
                    }
                }
            }
            tokio::time::sleep(ROOM_LOOK_EVERY).await;
        }
    }
}
