//! Whether what several clients were told of one register could have happened one call at a time.
//!
//! Each value is written once, so the question has an exact answer in the time it takes to sort
//! (P. B. Gibbons, E. Korach: *Testing Shared Memories*, SIAM J. Comput. 26(4), 1997): the calls that
//! wrote and read a value are put together. When all of them have one instant in common, they may all
//! have happened then; otherwise the register had that value at least from the first answer to the last
//! call, and no other value in between.

use std::{collections::BTreeMap, fmt};

/// A time, in nanoseconds of a clock that all clients share.
pub type Instant = u64;

/// What a client asked for, and what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It wrote a value nobody else writes.
    Write(u64),
    /// It read a value; `None` is that of the beginning.
    Read(Option<u64>),
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub from: Instant,
    /// When it was answered; one that was not, or whose answer says nothing, may happen at any time after
    /// it began, or never.
    pub to: Option<Instant>,
    /// What it was.
    pub deed: Deed,
}

/// Why no order of the calls explains what was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// A value was read that nobody wrote.
    NeverWritten(Call),
    /// It was read before anybody began to write it.
    TooEarly(Call),
    /// A value was written twice: nothing can be said of that history.
    WrittenTwice(u64),
    /// Two values, each of which was there for a while that the other lies in; `None` is that of the
    /// beginning.
    Together(Option<u64>, Option<u64>),
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverWritten(call) => write!(f, "nobody wrote what was read: {call:?}"),
            Self::TooEarly(call) => write!(f, "it was read before it was written: {call:?}"),
            Self::WrittenTwice(value) => write!(f, "{value} was written twice"),
            Self::Together(one, other) => write!(f, "{one:?} and {other:?} were there at once"),
        }
    }
}

/// The calls of one value.
#[derive(Debug, Clone, Copy)]
struct Cluster {
    value: Option<u64>,
    first_answer: Instant,
    last_call: Instant,
}

impl Cluster {
    /// Whether the value must have been there from the first answer to the last call.
    fn lasts(&self) -> bool {
        self.first_answer < self.last_call
    }

    fn begin(&self) -> Instant {
        self.first_answer.min(self.last_call)
    }

    fn end(&self) -> Instant {
        self.first_answer.max(self.last_call)
    }
}

/// Finds an order of the calls in which each happened between its beginning and its answer and every read
/// returned what was written last, or says why there is none.
pub fn linearize(calls: &[Call]) -> Result<(), Contradiction> {
    let mut clusters = clusters(calls)?;
    clusters.sort_by_key(Cluster::begin);
    // Of those that last no two may overlap, so among those that began so far one alone ends last.
    let mut lasting: Option<Cluster> = None;
    for cluster in clusters.iter().filter(|cluster| cluster.lasts()) {
        if let Some(before) = lasting.filter(|before| cluster.begin() < before.end()) {
            return Err(Contradiction::Together(before.value, cluster.value));
        }
        lasting = Some(*cluster);
    }
    let lasting: Vec<_> = clusters.iter().filter(|cluster| cluster.lasts()).collect();
    for brief in clusters.iter().filter(|cluster| !cluster.lasts()) {
        let before = lasting.partition_point(|lasting| lasting.begin() <= brief.begin());
        let around = before.checked_sub(1).and_then(|index| lasting.get(index));
        if let Some(around) = around.filter(|around| brief.end() <= around.end()) {
            return Err(Contradiction::Together(around.value, brief.value));
        }
    }
    Ok(())
}

