use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use model::{RequestId, Timestamp, token::Role};
use openraft::{
    EntryPayload, RaftLogReader as _, StorageError,
    entry::RaftEntry as _,
    storage::{IOFlushed, RaftLogStorage as _},
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt as _,
    vote::RaftLeaderId as _,
};
use scheduler_core::{Command, Outcome};
use tempfile::TempDir;

use super::{
    ELECTION_LAN, ENTRY_VERSION, LogError, LogSettings, Peers, RaftLog, ReplicatedLog, Standing,
    snapshots::SnapshotFiles,
    state_machine::StateMachine,
    storage::LogStorage,
    store::{SEGMENT_BYTES, Store},
    types::{LogId, Payload, RaftEntry, Types},
};

/// With the thread that writes it, which ends when the storage is gone.
fn open_storage(directory: &Path) -> Result<(LogStorage, thread::JoinHandle<()>), LogError> {
    let (store, contents, writer) = Store::open(directory, SEGMENT_BYTES)?;
    let storage = LogStorage::new(store, contents);
    let made_durable = storage.made_durable();
    let observe = move |_, _, last: Option<u64>| {
        if let Some(last) = last {
            made_durable(last);
        }
    };
    let thread = writer.start(Box::new(observe)).unwrap();
    Ok((storage, thread))
}

struct InDirectories;

