//! Questions that change something. Each carries a request id chosen once, so that asking again after
//! a lost answer does not do it twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use model::{OperatorName, StackName, StackSpec, TokenId, token::Role, view::PlanView};
use proto::v1 as pb;
use serde::Serialize;

use super::{Client, believe, missing, request_id};
use crate::{
    args::{ScaleTo, Target},
    error::Error,
    output::{Out, safe},
    renewal::Renewal,
};

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The stack's revision after a write to a stack, else the cluster's.
    pub revision: u64,
    /// Whether anything is different now.
    pub changed: bool,
}

impl From<pb::WriteReply> for Written {
    fn from(reply: pb::WriteReply) -> Self {
        Self { revision: reply.revision, changed: reply.changed }
    }
}

impl Client {
    /// Makes the cluster run a stack; with a `basis` only while the stack has that revision.
    pub async fn apply(
        &self,
        spec: &StackSpec,
        basis: Option<u64>,
    ) -> Result<(Written, PlanView), Error> {
        let question =
            pb::ApplyRequest { request_id: request_id(), spec: Some(spec.into()), basis };
        let answer = self.ask(question, async |mut control, q| control.apply(q).await).await?;
        let written = Written { revision: answer.revision, changed: answer.changed };
        Ok((written, believe(answer.plan.ok_or_else(|| missing("the plan"))?)?))
    }

    /// Removes a stack, and its volumes when told.
    pub async fn remove_stack(&self, stack: &StackName, volumes: bool) -> Result<Written, Error> {
        let question =
            pb::RemoveStackRequest { request_id: request_id(), stack: stack.to_string(), volumes };
        Ok(self.ask(question, async |mut control, q| control.remove_stack(q).await).await?.into())
    }

    /// Goes back to an earlier revision; the newest that was ready when none is given.
    pub async fn rollback_stack(
        &self,
        stack: &StackName,
        to: Option<u64>,
    ) -> Result<Written, Error> {
        let question =
            pb::RollbackStackRequest { request_id: request_id(), stack: stack.to_string(), to };
        Ok(self.ask(question, async |mut control, q| control.rollback_stack(q).await).await?.into())
    }

    /// Sets how many replicas a service has.
    pub async fn scale(&self, to: &ScaleTo) -> Result<Written, Error> {
        let question = pb::ScaleRequest {
            request_id: request_id(),
            stack: to.stack.to_string(),
            service: to.service.to_string(),
            replicas: to.replicas,
        };
        Ok(self.ask(question, async |mut control, q| control.scale(q).await).await?.into())
    }

    /// Replaces tasks by new ones of the same specification.
    pub async fn restart(&self, target: &Target) -> Result<Written, Error> {
        let question = pb::RestartRequest {
            request_id: request_id(),
            stack: target.stack.to_string(),
            service: target.service.as_ref().map(ToString::to_string),
            replica: target.replica,
        };
        Ok(self.ask(question, async |mut control, q| control.restart(q).await).await?.into())
    }

    /// Cordons a machine or ends that.
    pub async fn set_schedulable(&self, node: &str, schedulable: bool) -> Result<Written, Error> {
        let question = pb::SetSchedulableRequest {
            request_id: request_id(),
            node: node.to_owned(),
            schedulable,
        };
        Ok(self
            .ask(question, async |mut control, q| control.set_schedulable(q).await)
            .await?
            .into())
    }

    /// Moves what can move from a machine to others, for so long.
    pub async fn drain_node(&self, node: &str, deadline: Duration) -> Result<Written, Error> {
        let question = pb::DrainNodeRequest {
            request_id: request_id(),
            node: node.to_owned(),
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
        };
        Ok(self.ask(question, async |mut control, q| control.drain_node(q).await).await?.into())
    }

    /// Moves one task to a machine.
    pub async fn move_task(&self, task: &str, node: &str) -> Result<Written, Error> {
        let (task, node) = (task.to_owned(), node.to_owned());
        let question = pb::MoveTaskRequest { request_id: request_id(), task, node };
        Ok(self.ask(question, async |mut control, q| control.move_task(q).await).await?.into())
    }

    /// Turns the automatic mode of `rebalance` on or off.
    pub async fn set_automatic_rebalance(&self, on: bool) -> Result<Written, Error> {
        let question = pb::SetAutomaticRebalanceRequest { request_id: request_id(), on };
        Ok(self
            .ask(question, async |mut control, q| control.set_automatic_rebalance(q).await)
            .await?
            .into())
    }

