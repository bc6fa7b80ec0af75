//! The power fails at any point of the log's life: of what was not synced, any part may be on the
//! disk, and none may be. What was committed before is there, the commit in flight is there whole or
//! not at all.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    disk::{Asked, write},
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
fn cut(asked: &[Asked], rng: &mut StdRng) -> Vec<u8> {
    let synced =
        asked.iter().rposition(|asked| matches!(asked, Asked::Sync)).map_or(0, |at| at + 1);
    let chance = rng.random_range(0.0..=1.0);
    let mut bytes = Vec::new();
    for (number, asked) in asked.iter().enumerate() {
        match asked {
            Asked::Sync => {}
            Asked::Length(length) => bytes.resize(*length, 0),
            Asked::Write(offset, data) if number < synced => write(&mut bytes, *offset, data),
            Asked::Write(offset, data) => {
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    if rng.random_bool(chance) {
                        write(&mut bytes, offset + number * SECTOR, sector);
                    }
                }
            }
        }
    }
    bytes
}

#[test]
fn a_power_cut_at_any_point_keeps_every_commit_and_no_half_of_one() {
    let small = Small::new();
    let (asked, history) = (small.disk.asked(), &small.history);
    let ways = std::env::var(WAYS_VARIABLE).map_or(WAYS, |ways| ways.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    for point in history[0].asked..=asked.len() {
        let before = history.iter().rposition(|committed| committed.asked <= point).unwrap();
        let (done, doing) = (&history[before], history.get(before + 1));
        for way in 0..ways {
            let seed = point as u64 * 1_000_003 + way;
            let image = cut(&asked[..point], &mut StdRng::seed_from_u64(seed));
            let mark = no_mark_in(directory.path());
            let lowered = doing.map_or(done.promised, |doing| Promised {
                entries: done.promised.entries.min(doing.promised.entries),
                ..done.promised
            });
            let said = open(image, mark, lowered);
            let said = said.unwrap_or_else(|error| panic!("point {point}, way {way}: {error}"));
            let right = said == done.said || doing.is_some_and(|doing| said == doing.said);
            assert!(right, "point {point}, way {way}: {said:?}, not {:?}", done.said);
        }
    }
}
