//! The power fails at any point of the log's life: of what was not synced, any part may be on the
//! disk, and none may be; segments that were made may not be there, or that were removed be back, until
//! their directory is synced; of the mark any state since its last sync. What was committed before is there,
//! the commit in flight is there whole or not at all.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use std::collections::BTreeMap;

use super::{
    super::planted::{Bug, plant},
    disk::{Asked, Image, write},
    small::{Small, open},
    *,
};

/// Ways in which the power fails at each point.
const WAYS: u64 = 4;
/// For a longer look: ways per point.
const WAYS_VARIABLE: &str = "SISO_CUTS_PER_POINT";
/// What a disk writes whole.
const SECTOR: usize = 512;

/// The disk after the power failed when `asked` had been asked of it, and what the mark on it promises.
/// A name that was not synced, made or removed, may be there or not, whatever became of other names.
fn cut(asked: &[Asked], rng: &mut StdRng) -> (Image, u64) {
    let chance = rng.random_range(0.0..=1.0);
    let after_last = |is: fn(&Asked) -> bool| asked.iter().rposition(is).map_or(0, |at| at + 1);
    let names_synced = after_last(|asked| matches!(asked, Asked::SyncNames));
    let mark_synced = after_last(|asked| matches!(asked, Asked::SyncMark));
    // Names are of files; another file may get the name of one that is gone.
    let (mut files, mut live, mut names) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let (mut synced, mut promised) = (Vec::new(), 0);
    for (number, asked) in asked.iter().enumerate() {
        match asked {
            Asked::Create(base) => {
                live.insert(*base, files.len());
                if number < names_synced || rng.random_bool(0.5) {
                    names.insert(*base, files.len());
                }
                files.push(Vec::new());
                synced.push(0);
            }
            Asked::Remove(base) => {
                live.remove(base);
                if number < names_synced || rng.random_bool(0.5) {
                    names.remove(base);
                }
            }
            Asked::Write(base, ..) => files[live[base]].push(number),
            Asked::Sync(base) => synced[live[base]] = number,
            Asked::Mark(sequence) => {
                if number < mark_synced || rng.random_bool(0.5) {
                    promised = *sequence;
                }
            }
            Asked::SyncNames | Asked::SyncMark => {}
        }
    }
    let mut content = |file: usize| {
        let mut bytes = Vec::new();
        for number in &files[file] {
            let Asked::Write(_, offset, data) = &asked[*number] else { continue };
            for (sector, part) in data.chunks(SECTOR).enumerate() {
                if *number < synced[file] || rng.random_bool(chance) {
                    write(&mut bytes, offset + sector * SECTOR, part);
                }
            }
        }
        bytes
    };
    let image = names.into_iter().map(|(base, file)| (base, content(file))).collect();
    (image, promised)
}

/// What a power cut at any point costs this log, of so many ways at each.
fn first_loss(small: &Small, ways: u64) -> Option<String> {
    let (asked, history) = (small.notes.asked(), &small.history);
    let directory = tempfile::tempdir().unwrap();
    for point in history[0].asked..=asked.len() {
        let before = history.iter().rposition(|committed| committed.asked <= point).unwrap();
        let (done, doing) = (&history[before], history.get(before + 1));
        for way in 0..ways {
            let seed = point as u64 * 1_000_003 + way;
            let (image, promised) = cut(&asked[..point], &mut StdRng::seed_from_u64(seed));
            let said = match open(directory.path(), &image, promised) {
                Ok(said) => said,
                Err(error) => return Some(format!("point {point}, way {way}: {error}")),
            };
            if said != done.said && doing.is_none_or(|doing| said != doing.said) {
                return Some(format!("point {point}, way {way}: {said:?}, not {:?}", done.said));
            }
        }
    }
    None
}

#[test]
fn a_power_cut_at_any_point_keeps_every_commit_and_no_half_of_one() {
    let small = Small::new();
    let asked = small.notes.asked();
    assert!(asked.iter().any(|asked| matches!(asked, Asked::Remove(_))), "segments come and go");
    let ways = std::env::var(WAYS_VARIABLE).map_or(WAYS, |ways| ways.parse().unwrap());
    assert_eq!(first_loss(&small, ways), None);
}

/// The check is checked: each of these is one line in the store.
#[test]
fn a_power_cut_shows_every_planted_bug() {
    for bug in [Bug::SyncedLate, Bug::NeverSynced, Bug::DirectoryNotSynced, Bug::MarkFirst] {
        plant(Some(bug));
        let small = Small::new();
        plant(None);
        let loss = first_loss(&small, WAYS);
        let loss = loss.unwrap_or_else(|| panic!("no power cut shows {bug:?}"));
        let refused = bug == Bug::MarkFirst;
        assert_eq!(loss.contains("was acknowledged"), refused, "{bug:?}: {loss}");
    }
}

/// What is left of a commit that was cut off must not come back to life behind a later one.
#[test]
fn a_log_goes_on_after_any_power_cut() {
    let small = Small::new();
    let asked = small.notes.asked();
    let directory = tempfile::tempdir().unwrap();
    for point in (0..=asked.len()).step_by(3) {
        let (image, promised) = cut(&asked[..point], &mut StdRng::seed_from_u64(point as u64));
        let mut again = Small::on(directory.path(), &image, promised).unwrap();
        for term in 100..103 {
            again.vote(Vote::new(term, 1));
        }
        let left = again.last();
        drop(again);
        let image = disk::image(directory.path());
        let said = open(directory.path(), &image, left.sequence);
        assert_eq!(said.unwrap(), left.said, "point {point}");
    }
}
