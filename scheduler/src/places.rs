//! How many connections there may be, so that no crowd shuts anybody else out.
//!
//! **Invariant:** agents, people, schedulers and strangers have places of their own; whoever has not said yet
//! who it is holds none of them; and one address never holds more than half of the places for saying so, nor
//! several of them all: who comes from where fewer stand gets one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use model::{Timestamp, token::Role, view::Problem};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{clock, open_files};

/// Handshakes at one time; of one address half as many.
const HANDSHAKES_MAX: usize = 256;
/// A handshake that has stood for so long makes room for another one from its address: one that gets on
/// takes a few round trips.
const STANDS_FOR: Duration = Duration::from_secs(1);
/// Connections of agents: a thousand of them take a quarter of a gigabyte.
pub(crate) const AGENTS_MAX: usize = 1024;
/// Connections of people: each `sisoctl` has one.
const PEOPLE_MAX: usize = 128;
/// Connections of schedulers: each of the others has two dozen.
const SCHEDULERS_MAX: usize = 256;
/// Connections without a certificate: whoever has none can only join.
const STRANGERS_MAX: usize = 64;
/// Connections for which there was no place, and which are heard to be told so.
const TURNED_AWAY_MAX: usize = 32;
/// How long after the last one that was turned away this counts as a problem.
const REMEMBERED: Duration = Duration::from_mins(5);

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A machine.
    Agent,
    /// An operator.
    Person,
    /// Another scheduler.
    Scheduler,
    /// Who may do nothing but join.
    Stranger,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Agent, Self::Person, Self::Scheduler, Self::Stranger];

    pub(crate) const fn of(role: Option<Role>) -> Self {
        match role {
            Some(Role::Node) => Self::Agent,
            Some(Role::Admin) => Self::Person,
            Some(Role::Scheduler) => Self::Scheduler,
            None => Self::Stranger,
        }
    }

    /// The word in figures.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Person => "person",
            Self::Scheduler => "scheduler",
            Self::Stranger => "stranger",
        }
    }

    const fn whose(self) -> &'static str {
        match self {
            Self::Agent => "of agents",
            Self::Person => "of people",
            Self::Scheduler => "of schedulers",
            Self::Stranger => "without a certificate",
        }
    }
}

/// The places of one kind.
#[derive(Debug)]
struct Share {
    max: usize,
    free: Arc<Semaphore>,
    turned_away: Mutex<Option<TurnedAway>>,
}

/// Those for whom there was no place lately.
#[derive(Debug, Clone, Copy)]
struct TurnedAway {
    first: Timestamp,
    last: Instant,
    count: u64,
}

/// A place, as long as it is kept.
pub(crate) type Place = OwnedSemaphorePermit;

/// What somebody gets who has said who it is.
#[derive(Debug)]
pub(crate) enum Seat {
    /// A place.
    Own(Place),
    /// None; it may hear these words.
    Told(Place, String),
    /// None, and too many are being told so already.
    None(String),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Places {
    shares: [Share; 4],
    told: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    standing: Arc<Mutex<Standing>>,
}

impl Places {
    /// As many as the system's limit of open files allows; of agents so many at most.
    pub(crate) fn new(agents: usize) -> Self {
        let wanted = [agents, PEOPLE_MAX, SCHEDULERS_MAX, STRANGERS_MAX];
        let others = HANDSHAKES_MAX + TURNED_AWAY_MAX;
        let all = wanted.iter().sum::<usize>() + others;
        let allowed = open_files::connections(all);
        let part = |max: usize| (max * allowed / all).max(1);
        let share = |max| {
            let max = part(max);
            let free = Arc::new(Semaphore::new(max));
            Share { max, free, turned_away: Mutex::default() }
        };
        Self {
            shares: wanted.map(share),
            told: Arc::new(Semaphore::new(part(TURNED_AWAY_MAX))),
            handshakes: Arc::new(Semaphore::new(part(HANDSHAKES_MAX))),
            standing: Arc::new(Mutex::new(Standing::new(part(HANDSHAKES_MAX)))),
        }
    }

    const fn share(&self, kind: Kind) -> &Share {
        let [agents, people, schedulers, strangers] = &self.shares;
        match kind {
            Kind::Agent => agents,
            Kind::Person => people,
            Kind::Scheduler => schedulers,
            Kind::Stranger => strangers,
        }
    }

    /// Lets somebody of that address say who it is. `None`: too many are at it already.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Entry> {
        let network = network(address);
        let (number, cut) = self.standing.lock().enter(network, Instant::now())?;
        Some(Entry { standing: Arc::clone(&self.standing), network, number, cut })
    }

    /// A place for somebody who was let in: at once, or when the one that makes room for it has closed.
    pub(crate) async fn handshake(&self) -> Option<Place> {
        Arc::clone(&self.handshakes).acquire_owned().await.ok()
    }

