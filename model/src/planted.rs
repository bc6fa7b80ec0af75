//! Bugs that are planted on purpose, one at a time, to prove that the simulation would find them.
//!
//! **Invariant:** nothing of it is in a release build: there [`is_planted`] is `false` before the
//! compiler looks at what depends on it. In a debug build a bug is planted for one thread by whoever
//! simulates, and by nobody else.

/// A mistake that somebody could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`words` says what each is")]
pub enum Bug {
    AcknowledgedBeforeDurable,
    StalePlanAccepted,
    EpochForgotten,
    FreedOnRequest,
    ReservationIgnored,
    LimitReserved,
    VerdictSkipped,
    HomeForgotten,
    StatusMovesBack,
    RequestDoneTwice,
    SnapshotForgets,
    WritersSideBySide,
    StatusForgotten,
    AdoptedByName,
    SweptWhileDisconnected,
    OlderSetAccepted,
    BackoffLost,
    LedgerNotWritten,
    FailedLookMeansAbsent,
    LostBeforeItsEnd,
    WaitKeptByNewLeader,
    LeaseFromAnswer,
    RenewedWithoutMajority,
    ClockStopsInSleep,
    LeaseOutlivesReboot,
    LeaseForgotten,
    HoldDownForgotten,
    HomeLeftWhenDown,
    DownAtOneMiss,
    InterruptionIsFailure,
    TokenGoodTwice,
    RemovedReturns,
    FailureUntold,
    PolicyForgotten,
    TakenForItsSuccessor,
    WaitByWallClock,
    GenericIgnored,
    MovedBeforeReady,
    LeaseEndsEarly,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 39] = [
        Self::AcknowledgedBeforeDurable,
        Self::StalePlanAccepted,
        Self::EpochForgotten,
        Self::FreedOnRequest,
        Self::ReservationIgnored,
        Self::LimitReserved,
        Self::VerdictSkipped,
        Self::HomeForgotten,
        Self::StatusMovesBack,
        Self::RequestDoneTwice,
        Self::SnapshotForgets,
        Self::WritersSideBySide,
        Self::StatusForgotten,
        Self::AdoptedByName,
        Self::SweptWhileDisconnected,
        Self::OlderSetAccepted,
        Self::BackoffLost,
        Self::LedgerNotWritten,
        Self::FailedLookMeansAbsent,
        Self::LostBeforeItsEnd,
        Self::WaitKeptByNewLeader,
        Self::LeaseFromAnswer,
        Self::RenewedWithoutMajority,
        Self::ClockStopsInSleep,
        Self::LeaseOutlivesReboot,
        Self::LeaseForgotten,
        Self::HoldDownForgotten,
        Self::HomeLeftWhenDown,
        Self::DownAtOneMiss,
        Self::InterruptionIsFailure,
        Self::TokenGoodTwice,
        Self::RemovedReturns,
        Self::FailureUntold,
        Self::PolicyForgotten,
        Self::TakenForItsSuccessor,
        Self::WaitByWallClock,
        Self::GenericIgnored,
        Self::MovedBeforeReady,
        Self::LeaseEndsEarly,
    ];

    /// What the mistake is.
    pub const fn words(self) -> &'static str {
        match self {
            Self::AcknowledgedBeforeDurable => "a write is acknowledged before it is durable",
            Self::StalePlanAccepted => "a plan older than the last one is taken",
            Self::EpochForgotten => "a replica forgets its last epoch",
            Self::FreedOnRequest => "memory is freed when a stop is asked for, not when confirmed",
            Self::ReservationIgnored => "a task is placed where its reservation has no room",
            Self::LimitReserved => "limits are counted as if they were reservations",
            Self::VerdictSkipped => "a decision leaves out one node's verdict",
            Self::HomeForgotten => "a volume's home is not written down",
            Self::StatusMovesBack => "the last report to arrive wins",
            Self::RequestDoneTwice => "a request that is asked twice is done twice",
            Self::SnapshotForgets => "a snapshot forgets when the last plan was",
            Self::WritersSideBySide => "a writer's successor starts before it stopped",
            Self::StatusForgotten => "the end of a task is not reported",
            Self::AdoptedByName => "a container is adopted by its replica's name alone",
            Self::SweptWhileDisconnected => "unknown containers are swept without a scheduler",
            Self::OlderSetAccepted => "an older set of assignments is accepted",
            Self::BackoffLost => "a container that ended is started again at once",
            Self::LedgerNotWritten => "a new set is acted on and not written to the ledger",
            Self::FailedLookMeansAbsent => "an engine that does not answer has no containers",
            Self::LostBeforeItsEnd => "a strict singleton is given up before its lease is over",
            Self::WaitKeptByNewLeader => "a new leader goes on with the wait of the one before",
            Self::LeaseFromAnswer => "a lease is counted from its answer",
            Self::RenewedWithoutMajority => "a leader that was deposed renews leases",
            Self::ClockStopsInSleep => "the clock of leases stands still in sleep",
            Self::LeaseOutlivesReboot => "a lease is still good after a reboot",
            Self::LeaseForgotten => "a strict singleton starts without a lease",
            Self::HoldDownForgotten => "a service moves each time a flapping node goes",
            Self::HomeLeftWhenDown => "a task starts on an empty volume when its home is down",
            Self::DownAtOneMiss => "one heartbeat that is missed makes a node count as down",
            Self::InterruptionIsFailure => {
                "a replacement that was interrupted is given up as failed"
            }
            Self::TokenGoodTwice => "two schedulers join with one token",
            Self::RemovedReturns => "a snapshot forgets which schedulers were removed",
            Self::FailureUntold => "why a task does not run is not reported",
            Self::PolicyForgotten => "what ended is never started again, whatever its policy",
            Self::TakenForItsSuccessor => "a replica's old container is taken for its new task's",
            Self::WaitByWallClock => "a deadline goes by the wall clock, which steps",
            Self::GenericIgnored => "a task is placed where its generic resources are taken",
            Self::MovedBeforeReady => "a task that is moved stops before its successor is ready",
            Self::LeaseEndsEarly => "a strict singleton is ended before its lease is over",
        }
    }
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether this bug is planted.
#[cfg(debug_assertions)]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this bug is planted: never in a release build.
#[cfg(not(debug_assertions))]
pub const fn is_planted(_: Bug) -> bool {
    false
}

/// Plants a bug for this thread, or takes it away.
#[cfg(debug_assertions)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}
