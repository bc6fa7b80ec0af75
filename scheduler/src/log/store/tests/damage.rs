//! Damage to the log's files: a bit that flipped anywhere, an end that is missing, a segment that is
//! gone. Whatever it is, the log is refused, or it says exactly what it said before.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    disk::Image,
    small::{Committed, Small, open},
    *,
};

/// Every bit instead of one of every byte, at every moment of a log's life: minutes instead of seconds.
const EVERY_BIT: &str = "SISO_EVERY_BIT";
/// Bytes between two that are damaged, where it is done at every moment. Primes, so that every field of the
/// files' regular structures has its turn somewhere.
const STRIDE: usize = 31;
const NEAR: usize = 19;
const THREADS: usize = 2;

/// Opens each damaged image on a few threads; how many were refused, and what was wrong with which.
fn wrong(
    images: usize,
    expected: &Committed,
    damaged: impl Fn(usize) -> (String, Image) + Sync,
) -> (usize, Vec<String>) {
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let directory = tempfile::tempdir().unwrap();
        let mut wrong = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= images {
                return wrong;
            }
            let (what, image) = damaged(number);
            let open = || open(directory.path(), &image, expected.sequence);
            match catch_unwind(AssertUnwindSafe(open)) {
                Ok(Ok(said)) if said == expected.said => {}
                Ok(Ok(said)) => wrong.push(format!("{what}: {:?} is served", said.last)),
                Ok(Err(_)) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                Err(_) => wrong.push(format!("{what}: it panicked")),
            }
        }
    };
    let wrong = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (refused.into_inner(), wrong)
}

/// How much of a segment is written, as far as can be seen: a record may begin or end with zeros.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Every place worth damaging: of which segment, which byte.
fn places(image: &Image) -> Vec<(u64, usize)> {
    // Of the zeros behind a segment's end a few: they are all alike.
    let of = |(base, bytes): (&u64, &Vec<u8>)| {
        let base = *base;
        (0..bytes.len().min(used(bytes) + 64)).map(move |at| (base, at))
    };
    image.iter().flat_map(of).collect()
}