    /// A place for somebody who has said who it is.
    pub(crate) fn seat(&self, kind: Kind) -> Seat {
        let share = self.share(kind);
        if let Ok(place) = Arc::clone(&share.free).try_acquire_owned() {
            return Seat::Own(place);
        }
        let words = format!(
            "all {} places for connections {} are taken at this scheduler",
            share.max,
            kind.whose()
        );
        let (at, now) = (clock::now(), Instant::now());
        let mut turned_away = share.turned_away.lock();
        let lately = turned_away.filter(|known| now - known.last < REMEMBERED);
        let known = lately.unwrap_or(TurnedAway { first: at, last: now, count: 0 });
        *turned_away = Some(TurnedAway { last: now, count: known.count + 1, ..known });
        match Arc::clone(&self.told).try_acquire_owned() {
            Ok(place) if kind != Kind::Stranger => Seat::Told(place, words),
            _ => Seat::None(words),
        }
    }

    /// How many places of each kind are taken, and how many there are.
    pub(crate) fn taken(&self) -> [(Kind, usize, usize); 4] {
        Kind::ALL.map(|kind| {
            let Share { max, free, .. } = self.share(kind);
            (kind, max.saturating_sub(free.available_permits()), *max)
        })
    }

    /// Who was turned away here lately.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let problem = |kind: Kind| {
            let share = self.share(kind);
            let turned_away = (*share.turned_away.lock())?;
            if turned_away.last.elapsed() >= REMEMBERED {
                return None;
            }
            let fix = match kind {
                Kind::Agent => "name other schedulers first in --scheduler of some agents",
                Kind::Person => {
                    "end what nobody needs of `logs -f`, `events -f`, `exec` and `port-forward`"
                }
                Kind::Scheduler => {
                    "look for a scheduler that connects again and again in their logs"
                }
                Kind::Stranger => {
                    "see the log of the scheduler for who knocks, and keep them from its port"
                }
            };
            Some(Problem {
                what: format!("connections {} are turned away", kind.whose()),
                cause: format!(
                    "all {} places for them at the scheduler that leads were taken; {} were turned away",
                    share.max, turned_away.count
                ),
                since: Some(turned_away.first.to_rfc3339()),
                fix: fix.to_owned(),
            })
        };
        Kind::ALL.into_iter().filter_map(problem).collect()
    }
}

/// What counts as one address: whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Those who have not said yet who they are, by address, the oldest first.
#[derive(Debug)]
struct Standing {
    by_network: BTreeMap<IpAddr, VecDeque<(u64, Instant, CancellationToken)>>,
    last: u64,
    max: usize,
}

impl Standing {
    fn new(max: usize) -> Self {
        Self { by_network: BTreeMap::new(), last: 0, max }
    }

    fn of(&self, network: IpAddr) -> usize {
        self.by_network.get(&network).map_or(0, VecDeque::len)
    }

    /// Where most come from; of several the one whose oldest has stood longest.
    fn largest(&self) -> Option<IpAddr> {
        let by_size = self.by_network.iter().max_by_key(|(_, standing)| {
            (standing.len(), Reverse(standing.front().map(|(_, since, _)| *since)))
        });
        by_size.map(|(network, _)| *network)
    }

    fn enter(&mut self, network: IpAddr, now: Instant) -> Option<(u64, CancellationToken)> {
        let own = self.of(network);
        if own >= (self.max / 2).max(1) {
            self.make_room(network, Some(now))?;
        } else if self.by_network.values().map(VecDeque::len).sum::<usize>() >= self.max {
            let crowd = self.largest()?;
            // From where fewer stand one comes in whoever was first: a crowd would always be.
            let fewer = self.of(crowd) > own + 1;
            self.make_room(crowd, (!fewer).then_some(now))?;
        }
        self.last += 1;
        let cut = CancellationToken::new();
        self.by_network.entry(network).or_default().push_back((self.last, now, cut.clone()));
        Some((self.last, cut))
    }

    /// Cuts the one of that address that has stood longest, if by now it has had its time.
    fn make_room(&mut self, network: IpAddr, now: Option<Instant>) -> Option<()> {
        let standing = self.by_network.get_mut(&network)?;
        let (number, since, oldest) = standing.front()?;
        if now.is_some_and(|now| now.saturating_duration_since(*since) < STANDS_FOR) {
            return None;
        }
        oldest.cancel();
        let number = *number;
        self.leave(network, number);
        Some(())
    }

    fn leave(&mut self, network: IpAddr, number: u64) {
        let Some(standing) = self.by_network.get_mut(&network) else { return };
        standing.retain(|(known, ..)| *known != number);
        if standing.is_empty() {
            self.by_network.remove(&network);
        }
    }
}