    /// Sets labels of a machine and takes others away.
    pub async fn label_node(
        &self,
        node: &str,
        set: BTreeMap<String, String>,
        remove: BTreeSet<String>,
    ) -> Result<Written, Error> {
        let question = pb::LabelNodeRequest {
            request_id: request_id(),
            node: node.to_owned(),
            set: set.into_iter().collect(),
            remove: remove.into_iter().collect(),
        };
        Ok(self.ask(question, async |mut control, q| control.label_node(q).await).await?.into())
    }

    /// Takes a machine out of the cluster; `tasks` and `volumes` say whether those it has may go.
    pub async fn remove_node(
        &self,
        node: &str,
        tasks: bool,
        volumes: bool,
    ) -> Result<Written, Error> {
        let question = pb::RemoveNodeRequest {
            request_id: request_id(),
            node: node.to_owned(),
            tasks,
            volumes,
        };
        Ok(self.ask(question, async |mut control, q| control.remove_node(q).await).await?.into())
    }

    /// Takes a scheduler out of the cluster.
    pub async fn remove_scheduler(&self, scheduler: u64) -> Result<Written, Error> {
        let question = pb::RemoveSchedulerRequest { request_id: request_id(), scheduler };
        Ok(self
            .ask(question, async |mut control, q| control.remove_scheduler(q).await)
            .await?
            .into())
    }

    /// Makes another certificate authority.
    pub async fn rotate_authority(&self) -> Result<Written, Error> {
        let question = pb::RotateAuthorityRequest { request_id: request_id() };
        Ok(self
            .ask(question, async |mut control, q| control.rotate_authority(q).await)
            .await?
            .into())
    }

    /// Ends the trust in the older certificate authority.
    pub async fn finish_authority(&self, force: bool) -> Result<Written, Error> {
        let question = pb::FinishAuthorityRequest { request_id: request_id(), force };
        Ok(self
            .ask(question, async |mut control, q| control.finish_authority(q).await)
            .await?
            .into())
    }

    /// Adds an operator, and writes a context for them into that file.
    pub async fn add_operator(&self, name: &OperatorName, file: &Path) -> Result<(), Error> {
        let candidate = Renewal::candidate()?;
        let (request_id, csr) = (request_id(), candidate.request.clone());
        let question = pb::AddOperatorRequest { request_id, name: name.to_string(), csr };
        let added =
            self.ask(question, async |mut control, q| control.add_operator(q).await).await?;
        let who = (added.certificate, added.authorities);
        self.renewal.hand_over(file, candidate, who, self.endpoints.all()).map_err(|error| {
            error.hint(format!(
                "operator {name} is added and has no context: remove it (`sisoctl operator rm {name}`), \
                 and add another with a file that can be written"
            ))
        })
    }

    /// Shuts an operator out.
    pub async fn remove_operator(&self, name: &OperatorName) -> Result<Written, Error> {
        let question =
            pb::RemoveOperatorRequest { request_id: request_id(), name: name.to_string() };
        Ok(self
            .ask(question, async |mut control, q| control.remove_operator(q).await)
            .await?
            .into())
    }

    /// Writes the context anew when the cluster's authorities are others than it knows; whether it did.
    pub async fn renew_context(&self, out: &mut Out) -> bool {
        if !self.renewal.is_due() {
            return false;
        }
        let renewed = async {
            let candidate = Renewal::candidate()?;
            let question = pb::RenewRequest { csr: candidate.request.clone() };
            let answer =
                self.ask(question, async |mut control, q| control.renew_admin(q).await).await?;
            self.renewal.keep(candidate, answer.certificate, answer.authorities)
        };
        match renewed.await {
            Ok(file) => {
                out.note(&format!(
                    "note: {} was written anew: the cluster's authority is being replaced",
                    file.display()
                ));
                true
            }
            Err(error) => {
                out.note(&format!(
                    "warning: the cluster's authority is being replaced, and this context could not be                      written anew: {}",
                    safe::line(&error.to_string())
                ));
                false
            }
        }
    }

    /// Makes a join token.
    pub async fn create_token(
        &self,
        role: Role,
        ttl: Duration,
    ) -> Result<pb::CreateTokenReply, Error> {
        let role = match role {
            Role::Node => pb::Role::Node,
            Role::Scheduler => pb::Role::Scheduler,
            Role::Admin => pb::Role::Admin,
        };
        let question = pb::CreateTokenRequest {
            request_id: request_id(),
            role: role.into(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        };
        self.ask(question, async |mut control, q| control.create_token(q).await).await
    }

    /// Makes a join token useless.
    pub async fn revoke_token(&self, id: TokenId) -> Result<Written, Error> {
        let question = pb::RevokeTokenRequest { request_id: request_id(), id: id.to_string() };
        Ok(self.ask(question, async |mut control, q| control.revoke_token(q).await).await?.into())
    }
}