#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let small = Small::new();
    let (image, last) = (small.image(), small.last());
    let places = places(&image);
    let flips = if every() { 8 } else { 1 };
    let (refused, wrong) = wrong(places.len() * flips, &last, |number| {
        let (base, at) = places[number / flips];
        let bit = (number % flips + at) % 8;
        let mut image = image.clone();
        image.get_mut(&base).unwrap()[at] ^= 1 << bit;
        (format!("bit {bit} of byte {at} of {base}"), image)
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Else it looked at files without anything in them.
    assert!(refused > places.len() * flips / 2, "{refused} of {} were refused", places.len());
}

/// At every moment of its life, one right after a new segment began included: with nothing in it but a
/// vote or a purge mark, what is lost before it must be missed all the same.
#[test]
fn damage_is_found_whatever_was_written_last() {
    let small = Small::new();
    for expected in small.history.iter().skip(1) {
        let image = &expected.image;
        let bases: Vec<_> = image.keys().copied().collect();
        let (_, found) = wrong(bases.len(), expected, |number| {
            let mut image = image.clone();
            image.remove(&bases[number]);
            (format!("at {} without {}", expected.sequence, bases[number]), image)
        });
        assert!(found.is_empty(), "{}", found.join("\n"));
        let places: Vec<_> =
            places(image).into_iter().step_by(if every() { 1 } else { STRIDE }).collect();
        let (_, found) = wrong(places.len(), expected, |number| {
            let (base, at) = places[number];
            let mut image = image.clone();
            image.get_mut(&base).unwrap()[at] ^= 1 << (at % 8);
            (format!("at {}, byte {at} of {base}", expected.sequence), image)
        });
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// The mark of the newest commit may not be on the disk yet when the power fails. Then damage to that
/// commit is taken for a write that never ended; damage to any other is found as ever.
#[test]
fn without_its_mark_damage_costs_the_newest_commit_at_most() {
    let small = Small::new();
    let directory = tempfile::tempdir().unwrap();
    let mut lost = 0;
    for (before, after) in small.history.iter().zip(&small.history[1..]) {
        for (base, at) in places(&after.image).into_iter().step_by(if every() { 1 } else { NEAR }) {
            let mut image = after.image.clone();
            image.get_mut(&base).unwrap()[at] ^= 1 << (at % 8);
            let what = format!("commit {}, byte {at} of {base}", after.sequence);
            match open(directory.path(), &image, before.sequence) {
                Ok(said) if said == after.said => {}
                Ok(said) => {
                    let within = at >= before.image.get(&base).map_or(0, |bytes| used(bytes));
                    assert!(within && said == before.said, "{what}: {:?} is served", said.last);
                    lost += 1;
                }
                Err(_) => {}
            }
        }
    }
    assert!(lost > 0, "it never was the newest commit");
}

#[test]
fn a_segment_cut_off_anywhere_is_refused_or_says_the_same() {
    let small = Small::new();
    let (image, last) = (small.image(), small.last());
    let places = places(&image);
    let (refused, wrong) = wrong(places.len(), &last, |number| {
        let (base, at) = places[number];
        let mut image = image.clone();
        image.get_mut(&base).unwrap().truncate(at);
        (format!("{base} cut off after {at}"), image)
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused > places.len() / 2, "{refused} of {} were refused", places.len());
}

#[test]
fn a_log_without_one_of_its_segments_is_refused() {
    let small = Small::new();
    let (image, last) = (small.image(), small.last());
    let bases: Vec<_> = image.keys().copied().collect();
    assert!(bases.len() > 2, "{bases:?}");
    let (refused, wrong) = wrong(bases.len(), &last, |number| {
        let mut image = image.clone();
        image.remove(&bases[number]);
        (format!("without {}", bases[number]), image)
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(refused, bases.len());
}

/// A segment is made before its first commit is written, and after those before it were synced.
#[test]
fn a_segment_without_a_commit_replaces_none_that_is_gone() {
    let last = Small::new().last();
    let directory = tempfile::tempdir().unwrap();
    let beginning = Image::from([(last.sequence + 1, Vec::new())]);
    let mut image = last.image.clone();
    image.extend(beginning.clone());
    assert_eq!(open(directory.path(), &image, last.sequence).unwrap(), last.said);
    let refused = open(directory.path(), &beginning, last.sequence).unwrap_err().to_string();
    assert!(refused.contains("0 is the last one left"), "{refused}");
    // Its name alone tells of those before it, without a mark too.
    let refused = open(directory.path(), &beginning, 0).unwrap_err().to_string();
    assert!(refused.contains("0 is the last one left"), "{refused}");
    // However many they are, the next commit goes on behind those that were made.
    assert_eq!(image.insert(last.sequence, Vec::new()), None, "a segment began with the last");
    let mut again = Small::on(directory.path(), &image, last.sequence).unwrap();
    again.vote(Vote::new(100, 1));
    assert_eq!(again.last().sequence, last.sequence + 1);
}

/// Two misfortunes: the power fails as a segment begins, before the mark of what was answered is on
/// the disk; and what was answered last but one is damaged.
#[test]
fn a_segment_without_a_commit_hides_no_damage_before_it() {
    let small = Small::new();
    let Some(two) = small.history.windows(2).rev().find(|two| {
        let bases = |of: &Committed| of.image.keys().copied().collect::<Vec<_>>();
        bases(&two[0]) == bases(&two[1])
    }) else {
        panic!("no segment has two commits")
    };
    let newest = *two[0].image.keys().next_back().unwrap();
    let (before, after) = (&two[0].image[&newest], &two[1].image[&newest]);
    let written = before.iter().zip(after).position(|(old, new)| old != new).unwrap();
    let mut image = two[1].image.clone();
    image.get_mut(&newest).unwrap()[written - 1] ^= 1;
    image.insert(two[1].sequence + 1, Vec::new());
    let directory = tempfile::tempdir().unwrap();
    let refused = open(directory.path(), &image, 0).unwrap_err().to_string();
    assert!(refused.contains("is damaged, and there are later ones"), "{refused}");
}

fn every() -> bool {
    std::env::var_os(EVERY_BIT).is_some()
}
