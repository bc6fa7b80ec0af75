//! Words of closed lists.

use model::{
    Desired, Health, Liveness, TaskState,
    spec::{Condition, MemoryBasis, Protocol},
    task::Cause,
    token::Role,
    view::{ChangeAction, MemorySource, Succession},
};

use super::field::words;
use crate::v1;

words!(
    /// [`Protocol`]
    ProtocolWord: v1::Protocol => Protocol { Tcp, Udp }
);
words!(
    /// [`Condition`]
    ConditionWord: v1::Condition => Condition { Started, Healthy, Completed }
);
words!(
    /// [`MemoryBasis`]
    MemoryBasisWord: v1::MemoryBasis => MemoryBasis { Reservation, Limit, Assumed }
);
words!(
    /// [`Liveness`]
    LivenessWord: v1::Liveness => Liveness { Ready, Unreachable, Down }
);
words!(
    /// [`Desired`]
    DesiredWord: v1::Desired => Desired { Prepare, Run, Rest, Stop }
);
words!(
    /// [`TaskState`]
    TaskStateWord: v1::TaskState => TaskState {
        Pending, Assigned, Preparing, Starting, Running, Stopping, Stopped, Failed, Lost,
    }
);
words!(
    /// [`Health`]
    HealthWord: v1::Health => Health { None, Starting, Healthy, Unhealthy }
);
words!(
    /// [`Cause`]
    CauseWord: v1::Cause => Cause {
        Exited, OutOfMemory, Image, Start, Refused, Unhealthy, NodeLost, Interrupted,
    }
);
words!(
    /// [`Role`]
    RoleWord: v1::Role => Role { Node, Scheduler, Admin }
);
words!(
    /// [`ChangeAction`]
    ChangeActionWord: v1::ChangeAction => ChangeAction { Create, Update, Replace, Remove, Keep }
);
words!(
    /// [`Succession`]
    SuccessionWord: v1::Succession => Succession { Old, New }
);
words!(
    /// [`MemorySource`]
    MemorySourceWord: v1::MemorySource => MemorySource { Reservation, Limit, Assumed, Observed }
);
