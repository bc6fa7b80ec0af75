//! People's contexts, as far as this scheduler has seen them: by which authority their certificates are.
//! In memory only, for that is all anybody knows of files on laptops.

use std::{collections::BTreeMap, net::IpAddr};

use model::Timestamp;
use parking_lot::Mutex;

use super::Fingerprint;

/// Contexts that are kept in mind; the one that was not seen for longest is forgotten first.
const SEEN_MAX: usize = 64;

/// A context that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenContext {
    /// The name in its certificate.
    pub(crate) name: String,
    /// Where it was used.
    pub(crate) address: IpAddr,
    /// Who signed its certificate.
    pub(crate) authority: Fingerprint,
    /// When it was first used, and last.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Contexts(Mutex<BTreeMap<(String, IpAddr, Fingerprint), Uses>>);

/// When something was first used, and last.
type Uses = (Timestamp, Timestamp);

impl Contexts {
    /// A context of that name was used there, with a certificate of this authority.
    pub(super) fn used(
        &self,
        (name, address): (&str, IpAddr),
        authority: Fingerprint,
        at: Timestamp,
    ) {
        let mut seen = self.0.lock();
        let key = (name.to_owned(), address.to_canonical(), authority);
        seen.entry(key).or_insert((at, at)).1 = at;
        if seen.len() > SEEN_MAX {
            let oldest = seen.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| seen.remove(&oldest));
        }
    }

    /// It was given another certificate in the place of one of this authority. Another copy of it that is
    /// used there is seen again when it is used again.
    pub(super) fn renewed(&self, (name, address): (&str, IpAddr), authority: Fingerprint) {
        self.0.lock().remove(&(name.to_owned(), address.to_canonical(), authority));
    }

    /// All that were seen.
    pub(super) fn seen(&self) -> Vec<SeenContext> {
        let seen = self.0.lock();
        let seen = seen.iter().map(|((name, address, authority), (first, last))| SeenContext {
            name: name.clone(),
            address: *address,
            authority: *authority,
            first: *first,
            last: *last,
        });
        seen.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contexts_that_were_used_last_are_kept_in_mind_until_they_are_renewed() {
        let (contexts, address) = (Contexts::default(), "10.0.0.1".parse().unwrap());
        for number in 0..=SEEN_MAX as u64 {
            contexts.used((&format!("a{number}"), address), [1; 32], Timestamp(number));
        }
        let seen = contexts.seen();
        assert_eq!(seen.len(), SEEN_MAX);
        assert!(!seen.iter().any(|context| context.name == "a0"));
        let of = |name: &str| {
            let seen = contexts.seen().into_iter().filter(|context| context.name == name);
            seen.map(|context| (context.authority, context.first.0, context.last.0))
                .collect::<Vec<_>>()
        };
        // Two copies of one context are used there; one of them was renewed.
        contexts.renewed(("a1", address), [1; 32]);
        contexts.used(("a1", address), [2; 32], Timestamp(98));
        assert_eq!(of("a1"), [([2; 32], 98, 98)]);
        contexts.used(("a1", address), [1; 32], Timestamp(99));
        contexts.used(("a1", address), [2; 32], Timestamp(100));
        assert_eq!(of("a1"), [([1; 32], 99, 99), ([2; 32], 98, 100)]);
    }
}
