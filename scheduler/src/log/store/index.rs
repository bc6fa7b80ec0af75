//! Where each entry of the log lies.
//!
//! **Invariant:** the entries it knows are an unbroken run.

use std::{collections::VecDeque, io, ops::RangeInclusive};

/// The place of one record in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The first commit of the segment, which names it.
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// The places of the entries `first`, `first + 1`, and so on.
#[derive(Debug, Default)]
pub(super) struct Index {
    first: u64,
    places: VecDeque<Place>,
}

impl Index {
    /// The index of the first entry, if there is one.
    pub(super) fn first(&self) -> Option<u64> {
        (!self.places.is_empty()).then_some(self.first)
    }

    /// The index after the last entry.
    fn end(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// The last entry and its place.
    pub(super) fn last(&self) -> Option<(u64, &Place)> {
        self.places.back().map(|place| (self.end() - 1, place))
    }

    /// Adds an entry in the place of all from this index on.
    pub(super) fn append(&mut self, index: u64, place: Place) -> io::Result<()> {
        if self.places.is_empty() || index <= self.first {
            self.places.clear();
            self.first = index;
        }
        if index > self.end() {
            let text = format!("entry {} of the log is missing", self.end());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.places.truncate(self.position(index));
        self.places.push_back(place);
        Ok(())
    }

    /// Removes every entry after this index; all of them for `None`.
    pub(super) fn truncate(&mut self, after: Option<u64>) {
        let kept = after.map_or(0, |after| self.position(after.saturating_add(1)));
        self.places.truncate(kept);
    }

    /// Removes the entries up to this index.
    pub(super) fn purge(&mut self, upto: u64) {
        let gone = self.position(upto.saturating_add(1)).min(self.places.len());
        self.places.drain(..gone);
        self.first += gone as u64;
    }

    /// The entries of the range that are there, in order.
    pub(super) fn range(&self, range: &RangeInclusive<u64>) -> Vec<(u64, Place)> {
        let first = (*range.start()).max(self.first);
        let skipped = self.position(first);
        let entries = (first..=*range.end()).zip(self.places.iter().skip(skipped));
        entries.map(|(index, place)| (index, *place)).collect()
    }

    /// How many entries lie before this index.
    fn position(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(length: usize) -> Place {
        Place { segment: 1, offset: 0, length }
    }

    fn lengths(index: &Index) -> Vec<(u64, usize)> {
        let all = index.range(&(0..=u64::MAX));
        all.into_iter().map(|(index, place)| (index, place.length)).collect()
    }

    #[test]
    fn entries_are_an_unbroken_run_whatever_happens_to_its_ends() {
        let mut index = Index::default();
        assert_eq!((index.first(), index.range(&(0..=9)).len()), (None, 0));
        for number in 5..9 {
            index.append(number, place(1)).unwrap();
        }
        assert_eq!(
            index.append(10, place(1)).unwrap_err().to_string(),
            "entry 9 of the log is missing"
        );
        index.append(7, place(2)).unwrap();
        assert_eq!(lengths(&index), [(5, 1), (6, 1), (7, 2)]);
        index.purge(5);
        assert_eq!((index.first(), index.last().map(|(last, _)| last)), (Some(6), Some(7)));
        assert_eq!(index.range(&(7..=7)).len() + index.range(&(0..=5)).len(), 1);
        index.truncate(Some(6));
        assert_eq!(lengths(&index), [(6, 1)]);
        index.truncate(Some(9));
        index.purge(20);
        assert_eq!(lengths(&index), []);
        index.append(21, place(3)).unwrap();
        index.truncate(None);
        index.append(2, place(4)).unwrap();
        assert_eq!(lengths(&index), [(2, 4)]);
    }
}
