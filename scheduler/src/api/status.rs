//! The one place where errors become gRPC statuses. The code decides the exit code of `sisoctl`, the
//! message is a sentence for a person, a line that begins with `hint: ` may follow.

use model::{NodeName, Revision, token::Role};
use scheduler_core::{Applied, Outcome, Rejection};
use tonic::{Code, Status};

use crate::{
    log::LogError,
    pki::{PkiError, TokenRefusal},
    story,
};

/// The person's input is wrong; `what` says which part and why.
pub(crate) fn bad_input(what: impl std::fmt::Display) -> Status {
    Status::invalid_argument(what.to_string())
}

/// The answer of the log to a write: the cluster's revision afterwards and what was done.
pub(crate) fn outcome(applied: Result<Applied, LogError>) -> Result<(Revision, Outcome), Status> {
    let Applied { revision, result } = applied.map_err(log_error)?;
    result.map(|outcome| (revision, outcome)).map_err(|rejection| rejected(&rejection))
}

/// Something asked for cannot be done.
pub(crate) fn rejected(rejection: &Rejection) -> Status {
    let code = match rejection {
        _ if rejection.is_not_found() => Code::NotFound,
        Rejection::TooMany { .. } => Code::InvalidArgument,
        _ if rejection.is_input_error() => Code::InvalidArgument,
        Rejection::StackMoved { .. } | Rejection::StalePlan { .. } => Code::Aborted,
        Rejection::BadToken | Rejection::NotItsTask { .. } => Code::PermissionDenied,
        _ => Code::FailedPrecondition,
    };
    let hint = match rejection {
        Rejection::NodeHolds { node, down, tasks, volumes } => {
            way_out(node, *down, !tasks.is_empty(), !volumes.is_empty())
        }
        Rejection::AuthorityNeeded { .. } => STILL_NEEDED.to_owned(),
        Rejection::LeaseNotOver { node, .. } => {
            format!("\nhint: ask again in half a minute, while {node} stays down")
        }
        Rejection::BadToken => {
            "\nhint: `sisoctl token ls` shows what became of it; a new one: `sisoctl token create --role node`, or \
             scheduler"
                .to_owned()
        }
        _ => replicas_there(rejection),
    };
    Status::new(code, format!("{rejection}{hint}"))
}

/// What to do with those who still need an authority that is to go.
pub(crate) const STILL_NEEDED: &str = "\nhint: `sisoctl authority ls` says of each why; bring back who is away, or remove it (`sisoctl node \
     rm`, `sisoctl scheduler rm`); with --force they are shut out and have to join anew";

/// What to do with what a node holds before, or so that, it can be removed.
fn way_out(node: &NodeName, down: bool, tasks: bool, volumes: bool) -> String {
    let rm = format!("sisoctl node rm {node}");
    match (tasks, down, volumes) {
        (true, false, _) => format!(
            "\nhint: move its tasks first: `sisoctl node drain {node}`; those that cannot move end with \
             their stack (`sisoctl stack rm`)"
        ),
        (true, true, false) => format!(
            "\nhint: bring {node} back; or, if it is gone for good, give its tasks up: the same command with \
             `--force`"
        ),
        (true, true, true) => format!(
            "\nhint: bring {node} back; or, if it is gone for good, give up its tasks and the data of its \
             volumes: `{rm} --force --with-volumes`"
        ),
        (false, ..) => "\nhint: `sisoctl stack rm STACK --volumes` removes the volumes of a stack; the same command with \
             `--with-volumes` forgets them: their data stays on that machine, and services that mount them begin \
             with empty ones elsewhere"
            .to_owned(),
    }
}

/// Where a replica was named that is not there: which ones are.
fn replicas_there(rejection: &Rejection) -> String {
    let Rejection::UnknownReplica { stack, service, replicas, .. } = rejection else {
        return String::new();
    };
    let name = format!("{stack}/{service}");
    match replicas {
        0 => format!("\nhint: it has none: `sisoctl scale {name}=1` gives it one"),
        1 => format!("\nhint: there is {name}.1"),
        2 => format!("\nhint: there are {name}.1 and {name}.2"),
        more => format!("\nhint: there are {name}.1 to {name}.{more}"),
    }
}

/// The log did not take a write, or cannot be read.
#[allow(clippy::needless_pass_by_value, reason = "the form `map_err` asks for")]
pub(crate) fn log_error(error: LogError) -> Status {
    let code = match &error {
        LogError::TooLarge { .. } => Code::InvalidArgument,
        LogError::TimedOut => Code::DeadlineExceeded,
        LogError::DiskFull { .. } => Code::ResourceExhausted,
        LogError::NotYet { .. } => Code::FailedPrecondition,
        LogError::NoLeader
        | LogError::Late
        | LogError::NotLeader { .. }
        | LogError::Stopped(_)
        | LogError::Open { .. }
        | LogError::Newer { .. }
        | LogError::NoLog { .. }
        | LogError::NoWholeSnapshot { .. }
        | LogError::Gap { .. }
        | LogError::Settings(_) => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

pub(crate) fn token_refused(refusal: TokenRefusal, wanted: Role) -> Status {
    let role = wanted.as_str();
    Status::permission_denied(format!(
        "{refusal}\nhint: make another with `sisoctl token create --role {role}`"
    ))
}

pub(crate) fn pki_error(error: &PkiError) -> Status {
    match error {
        PkiError::Request(_) => Status::invalid_argument(error.to_string()),
        PkiError::File { .. }
        | PkiError::Damaged { .. }
        | PkiError::Lost { .. }
        | PkiError::Issue(_)
        | PkiError::Tls(_) => {
            tracing::error!(error = story(error), "a certificate could not be made");
            Status::internal("the certificate could not be made; see the scheduler's log")
        }
    }
}

/// The authority's key is not here.
pub(crate) fn no_key() -> Status {
    Status::unavailable("this scheduler has not been given the authority's key yet: ask again")
}

/// A limit of this scheduler is reached; `what` names it.
pub(crate) fn exhausted(what: &str, limit: usize) -> Status {
    Status::resource_exhausted(format!("too many {what} at one time, the limit is {limit}"))
}

#[cfg(test)]
mod tests {
    use model::{ServiceName, StackName};

    use super::*;

    #[test]
    fn a_replica_that_is_not_there_is_answered_with_those_that_are() {
        for (replicas, there) in [
            (0, "it has none: `sisoctl scale shop/web=1` gives it one"),
            (1, "there is shop/web.1"),
            (2, "there are shop/web.1 and shop/web.2"),
            (5, "there are shop/web.1 to shop/web.5"),
        ] {
            let stack = StackName::new("shop").unwrap();
            let service = ServiceName::new("web").unwrap();
            let status = rejected(&Rejection::UnknownReplica { stack, service, slot: 7, replicas });
            assert_eq!(status.code(), Code::NotFound);
            assert_eq!(status.message().split_once("\nhint: ").unwrap().1, there);
        }
    }
}
