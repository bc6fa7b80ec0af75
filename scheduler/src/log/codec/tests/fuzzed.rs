//! Entries and snapshots, changed in every way behind checksums that were made right: what is read
//! is written and read again as the same, and a cluster stays one that can be.

use fuzz::Fuzz;

use super::*;
use crate::log::codec::fuzzing;

#[test]
fn any_bytes_of_an_entry_are_refused_or_read_back_and_no_cluster_breaks_by_them() {
    let varied = (0..KINDS).map(|number| encode_entry(&Varied(number).entry(number)));
    Fuzz::new("entry").files(&golden("")).inputs(varied).run(fuzzing::entry);
}

#[test]
fn any_bytes_of_a_snapshot_are_refused_or_read_back_and_make_a_cluster_that_can_be() {
    let varied = (0..20).map(|seed| encode_image(&Varied(seed).image()));
    let lived = fuzzing::moments().iter().map(|c| encode_image(&ClusterImage::from(c)));
    Fuzz::new("snapshot").files(&golden("")).inputs(varied).inputs(lived).run(fuzzing::snapshot);
}
