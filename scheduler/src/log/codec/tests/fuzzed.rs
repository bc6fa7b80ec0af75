//! Entries and snapshots, changed in every way behind checksums that were made right: what is read
//! is written and read again as the same.

use fuzz::Fuzz;
use scheduler_core::Cluster;

use super::*;

#[test]
fn any_bytes_of_an_entry_are_refused_or_read_back() {
    let varied = (0..KINDS).map(|number| encode_entry(&Varied(number).entry(number)));
    Fuzz::new("entry").files(&golden("")).inputs(varied).run(|bytes| match decode_entry(bytes) {
        Ok(entry) => {
            assert_eq!(decode_entry(&encode_entry(&entry)).unwrap(), entry);
            kind(&entry.command).to_owned()
        }
        Err(error) => error.to_string(),
    });
}

#[test]
fn any_bytes_of_a_snapshot_are_refused_or_read_back() {
    let varied = (0..20).map(|seed| encode_image(&Varied(seed).image()));
    Fuzz::new("snapshot").files(&golden("")).inputs(varied).run(|bytes| {
        match decode_image(bytes) {
            Ok(image) => {
                assert_eq!(decode_image(&encode_image(&image)).unwrap(), image);
                // A cluster that cannot be is refused, not taken.
                match Cluster::try_from(image) {
                    Ok(cluster) => format!("{} stacks", cluster.stacks().len()),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        }
    });
}
