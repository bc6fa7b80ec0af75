//! What the leader decided, and why.

use model::{
    ServiceName, StackName,
    id::{NodeKind, TaskKind, TokenKind},
    task::Decision,
    view::Verdict,
};
use proto::{
    convert::{
        BadField, Field,
        kinds::{AtEpoch, AtRevision, Maybe, Parsed, Required, Same, Shared, Time},
        words::DesiredWord,
    },
    v1::{self, change, rollout_outcome},
};
use scheduler_core::{Change, RolloutOutcome};

use super::form::{Many, Number, SeverityWord, Text, choice, record};

choice!(ChangeForm: v1::Change, change::Change, change => Change {
    create_task: CreateTask {
        task: Number<TaskKind>,
        stack: Parsed<StackName>,
        service: Parsed<ServiceName>,
        slot: Same<u32>,
        epoch: AtEpoch,
        spec_revision: AtRevision,
    },
    place: Place {
        task: Number<TaskKind>,
        node: Number<NodeKind>,
        decision: Required<Shared<DecisionForm>>,
    },
    set_desired: SetDesired { task: Number<TaskKind>, desired: DesiredWord },
    mark_lost: MarkLost { task: Number<TaskKind>, down_since: Maybe<Time> },
    forget: Forget { task: Number<TaskKind> },
    record_rollout: RecordRollout {
        stack: Parsed<StackName>,
        service: Parsed<ServiceName>,
        outcome: Required<OutcomeForm>,
    },
    mark_ready: MarkReady { stack: Parsed<StackName>, revision: AtRevision },
    end_drain: EndDrain { node: Number<NodeKind> },
    end_token: EndToken { token: Number<TokenKind> },
    forget_stack: ForgetStack { stack: Parsed<StackName> },
    move_task: MoveTask { task: Number<TaskKind>, to: Number<NodeKind>, reason: Text },
    end_move: EndMove { task: Number<TaskKind>, failed: Maybe<Text> },
    note: Note { severity: SeverityWord, kind: Text, task: Number<TaskKind>, message: Text },
});

choice!(OutcomeForm: v1::RolloutOutcome, rollout_outcome::Outcome, outcome => RolloutOutcome {
    failed: Failed { revision: AtRevision, reason: Text },
});

record!(DecisionForm: v1::Decision => Decision {
    at: Time,
    revision: AtRevision,
    verdicts: Many<VerdictForm>,
});

record!(VerdictForm: v1::Verdict => Verdict {
    node: Text,
    fits: Same<bool>,
    reason: Text,
    resource: Maybe<Text>,
    needed: Maybe<Same<u64>>,
    free: Maybe<Same<u64>>,
    short: Maybe<Same<u64>>,
    score: Maybe<ScoreForm>,
});

/// A score is a bare list in the model.
#[derive(Debug)]
pub(super) enum ScoreForm {}

impl Field for ScoreForm {
    type Wire = v1::Score;
    type Model = Vec<i64>;

    fn read(wire: v1::Score) -> Result<Vec<i64>, BadField> {
        Ok(wire.parts)
    }

    fn write(model: &Vec<i64>) -> v1::Score {
        v1::Score { parts: model.clone() }
    }
}
