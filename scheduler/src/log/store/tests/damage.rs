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
};

/// A bit of every byte instead of one in [`STRIDE`] bytes: minutes instead of seconds.
const EVERY_BYTE: &str = "SISO_EVERY_BYTE";
/// Prime, so that every field of the files' regular structures has its turn somewhere.
const STRIDE: usize = 7;
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

/// Every place worth damaging: of which segment, which byte.
fn places(image: &Image) -> Vec<(u64, usize)> {
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let looked_at = |(_, at): &(u64, usize)| every() || at.is_multiple_of(STRIDE);
    // Of the zeros behind a segment's end a few: they are all alike.
    let of = |(base, bytes): (&u64, &Vec<u8>)| {
        let base = *base;
        (0..bytes.len().min(used(bytes) + 64)).map(move |at| (base, at))
    };
    image.iter().flat_map(of).filter(looked_at).collect()
}

#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let small = Small::new();
    let (image, last) = (small.image(), small.last());
    let places = places(&image);
    let flips = if every() { 8 } else { 1 };
    let (refused, wrong) = wrong(places.len() * flips, &last, |number| {
        let (base, at) = places[number / flips];
        let bit = (number % flips + at / STRIDE) % 8;
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
            places(image).into_iter().step_by(if every() { 1 } else { 5 }).collect();
        let (_, found) = wrong(places.len(), expected, |number| {
            let (base, at) = places[number];
            let mut image = image.clone();
            image.get_mut(&base).unwrap()[at] ^= 1 << (at % 8);
            (format!("at {}, byte {at} of {base}", expected.sequence), image)
        });
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
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

fn every() -> bool {
    std::env::var_os(EVERY_BYTE).is_some()
}
