//! Questions that change nothing.

use model::{
    NodeName, StackSpec,
    view::{
        AdviceRow, AuthoritiesView, DrainView, ExplainView, NodeRow, OperatorRow, PlacementView,
        PlanView, RebalanceView, RevisionRow, StackRow, StatusView, TaskRow, TokenRow, VoterRow,
        WhatIfView,
    },
};
use proto::v1 as pb;

use super::{Client, believe, believe_all};
use crate::{
    args::{ServiceTarget, Target},
    error::Error,
};

impl Client {
    /// The tasks of all stacks, or of one.
    pub async fn tasks(&self, stack: Option<&str>) -> Result<Vec<TaskRow>, Error> {
        self.list_tasks(stack, false).await
    }

    /// The same with tasks that ended and were replaced, as long as they are remembered.
    pub async fn remembered_tasks(&self, stack: Option<&str>) -> Result<Vec<TaskRow>, Error> {
        self.list_tasks(stack, true).await
    }

    async fn list_tasks(&self, stack: Option<&str>, all: bool) -> Result<Vec<TaskRow>, Error> {
        let question = pb::ListTasksRequest { stack: stack.map(str::to_owned), all };
        let answer = self.ask(question, async |mut control, q| control.list_tasks(q).await).await?;
        believe_all(answer.tasks)
    }

    /// All machines.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, Error> {
        let question = pb::ListNodesRequest {};
        let answer = self.ask(question, async |mut control, q| control.list_nodes(q).await).await?;
        believe_all(answer.nodes)
    }

    /// All schedulers as they answer now.
    pub async fn schedulers(&self) -> Result<Vec<VoterRow>, Error> {
        let question = pb::ListSchedulersRequest {};
        let answer =
            self.ask(question, async |mut control, q| control.list_schedulers(q).await).await?;
        believe_all(answer.schedulers)
    }

    /// The certificate authorities, and who needs an older one than the newest.
    pub async fn authorities(&self) -> Result<AuthoritiesView, Error> {
        let question = pb::ListAuthoritiesRequest {};
        believe(self.ask(question, async |mut control, q| control.list_authorities(q).await).await?)
    }

    /// Who sits where.
    pub async fn placement(&self) -> Result<PlacementView, Error> {
        let question = pb::PlacementRequest {};
        believe(self.ask(question, async |mut control, q| control.placement(q).await).await?)
    }

    /// What applying a stack would do.
    pub async fn plan(&self, spec: &StackSpec) -> Result<PlanView, Error> {
        let question = pb::PlanRequest { spec: Some(spec.into()) };
        believe(self.ask(question, async |mut control, q| control.plan(q).await).await?)
    }

    /// What the cluster would come to.
    pub async fn what_if(&self, suppositions: Vec<pb::Supposition>) -> Result<WhatIfView, Error> {
        let question = pb::WhatIfRequest { suppositions };
        believe(self.ask(question, async |mut control, q| control.what_if(q).await).await?)
    }

    /// By which few moves the cluster would be packed better.
    pub async fn rebalance(
        &self,
        goal: Option<pb::rebalance_request::Goal>,
    ) -> Result<RebalanceView, Error> {
        let question = pb::RebalanceRequest { goal };
        believe(self.ask(question, async |mut control, q| control.rebalance(q).await).await?)
    }

    /// What draining a machine would do.
    pub async fn plan_drain(&self, node: &str) -> Result<DrainView, Error> {
        let question = pb::PlanDrainRequest { node: node.to_owned() };
        believe(self.ask(question, async |mut control, q| control.plan_drain(q).await).await?)
    }

    /// Why the replicas of a service are where they are.
    pub async fn explain(
        &self,
        target: &ServiceTarget,
        on: Option<&NodeName>,
    ) -> Result<Vec<ExplainView>, Error> {
        let question = pb::ExplainRequest {
            stack: target.stack.to_string(),
            service: target.service.to_string(),
            replica: target.replica,
            on: on.map(ToString::to_string),
        };
        let answer = self.ask(question, async |mut control, q| control.explain(q).await).await?;
        believe_all(answer.explanations)
    }

    /// What services reserve of memory, beside what they were seen to use.
    pub async fn advise(&self, target: Option<&Target>) -> Result<Vec<AdviceRow>, Error> {
        let question = pb::AdviseRequest {
            stack: target.map(|target| target.stack.to_string()),
            service: target.and_then(|target| target.service.as_ref()).map(ToString::to_string),
        };
        let answer = self.ask(question, async |mut control, q| control.advise(q).await).await?;
        believe_all(answer.services)
    }

    /// The health of the cluster.
    pub async fn status(&self) -> Result<StatusView, Error> {
        let question = pb::StatusRequest {};
        believe(self.ask(question, async |mut control, q| control.status(q).await).await?)
    }

    /// All stacks.
    pub async fn stacks(&self) -> Result<Vec<StackRow>, Error> {
        let question = pb::ListStacksRequest {};
        let answer =
            self.ask(question, async |mut control, q| control.list_stacks(q).await).await?;
        believe_all(answer.stacks)
    }

    /// The revisions of a stack.
    pub async fn history(&self, stack: &str) -> Result<Vec<RevisionRow>, Error> {
        let question = pb::StackHistoryRequest { stack: stack.to_owned() };
        let answer =
            self.ask(question, async |mut control, q| control.stack_history(q).await).await?;
        believe_all(answer.revisions)
    }

    /// All join tokens, without their secrets.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, Error> {
        let question = pb::ListTokensRequest {};
        let answer =
            self.ask(question, async |mut control, q| control.list_tokens(q).await).await?;
        believe_all(answer.tokens)
    }

    /// Those who may ask.
    pub async fn operators(&self) -> Result<Vec<OperatorRow>, Error> {
        let question = pb::ListOperatorsRequest {};
        let answer =
            self.ask(question, async |mut control, q| control.list_operators(q).await).await?;
        believe_all(answer.operators)
    }

    /// The scheduler's version, cluster and clock.
    pub async fn version(&self) -> Result<pb::VersionReply, Error> {
        let question = pb::VersionRequest {};
        self.ask(question, async |mut control, q| control.version(q).await).await
    }
}
