mod cuts;
mod damage;
mod disk;
mod small;

use super::*;

use disk::Disk;

/// A mark that promises nothing, in a directory of its own.
fn no_mark() -> Mark {
    no_mark_in(tempfile::tempdir().unwrap().path())
}

fn no_mark_in(directory: &Path) -> Mark {
    Mark::open(&directory.join("log.mark")).unwrap().0
}

async fn vote(store: &Store, term: u64) -> io::Result<()> {
    let (done, written) = oneshot::channel();
    store.submit(Job::Vote { vote: Vote::new(term, 1), done }).await?;
    written.await.map_err(io::Error::other)?
}

/// A retry is the trap: a disk that fails one sync would take all later ones.
#[tokio::test]
async fn after_one_failed_sync_nothing_is_written_any_more() {
    let disk = Disk::default();
    let database = redb::Builder::new().create_with_backend(disk.clone()).unwrap();
    let (store, _, writer) = Store::on(database, no_mark(), Promised::default()).unwrap();
    let thread = writer.start(Box::new(|_, _, _| ())).unwrap();
    vote(&store, 1).await.unwrap();
    disk.fail_next_sync();
    for term in 2..5 {
        assert!(vote(&store, term).await.is_err(), "term {term}");
    }
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap();
}

#[test]
fn a_log_whose_making_was_cut_off_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.redb");
    fs::write(path.with_extension("new"), [0; 4096]).unwrap();
    let (store, contents, _) = Store::open(&path).unwrap();
    assert!(contents.is_empty());
    drop(store);
    // One that was emptied is no new one.
    fs::write(&path, b"").unwrap();
    assert!(Store::open(&path).is_err());
}

#[test]
fn a_log_without_what_the_mark_promises_is_refused() {
    let promised = |entries, term| Promised { entries, term };
    let held = promised(8, 3);
    for fine in [promised(0, 0), promised(8, 3), promised(7, 2)] {
        keeps(fine, held).unwrap();
    }
    for (lost, says) in [
        (promised(9, 3), "9 entries were acknowledged, 8 are left"),
        (promised(8, 4), "a vote of term 4 was given, one of term 3 is left"),
    ] {
        let refused = keeps(lost, held).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}
