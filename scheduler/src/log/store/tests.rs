mod cuts;
mod damage;
mod disk;
mod small;

use std::{
    fs::{self, File},
    path::PathBuf,
};

use openraft::{entry::RaftEntry as _, type_config::TypeConfigExt as _};
use parking_lot::Mutex;

use super::*;

use disk::Disk;

/// A mark that promises nothing, in a directory of its own.
fn no_mark() -> Mark {
    Mark::open(&tempfile::tempdir().unwrap().path().join("mark")).unwrap().0
}

async fn vote(store: &Store, term: u64) -> io::Result<()> {
    let (done, written) = oneshot::channel();
    store.submit(Job::Vote { vote: Vote::new(term, 1), done }).await?;
    written.await.map_err(io::Error::other)?
}

/// A retry is the trap: a disk that fails one sync would take all later ones.
#[tokio::test]
async fn after_one_failed_sync_nothing_is_written_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(directory.path());
    let notes = disk.notes();
    let (store, _, writer) = Store::on(disk, SEGMENT_BYTES, no_mark(), 0).unwrap();
    let thread = writer.start(Box::new(|_, _, _| ())).unwrap();
    vote(&store, 1).await.unwrap();
    notes.fail_next_sync();
    for term in 2..5 {
        assert!(vote(&store, term).await.is_err(), "term {term}");
    }
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn however_many_segments_a_few_are_open_and_what_is_purged_meanwhile_is_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, mut writer) = Store::on(Disk::new(directory.path()), 1, no_mark(), 0).unwrap();
    let small = small::Small::new().last().said;
    for entry in &small.entries {
        let records = vec![(entry.index(), record::encode_entry(entry))];
        let (done, _) = Types::oneshot();
        writer.segments.commit(&[Job::Append { records, done: IOFlushed::signal(done) }]).unwrap();
    }
    assert_eq!(store.entries(&(0..=u64::MAX)).unwrap(), small.entries);
    assert_eq!(store.files.count(), opened::OPEN_MAX.min(small.entries.len()));
    let last = small.entries.last().unwrap();
    let places = store.index.read().range(&(0..=u64::MAX));
    let (done, _) = oneshot::channel();
    writer.segments.commit(&[Job::Purge { upto: last.log_id, done }]).unwrap();
    // Looked up before, read after: gone from the index as well, so nothing is wrong.
    for (index, place) in places {
        let read = store.read(index, place).unwrap();
        assert!(read.is_none() || index == last.index(), "{index}");
    }
}

#[test]
fn a_log_of_before_the_first_release_is_refused_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let earlier = directory.path().join(EARLIER);
    fs::write(&earlier, b"redb").unwrap();
    let Err(refused) = Store::open(directory.path(), SEGMENT_BYTES) else { panic!("it is opened") };
    let LogError::Open { cause, .. } = refused else { panic!("{refused}") };
    assert!(cause.to_string().contains("found a new cluster in an empty directory"), "{cause}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_hole_in_the_log_is_refused_before_it_is_written() {
    let mut small = small::Small::new();
    let before = small.last();
    let (done, _) = Types::oneshot();
    let records = vec![(40, vec![0])];
    let hole = Job::Append { records, done: IOFlushed::signal(done) };
    assert!(small.try_commit(&[hole]).is_err());
    assert_eq!(small.image(), before.image);
}

#[test]
fn large_jobs_are_committed_apart_and_small_ones_together() {
    let job = |bytes| {
        let (done, _) = Types::oneshot();
        let done = IOFlushed::signal(done);
        Job::Append { records: vec![(1, vec![0; bytes])], done }
    };
    let counts = |sizes: &[usize]| {
        let jobs: Vec<_> = sizes.iter().map(|bytes| job(*bytes)).collect();
        in_one_commit(&jobs)
    };
    assert_eq!(counts(&[1, 2, 3]), 3);
    assert_eq!(counts(&[2 * COMMIT_BYTES, 1]), 1);
    assert_eq!(counts(&[1, COMMIT_BYTES, 1]), 2);
}
