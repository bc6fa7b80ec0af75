//! Everything that can happen in the world.

use model::{AssignmentSet, Inventory, NodeId, StackSpec, TaskId, TaskReport, Timestamp};
use node_agent::{
    agent::Wake,
    lease::{Awake, Granted},
    perform::Subject,
    reconcile::Step,
    runtime::{ContainerId, Happening, RuntimeError},
};

/// Which life of an agent's process: what was begun by an earlier one reaches no later one.
pub(crate) type Boot = u64;

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// The log takes a proposal, or loses it.
    Append { proposal: u64 },
    /// A replica applies what is in the log up to this index.
    Apply { replica: usize, to: usize },
    /// A scheduler process starts again from its snapshot.
    ReplicaStarts { replica: usize },
    /// Some replica becomes the leader.
    Elect,
    /// The leader of this term plans.
    Lead { term: u64, serial: u64 },
    /// Somebody sets the wall clock of whoever leads.
    ClockSteps,
    /// Somebody adds a scheduler or takes one away.
    MembersChange,
    /// A person asks for this stack.
    PersonAsks(Box<StackSpec>),
    /// A person asks for something.
    PersonActs,
    /// A person has waited long enough for an answer.
    PersonLosesPatience { ask: usize, tries: u32 },
    /// Something goes wrong, or right again.
    Fault,
    /// A majority has answered the leader of this term; a renewal of leases that had arrived before may be.
    Round { term: u64, to: usize, node: NodeId, session: u64, sent: Awake },
    /// A leader that was deposed finds out.
    OldLeaderEnds { serial: u64 },
    /// A message of an agent reaches the scheduler.
    FromAgent { node: NodeId, session: u64, message: Up },
    /// Something happens on a machine.
    Machine { node: NodeId, what: OnMachine },
}

/// What an agent says.
#[derive(Debug, Clone)]
pub(crate) enum Up {
    Hello(Inventory),
    /// With what its clocks showed when it was sent.
    Heartbeat(Awake),
    Reports(u64, Vec<TaskReport>),
    Inventory(u64, Inventory),
    VolumesRemoved(u64, Vec<String>),
}

/// What a scheduler says.
#[derive(Debug, Clone)]
pub(crate) enum Down {
    Assignments(AssignmentSet),
    Acknowledge(u64),
    Lease(Granted),
    End,
}

/// What happens on one machine. While it sleeps, nothing does.
#[derive(Debug)]
pub(crate) enum OnMachine {
    /// The machine gets its power back.
    PowerReturns,
    /// The network works again.
    NetworkReturns,
    /// There is room on the disk again.
    DiskReturns,
    /// The engine answers (again).
    EngineAnswers,
    /// The agent's process starts.
    AgentStarts,
    /// The guard looks at the leases.
    GuardLooks,
    /// It has been awake, or its engine has answered, for long enough to have stopped what may not run.
    StopsAgain,
    /// The network goes, and comes back after as long, so many times.
    Flaps { times: u32, millis: u64 },
    /// Something for the agent's process of that life.
    Agent { boot: Boot, what: ForAgent },
    /// A request reaches the engine; it is carried out although whoever sent it may be gone.
    Call { boot: Boot, step: Step, subject: Option<Box<Subject>> },
    /// A container's process ends by itself.
    Ends { container: ContainerId, run: u64, how: End },
    /// A container that was asked to stop has.
    Stopped { boot: Boot, step: Step, container: ContainerId, run: u64 },
    /// A health check has a verdict.
    Health { container: ContainerId, run: u64, health: model::Health },
    /// An image has been fetched, or not.
    Pulled { boot: Boot, step: Step },
}

/// How a container ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exit(i64),
    /// For memory.
    OutOfMemory,
    /// Somebody kills it past the agent.
    Killed,
}

/// What reaches an agent's process.
#[derive(Debug)]
pub(crate) enum ForAgent {
    /// Time for something it waits for.
    Due { at: u64 },
    /// It dials a scheduler.
    Dial,
    /// A second has passed in its session.
    Beat { session: u64 },
    /// A message of the scheduler.
    Down { session: u64, message: Down },
    /// It begins to look at everything.
    Look { regular: bool },
    /// The engine puts together what it shows.
    LookTaken { asked: u64 },
    /// The same for one container.
    InspectTaken { asked: u64, id: ContainerId },
    /// Something woke it.
    Wake(Box<Wake>),
    /// The engine tells of something.
    Told { id: ContainerId, task: TaskId, what: Happening, at: Timestamp },
    /// The engine has done what was asked, or not, and shows the container.
    Worked { step: Step, container: Option<ContainerId>, done: Result<(), RuntimeError> },
}