fn clusters(calls: &[Call]) -> Result<Vec<Cluster>, Contradiction> {
    let mut writes = BTreeMap::new();
    for call in calls {
        if let Deed::Write(value) = call.deed
            && writes.insert(value, *call).is_some()
        {
            return Err(Contradiction::WrittenTwice(value));
        }
    }
    // What was there in the beginning was written before everything.
    let beginning = Cluster { value: None, first_answer: 0, last_call: 0 };
    let mut clusters = BTreeMap::from([(None, beginning)]);
    for (value, call) in &writes {
        // Of one that was not answered and never seen nobody can say that it happened.
        if let Some(to) = call.to {
            let cluster = Cluster { value: Some(*value), first_answer: to, last_call: call.from };
            clusters.insert(Some(*value), cluster);
        }
    }
    for call in calls {
        let (Deed::Read(value), Some(to)) = (call.deed, call.to) else { continue };
        let written = match value {
            None => 0,
            Some(written) => {
                let write = writes.get(&written).ok_or(Contradiction::NeverWritten(*call))?;
                write.from
            }
        };
        if to < written {
            return Err(Contradiction::TooEarly(*call));
        }
        let seen = Cluster { value, first_answer: to, last_call: written };
        let cluster = clusters.entry(value).or_insert(seen);
        cluster.first_answer = cluster.first_answer.min(to);
        cluster.last_call = cluster.last_call.max(call.from);
    }
    Ok(clusters.into_values().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(value: u64, from: Instant, to: impl Into<Option<Instant>>) -> Call {
        Call { from, to: to.into(), deed: Deed::Write(value) }
    }

    fn read(value: impl Into<Option<u64>>, from: Instant, to: Instant) -> Call {
        Call { from, to: Some(to), deed: Deed::Read(value.into()) }
    }

    #[test]
    fn one_call_after_the_other_is_fine_and_so_is_what_overlaps_either_way() {
        assert_eq!(linearize(&[]), Ok(()));
        assert_eq!(linearize(&[write(1, 10, 20), read(1, 30, 40), write(2, 50, 60)]), Ok(()));
        assert_eq!(linearize(&[write(1, 10, 40), read(None, 20, 30)]), Ok(()));
        assert_eq!(linearize(&[write(1, 10, 40), read(1, 20, 30)]), Ok(()));
        assert_eq!(linearize(&[write(1, 10, 40), write(2, 10, 40), read(1, 50, 60)]), Ok(()));
    }

    #[test]
    fn a_read_of_what_was_replaced_is_found() {
        let stale = [write(1, 10, 20), write(2, 30, 40), read(1, 50, 60)];
        assert_eq!(linearize(&stale), Err(Contradiction::Together(Some(1), Some(2))));
        let stale = [write(1, 10, 20), read(None, 30, 40)];
        assert_eq!(linearize(&stale), Err(Contradiction::Together(None, Some(1))));
    }

    #[test]
    fn a_value_that_comes_and_goes_and_comes_back_is_found() {
        let flickers = [write(1, 10, 90), read(1, 20, 30), read(None, 40, 50)];
        assert!(linearize(&flickers).is_err());
        let flickers =
            [write(1, 10, 90), write(2, 10, 90), read(1, 20, 25), read(2, 30, 35), read(1, 40, 45)];
        assert_eq!(linearize(&flickers), Err(Contradiction::Together(Some(1), Some(2))));
    }

    #[test]
    fn an_acknowledged_write_that_is_lost_is_found() {
        let lost = [write(1, 10, 20), write(2, 30, 40), read(1, 50, 60), read(1, 70, 80)];
        assert!(linearize(&lost).is_err());
    }

    #[test]
    fn what_was_not_answered_may_have_happened_late_or_never_but_not_before_it_began() {
        let late = [write(1, 10, None), write(2, 20, 30), read(2, 40, 50), read(1, 60, 70)];
        assert_eq!(linearize(&late), Ok(()));
        assert_eq!(linearize(&[write(1, 10, None), read(None, 60, 70)]), Ok(()));
        let twice = [&late[..], &[read(2, 80, 90)]].concat();
        assert!(linearize(&twice).is_err());
        let early = [read(1, 10, 20), write(1, 30, None)];
        assert_eq!(linearize(&early), Err(Contradiction::TooEarly(early[0])));
        let from_nowhere = [read(7, 10, 20)];
        assert_eq!(linearize(&from_nowhere), Err(Contradiction::NeverWritten(from_nowhere[0])));
        assert_eq!(
            linearize(&[write(1, 10, 20), write(1, 30, 40)]),
            Err(Contradiction::WrittenTwice(1))
        );
    }

    /// The definition, tried out: some order of the calls, with those that were not answered or without.
    fn by_trying(left: &[Call], held: Option<u64>) -> bool {
        let needed = |call: &&Call| call.to.is_some();
        if left.iter().filter(needed).count() == 0 {
            return true;
        }
        (0..left.len()).any(|index| {
            let next = left[index];
            let mut rest = left.to_vec();
            rest.remove(index);
            // Nothing that was answered before this began may come after it.
            if rest.iter().any(|other| other.to.is_some_and(|to| to < next.from)) {
                return false;
            }
            match next.deed {
                Deed::Write(value) => by_trying(&rest, Some(value)),
                Deed::Read(value) => value == held && by_trying(&rest, held),
            }
        })
    }

    /// Up to seven calls of which four write, at times that are all different, as real ones are.
    fn histories() -> impl Strategy<Value = Vec<Call>> {
        let call =
            (any::<bool>(), prop::option::weighted(0.8, 1_u64..5), prop::bool::weighted(0.85));
        let times = Just((1_u64..15).collect::<Vec<_>>()).prop_shuffle();
        (prop::collection::vec(call, 1..8), times).prop_map(|(calls, times)| {
            let mut written = 0;
            let call = |((writes, value, answered), times): ((bool, Option<u64>, bool), &[u64])| {
                let (from, to) = (times[0].min(times[1]), times[0].max(times[1]));
                let deed = if writes && written < 4 {
                    written += 1;
                    Deed::Write(written)
                } else {
                    Deed::Read(value)
                };
                Call { from, to: answered.then_some(to), deed }
            };
            calls.into_iter().zip(times.chunks(2)).map(call).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn it_says_what_trying_every_order_says(calls in histories()) {
            // Nobody waits for the answer to a read that was not answered.
            let told: Vec<_> = calls
                .iter()
                .filter(|call| call.to.is_some() || matches!(call.deed, Deed::Write(_)))
                .copied()
                .collect();
            prop_assert_eq!(linearize(&calls).is_ok(), by_trying(&told, None), "{:?}", linearize(&calls));
        }
    }
}
