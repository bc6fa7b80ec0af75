//! Damage to the log's file: a bit that flipped anywhere, an end that is missing. Whatever it is, the
//! log is refused, or it says exactly what it said before.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    small::{self, Committed, Small, open},
    *,
};

/// A bit of every byte instead of one in [`STRIDE`] bytes: minutes instead of seconds.
const EVERY_BYTE: &str = "SISO_EVERY_BYTE";
/// Prime, so that every field of the file's regular structures has its turn in some page.
const STRIDE: usize = 41;
/// The file's header, where each bit counts.
const HEADER: usize = 512;
const THREADS: usize = 2;

/// Opens each damaged image on a few threads; what was wrong with which.
fn wrong(
    images: usize,
    expected: &Committed,
    damaged: impl Fn(usize) -> Vec<u8> + Sync,
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
            let image = damaged(number);
            let mark = no_mark_in(directory.path());
            let opened = catch_unwind(AssertUnwindSafe(|| open(image, mark, expected.promised)));
            match opened {
                Ok(Ok(said)) if said == expected.said => {}
                Ok(Ok(said)) => wrong.push(format!("{number}: {:?} is served", said.last)),
                Ok(Err(_)) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                Err(_) => wrong.push(format!("{number}: it panicked")),
            }
        }
    };
    let wrong = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (refused.into_inner(), wrong)
}

/// The bits to flip in a file of so many bytes.
fn flips(bytes: usize) -> Vec<(usize, u8)> {
    let bits = |at: usize| {
        let one = u8::try_from((at + at / STRIDE) % 8).unwrap();
        let bits = if at < HEADER { 0..8 } else { one..one + 1 };
        bits.map(move |bit| (at, bit))
    };
    let looked_at = |at: &usize| every() || *at < HEADER || at.is_multiple_of(STRIDE);
    (0..bytes).filter(looked_at).flat_map(bits).collect()
}

#[track_caller]
fn check(what: &str, image: &[u8], expected: &Committed) {
    let flips = flips(image.len());
    let (refused, found) = wrong(flips.len(), expected, |number| {
        let (at, bit) = flips[number];
        let mut image = image.to_vec();
        image[at] ^= 1 << bit;
        image
    });
    let named: Vec<_> = found
        .iter()
        .map(|text| {
            let (number, text) = text.split_once(':').unwrap();
            let (at, bit) = flips[number.parse::<usize>().unwrap()];
            format!("bit {bit} of byte {at}:{text}")
        })
        .collect();
    assert!(
        named.is_empty(),
        "{what}, {} of {} flips:\n{}",
        named.len(),
        flips.len(),
        named.join("\n")
    );
    // Else it looked at a file without anything in it.
    assert!(refused > flips.len() / 20, "{what}: {refused} of {} were refused", flips.len());
}

#[test]
fn a_flipped_bit_is_found_after_an_orderly_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.redb");
    let small = Small::in_file(&path);
    let expected = small.last().said;
    small.close();
    let whole = fs::read(&path).unwrap();
    let mark = fs::read(path.with_extension("mark")).unwrap();
    for (at, bit) in flips(whole.len()) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << bit;
        fs::write(&path, flipped).unwrap();
        let Err(refused) = Store::open(&path) else { panic!("bit {bit} of byte {at}") };
        let LogError::Open { cause, .. } = refused else { panic!("{refused}") };
        assert!(cause.to_string().starts_with("it is not as it was left"), "{cause}");
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(fs::read(path.with_extension("mark")).unwrap(), mark, "it was refused, not changed");
    let (store, contents, _) = Store::open(&path).unwrap();
    assert_eq!(small::said(&store, &contents), expected);
}

#[test]
fn a_flipped_bit_is_found_or_harmless_after_a_crash() {
    let small = Small::new();
    check("killed", &small.disk.bytes(), &small.last());
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let small = Small::new();
    let (image, last) = (small.disk.bytes(), small.last());
    let lengths: Vec<_> = (0..image.len()).step_by(if every() { 1 } else { STRIDE }).collect();
    let (_, wrong) = wrong(lengths.len(), &last, |number| image[..lengths[number]].to_vec());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn every() -> bool {
    std::env::var_os(EVERY_BYTE).is_some()
}