impl StoreBuilder<Types, LogStorage, StateMachine, TempDir> for InDirectories {
    async fn build(&self) -> Result<(TempDir, LogStorage, StateMachine), StorageError<Types>> {
        let directory = tempfile::tempdir().unwrap();
        let (storage, _) = open_storage(directory.path()).unwrap();
        let files = SnapshotFiles::open(directory.path().join("snapshots"), ENTRY_VERSION).unwrap();
        Ok((directory, storage, StateMachine::new(files, ENTRY_VERSION, None)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_keeps_what_consensus_relies_on() {
    Suite::test_all(InDirectories).await.unwrap();
}

fn id(index: u64) -> LogId {
    LogId::new(openraft::alias::LeaderIdOf::<Types>::new(1, 0).to_committed(), index)
}

fn entry(index: u64, bytes: usize) -> RaftEntry {
    let payload = Payload(Bytes::from(vec![u8::try_from(index % 251).unwrap(); bytes]));
    RaftEntry::new(id(index), EntryPayload::Normal(payload))
}

async fn append(storage: &mut LogStorage, entries: Vec<RaftEntry>) {
    let (done, flushed) = Types::oneshot();
    storage.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_flushed_is_there_after_reopening_however_large() {
    let directory = tempfile::tempdir().unwrap();
    let entries: Vec<_> = (0..40).map(|index| entry(index, 300_000)).collect();
    let (mut storage, thread) = open_storage(directory.path()).unwrap();
    for part in entries.chunks(5) {
        append(&mut storage, part.to_vec()).await;
    }
    // More than the tail holds: the first come from the disk, the last from memory.
    assert_eq!(storage.try_get_log_entries(..).await.unwrap(), entries);
    assert_eq!(storage.try_get_log_entries(3..=30).await.unwrap(), entries[3..=30]);
    drop(storage);
    thread.join().unwrap();
    let (mut storage, thread) = open_storage(directory.path()).unwrap();
    assert_eq!(storage.try_get_log_entries(..).await.unwrap(), entries);
    let segments = || fs::read_dir(directory.path().join("segments")).unwrap().count();
    let before = segments();
    storage.truncate_after(Some(id(29))).await.unwrap();
    storage.purge(id(19)).await.unwrap();
    assert!(segments() < before, "{before} segments");
    assert_eq!(storage.try_get_log_entries(..).await.unwrap(), entries[20..30]);
    drop(storage);
    thread.join().unwrap();
    let (mut storage, _) = open_storage(directory.path()).unwrap();
    let state = storage.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(19)), Some(id(29))));
    assert_eq!(storage.try_get_log_entries(..).await.unwrap(), entries[20..30]);
}

async fn open_log(directory: &Path) -> Result<RaftLog, LogError> {
    let settings = LogSettings {
        directory: directory.to_owned(),
        id: 1,
        election: ELECTION_LAN,
        snapshot_every: 10,
        segment_bytes: SEGMENT_BYTES,
        form: ENTRY_VERSION,
    };
    RaftLog::open(&settings, Peers::none(), |_, _| ()).await
}

/// A log that has been founded and leads.
async fn lead(directory: &Path) -> RaftLog {
    let log = open_log(directory).await.unwrap();
    log.found("127.0.0.1:7400").await.unwrap();
    log.standing().wait_for(Standing::leads).await.unwrap();
    log.barrier().await.unwrap();
    log
}

async fn add_token(log: &RaftLog, number: u8) -> Outcome {
    let (secret_hash, expires_at) = ([number; 32], Timestamp(u64::MAX / 2));
    let command = Command::CreateToken { role: Role::Node, secret_hash, expires_at };
    log.propose(Some(RequestId(number.into())), command).await.unwrap().result.unwrap()
}

fn snapshots(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory.join("snapshots")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().unwrap() == "snapshot").collect();
    paths.sort();
    paths
}

/// Founds a cluster and writes `tokens` tokens, with snapshots on the way.
async fn with_tokens(directory: &Path, tokens: u8) {
    let log = lead(directory).await;
    let command = Command::Found { id: "ab".repeat(16), name: "home".to_owned() };
    log.propose(None, command).await.unwrap().result.unwrap();
    for number in 0..tokens {
        add_token(&log, number).await;
    }
    log.stop().await;
}

#[tokio::test]
async fn writes_wake_nobody_who_waits_for_a_change_of_role() {
    let directory = tempfile::tempdir().unwrap();
    let log = lead(directory.path()).await;
    let mut standing = log.standing();
    let before = standing.borrow_and_update().applied;
    for number in 0..20 {
        add_token(&log, number).await;
    }
    // Counts are there for whoever looks, soon after the write.
    while standing.borrow().applied < before + 20 {
        tokio::task::yield_now().await;
    }
    assert!(!standing.has_changed().unwrap(), "{:?}", standing.borrow());
    log.stop().await;
}

async fn tokens(directory: &Path) -> usize {
    let log = lead(directory).await;
    let count = log.cluster().tokens().len();
    log.stop().await;
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_everything_and_a_repeated_request_answers_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let log = lead(directory.path()).await;
    assert!(log.was_empty());
    let first = add_token(&log, 1).await;
    assert_eq!(add_token(&log, 1).await, first);
    let revision = log.cluster().revision();
    log.stop().await;
    let log = lead(directory.path()).await;
    assert!(!log.was_empty());
    assert_eq!(add_token(&log, 1).await, first);
    assert_eq!(log.cluster().revision(), revision);
    assert_ne!(add_token(&log, 2).await, first);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_come_together_are_all_done_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(lead(directory.path()).await);
    let writes = (0..64).map(|number| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { add_token(&log, number).await })
    });
    let answers = futures::future::join_all(writes.collect::<Vec<_>>()).await;
    let mut ids: Vec<_> =
        answers.into_iter().map(|answer| format!("{:?}", answer.unwrap())).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 64);
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_passed_over_for_the_one_before_and_the_log_makes_up_for_it() {
    let damage: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.clear(),
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        },
    ];
    for change in damage {
        let directory = tempfile::tempdir().unwrap();
        with_tokens(directory.path(), 60).await;
        let files = snapshots(directory.path());
        assert_eq!(files.len(), 2, "{files:?}");
        let newest = files.last().unwrap();
        let mut bytes = fs::read(newest).unwrap();
        change(&mut bytes);
        fs::write(newest, bytes).unwrap();
        assert_eq!(tokens(directory.path()).await, 60);
        assert!(!newest.exists() || snapshots(directory.path()).len() == 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_every_snapshot_damaged_or_gone_it_refuses_to_start() {
    let directory = tempfile::tempdir().unwrap();
    with_tokens(directory.path(), 60).await;
    let files = snapshots(directory.path());
    let whole: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    for path in &files {
        fs::write(path, b"sisosnap").unwrap();
    }
    let refused = open_log(directory.path()).await.unwrap_err();
    assert!(matches!(refused, LogError::NoWholeSnapshot { .. }), "{refused}");
    for path in &files {
        fs::remove_file(path).unwrap();
    }
    let refused = open_log(directory.path()).await.unwrap_err();
    assert!(matches!(refused, LogError::Gap { .. }), "{refused}");
    for (path, bytes) in files.iter().zip(whole) {
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(tokens(directory.path()).await, 60);
}