/// Somebody who is saying who it is, until this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    standing: Arc<Mutex<Standing>>,
    network: IpAddr,
    number: u64,
    /// Cancelled when it has to make room.
    pub(crate) cut: CancellationToken,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.standing.lock().leave(self.network, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_holds_half_of_the_handshakes_and_its_oldest_make_room() {
        let (mut standing, began) = (Standing::new(HANDSHAKES_MAX), Instant::now());
        let (crowd, other) = (address("10.0.0.1"), address("10.0.0.2"));
        let mut entered = Vec::new();
        for _ in 0..HANDSHAKES_MAX / 2 {
            entered.push(standing.enter(crowd, began).unwrap());
        }
        assert!(standing.enter(crowd, began).is_none(), "none of them had its time");
        assert!(standing.enter(other, began).is_some());
        let (number, _) = standing.enter(crowd, began + STANDS_FOR).unwrap();
        assert!(entered[0].1.is_cancelled() && !entered[1].1.is_cancelled());
        // Who leaves makes room as well; the one that was cut leaves nothing to leave.
        standing.leave(crowd, entered[0].0);
        assert_eq!(standing.of(crowd), HANDSHAKES_MAX / 2);
        standing.leave(crowd, number);
        assert!(standing.enter(crowd, began).is_some());
        for (number, _) in entered {
            standing.leave(crowd, number);
        }
        assert_eq!(standing.of(crowd), 1);
    }

    #[test]
    fn a_crowd_of_several_addresses_makes_room_for_who_comes_from_another() {
        let (mut standing, began) = (Standing::new(8), Instant::now());
        let crowd = [address("10.0.0.1"), address("10.0.0.2")];
        let mut entered = Vec::new();
        for one in crowd.into_iter().cycle().take(8) {
            entered.push(standing.enter(one, began).unwrap());
        }
        assert!(standing.enter(crowd[0], began).is_none(), "one of the crowd");
        let other = address("10.0.0.3");
        for held in 1..=2 {
            assert!(standing.enter(other, began).is_some(), "at once");
            assert_eq!(standing.of(other), held);
        }
        assert!(standing.enter(other, began).is_none(), "where nobody has two more");
        assert_eq!(crowd.map(|one| standing.of(one)), [3, 3]);
        assert!(entered.iter().take(2).all(|(_, cut)| cut.is_cancelled()), "the oldest went");
        assert!(entered.iter().skip(2).all(|(_, cut)| !cut.is_cancelled()), "and no others");
        assert!(standing.enter(other, began + STANDS_FOR).is_some(), "they had their time");
    }

    #[test]
    fn where_everybody_comes_from_elsewhere_who_stood_longest_makes_room() {
        let (mut standing, began) = (Standing::new(3), Instant::now());
        let from = |last: u8| IpAddr::from([10, 0, 0, last]);
        let at = |millis| began + Duration::from_millis(millis);
        for (last, since) in [(1, 9), (2, 0), (3, 5)] {
            assert!(standing.enter(from(last), at(since)).is_some());
        }
        assert!(standing.enter(from(4), at(10)).is_none());
        assert!(standing.enter(from(4), at(0) + STANDS_FOR).is_some());
        assert!(standing.enter(from(5), at(4) + STANDS_FOR).is_none());
        assert!(standing.enter(from(5), at(5) + STANDS_FOR).is_some());
        assert_eq!([1, 2, 3, 4, 5].map(|last| standing.of(from(last))), [1, 0, 0, 1, 1]);
    }

    #[test]
    fn an_address_is_a_network_where_everybody_has_many() {
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
        assert_eq!(network(address("fd00:1:2:3:4:5:6:7")), address("fd00:1:2:3::"));
        assert_ne!(network(address("10.0.0.1")), network(address("10.0.0.2")));
    }

    #[test]
    fn a_crowd_of_one_kind_takes_no_place_of_another_and_is_told_of() {
        let places = Places::new(2);
        let seats: Vec<_> = (0..2).map(|_| places.seat(Kind::Agent)).collect();
        assert!(seats.iter().all(|seat| matches!(seat, Seat::Own(_))));
        assert_eq!(places.problems(), []);
        let Seat::Told(_place, words) = places.seat(Kind::Agent) else { panic!("a third place") };
        assert_eq!(words, "all 2 places for connections of agents are taken at this scheduler");
        for kind in [Kind::Person, Kind::Scheduler, Kind::Stranger] {
            assert!(matches!(places.seat(kind), Seat::Own(_)), "{kind:?}");
        }
        let [problem] = places.problems().try_into().unwrap();
        assert_eq!(problem.what, "connections of agents are turned away");
        assert!(problem.cause.contains("1 were turned away"), "{problem:?}");
        assert_eq!(places.taken()[0], (Kind::Agent, 2, 2));
        drop(seats);
        assert_eq!(places.taken()[0], (Kind::Agent, 0, 2));
        assert!(matches!(places.seat(Kind::Agent), Seat::Own(_)));
    }
}
