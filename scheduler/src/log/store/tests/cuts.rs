//! The power fails at any point of the log's life: of what was not synced, any part may be on the
//! disk, and none may be; segments that were removed may be back. What was committed before is there,
//! the commit in flight is there whole or not at all.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
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

/// The disk after the power failed when `asked` had been asked of it.
fn cut(asked: &[Asked], rng: &mut StdRng) -> Image {
    let synced =
        asked.iter().rposition(|asked| matches!(asked, Asked::Sync)).map_or(0, |at| at + 1);
    let chance = rng.random_range(0.0..=1.0);
    let mut image = Image::new();
    for (number, asked) in asked.iter().enumerate() {
        match asked {
            Asked::Sync => {}
            Asked::Create(base) => drop(image.insert(*base, Vec::new())),
            // Nobody waits for the directory then.
            Asked::Remove(base) => {
                if rng.random_bool(0.5) {
                    image.remove(base);
                }
            }
            Asked::Write(base, offset, data) => {
                let bytes = image.entry(*base).or_default();
                for (sector, part) in data.chunks(SECTOR).enumerate() {
                    if number < synced || rng.random_bool(chance) {
                        write(bytes, offset + sector * SECTOR, part);
                    }
                }
            }
        }
    }
    image
}

#[test]
fn a_power_cut_at_any_point_keeps_every_commit_and_no_half_of_one() {
    let small = Small::new();
    let (asked, history) = (small.notes.asked(), &small.history);
    assert!(asked.iter().any(|asked| matches!(asked, Asked::Remove(_))), "segments come and go");
    let ways = std::env::var(WAYS_VARIABLE).map_or(WAYS, |ways| ways.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    for point in 0..=asked.len() {
        let before = history.iter().rposition(|committed| committed.asked <= point).unwrap();
        let (done, doing) = (&history[before], history.get(before + 1));
        for way in 0..ways {
            let seed = point as u64 * 1_000_003 + way;
            let image = cut(&asked[..point], &mut StdRng::seed_from_u64(seed));
            let said = open(directory.path(), &image, done.sequence);
            let said = said.unwrap_or_else(|error| panic!("point {point}, way {way}: {error}"));
            let right = said == done.said || doing.is_some_and(|doing| said == doing.said);
            assert!(right, "point {point}, way {way}: {said:?}, not {:?}", done.said);
        }
    }
}

/// What is left of a commit that was cut off must not come back to life behind a later one.
#[test]
fn a_log_goes_on_after_any_power_cut() {
    let small = Small::new();
    let (asked, history) = (small.notes.asked(), &small.history);
    let directory = tempfile::tempdir().unwrap();
    for point in (0..=asked.len()).step_by(3) {
        let done = history.iter().rfind(|committed| committed.asked <= point).unwrap();
        let image = cut(&asked[..point], &mut StdRng::seed_from_u64(point as u64));
        let mut again = Small::on(directory.path(), &image, done.sequence).unwrap();
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
