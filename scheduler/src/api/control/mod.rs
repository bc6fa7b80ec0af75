//! What people ask. One line per call here; the answers are in the rooms below.

mod admission;
mod authorities;
mod live;
mod moves;
mod nodes;
mod operators;
mod reads;
mod relayed;
mod schedulers;
mod writes;

use std::sync::Arc;

use proto::v1::{
    AddOperatorReply, AddOperatorRequest, AdviseReply, AdviseRequest, ApplyReply, ApplyRequest,
    AuthoritiesView, CreateTokenReply, CreateTokenRequest, DrainNodeRequest, DrainView, EventRow,
    EventsRequest, ExecRequest, ExplainReply, ExplainRequest, FinishAuthorityRequest,
    ForwardRequest, LabelNodeRequest, ListAuthoritiesRequest, ListNodesReply, ListNodesRequest,
    ListOperatorsReply, ListOperatorsRequest, ListSchedulersReply, ListSchedulersRequest,
    ListStacksReply, ListStacksRequest, ListTasksReply, ListTasksRequest, ListTokensReply,
    ListTokensRequest, LogEntry, LogsRequest, MoveTaskRequest, PlacementRequest, PlacementView,
    PlanDrainRequest, PlanRequest, PlanView, RebalanceRequest, RebalanceView, RelayFrame,
    RemoveNodeRequest, RemoveOperatorRequest, RemoveSchedulerRequest, RemoveStackRequest,
    RenewReply, RenewRequest, RestartRequest, RevokeTokenRequest, RollbackStackRequest,
    RotateAuthorityRequest, ScaleRequest, SetAutomaticRebalanceRequest, SetSchedulableRequest,
    StackHistoryReply, StackHistoryRequest, StatusRequest, StatusView, VersionReply,
    VersionRequest, WatchReply, WatchRequest, WhatIfRequest, WhatIfView, WriteReply,
    control_server,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Office, callers};
use crate::listener::Caller;

/// The service `Control`.
pub(crate) struct Control(pub(crate) Arc<Office>);

type Answer<T> = Result<Response<T>, Status>;
type Stream<T> = ReceiverStream<Result<T, Status>>;

/// Says in the log who asked for what.
fn audit<T>(request: &Request<T>, what: &str) {
    let who = callers::peer(request).map_or_else(|_| String::new(), |peer| peer.id.clone());
    tracing::info!(admin = who, what, "asked");
}

#[tonic::async_trait]
impl control_server::Control for Control {
    type WatchStream = Stream<WatchReply>;
    type EventsStream = Stream<EventRow>;
    type LogsStream = Stream<LogEntry>;
    type ExecStream = Stream<RelayFrame>;
    type PortForwardStream = Stream<RelayFrame>;

    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<ApplyReply> {
        audit(&request, "apply");
        writes::apply(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Answer<PlanView> {
        reads::plan(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn what_if(&self, request: Request<WhatIfRequest>) -> Answer<WhatIfView> {
        reads::what_if(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        live::watch(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Answer<ListTasksReply> {
        reads::tasks(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Answer<ListNodesReply> {
        reads::nodes(&self.0).await.map(Response::new)
    }

    async fn placement(&self, _: Request<PlacementRequest>) -> Answer<PlacementView> {
        reads::placement(&self.0).await.map(Response::new)
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainReply> {
        reads::explain(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn advise(&self, request: Request<AdviseRequest>) -> Answer<AdviseReply> {
        reads::advise(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusView> {
        reads::status(&self.0).await.map(Response::new)
    }

    async fn list_stacks(&self, _: Request<ListStacksRequest>) -> Answer<ListStacksReply> {
        reads::stacks(&self.0).await.map(Response::new)
    }

    async fn stack_history(
        &self,
        request: Request<StackHistoryRequest>,
    ) -> Answer<StackHistoryReply> {
        reads::history(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn remove_stack(&self, request: Request<RemoveStackRequest>) -> Answer<WriteReply> {
        audit(&request, "remove a stack");
        writes::remove_stack(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn rollback_stack(&self, request: Request<RollbackStackRequest>) -> Answer<WriteReply> {
        audit(&request, "roll back a stack");
        writes::rollback_stack(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn scale(&self, request: Request<ScaleRequest>) -> Answer<WriteReply> {
        audit(&request, "scale a service");
        writes::scale(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn restart(&self, request: Request<RestartRequest>) -> Answer<WriteReply> {
        audit(&request, "restart");
        writes::restart(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn rebalance(&self, request: Request<RebalanceRequest>) -> Answer<RebalanceView> {
        moves::rebalance(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn move_task(&self, request: Request<MoveTaskRequest>) -> Answer<WriteReply> {
        audit(&request, "move a task");
        moves::move_task(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn set_automatic_rebalance(
        &self,
        request: Request<SetAutomaticRebalanceRequest>,
    ) -> Answer<WriteReply> {
        audit(&request, "turn automatic rebalance on or off");
        moves::set_automatic(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn set_schedulable(&self, request: Request<SetSchedulableRequest>) -> Answer<WriteReply> {
        audit(&request, "cordon or uncordon a node");
        nodes::set_schedulable(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn plan_drain(&self, request: Request<PlanDrainRequest>) -> Answer<DrainView> {
        nodes::plan_drain(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn drain_node(&self, request: Request<DrainNodeRequest>) -> Answer<WriteReply> {
        audit(&request, "drain a node");
        nodes::drain(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn label_node(&self, request: Request<LabelNodeRequest>) -> Answer<WriteReply> {
        audit(&request, "label a node");
        nodes::label(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Answer<WriteReply> {
        audit(&request, "remove a node");
        nodes::remove(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Answer<CreateTokenReply> {
        audit(&request, "create a token");
        writes::create_token(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_tokens(&self, _: Request<ListTokensRequest>) -> Answer<ListTokensReply> {
        reads::tokens(&self.0).await.map(Response::new)
    }

    async fn revoke_token(&self, request: Request<RevokeTokenRequest>) -> Answer<WriteReply> {
        audit(&request, "revoke a token");
        writes::revoke_token(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn events(&self, request: Request<EventsRequest>) -> Answer<Self::EventsStream> {
        live::events(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        relayed::logs(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Answer<Self::ExecStream> {
        audit(&request, "exec");
        relayed::exec(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn port_forward(
        &self,
        request: Request<Streaming<ForwardRequest>>,
    ) -> Answer<Self::PortForwardStream> {
        audit(&request, "forward a port");
        relayed::port_forward(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_schedulers(
        &self,
        _: Request<ListSchedulersRequest>,
    ) -> Answer<ListSchedulersReply> {
        Ok(Response::new(schedulers::list(&self.0).await))
    }

    async fn remove_scheduler(
        &self,
        request: Request<RemoveSchedulerRequest>,
    ) -> Answer<WriteReply> {
        audit(&request, "remove a scheduler");
        // In a task of its own: a change that was begun is finished, whoever waits for it.
        let office = Arc::clone(&self.0);
        let removed =
            tokio::spawn(async move { schedulers::remove(&office, request.into_inner()).await });
        let removed = removed.await.map_err(|error| Status::internal(error.to_string()))?;
        removed.map(Response::new)
    }

    async fn list_authorities(
        &self,
        _: Request<ListAuthoritiesRequest>,
    ) -> Answer<AuthoritiesView> {
        authorities::list(&self.0).await.map(Response::new)
    }

    async fn rotate_authority(
        &self,
        request: Request<RotateAuthorityRequest>,
    ) -> Answer<WriteReply> {
        audit(&request, "make another authority");
        // In a task of its own: a key that was made is used, whoever waits for it.
        let office = Arc::clone(&self.0);
        let made =
            tokio::spawn(async move { authorities::rotate(&office, request.into_inner()).await });
        let made = made.await.map_err(|error| Status::internal(error.to_string()))?;
        made.map(Response::new)
    }

    async fn finish_authority(
        &self,
        request: Request<FinishAuthorityRequest>,
    ) -> Answer<WriteReply> {
        audit(&request, "give the older authority up");
        authorities::finish(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn renew_admin(&self, request: Request<RenewRequest>) -> Answer<RenewReply> {
        audit(&request, "renew a context");
        let peer = callers::peer(&request)?;
        let caller = request.extensions().get::<Caller>();
        let caller = caller.ok_or_else(|| Status::unauthenticated("nobody calls"))?;
        let who = (peer, caller.address, caller.authority);
        authorities::renew(&self.0, who, &request.get_ref().csr).map(Response::new)
    }

    async fn list_operators(
        &self,
        request: Request<ListOperatorsRequest>,
    ) -> Answer<ListOperatorsReply> {
        let own = callers::peer(&request)?;
        operators::list(&self.0, &own.id).await.map(Response::new)
    }

    async fn add_operator(&self, request: Request<AddOperatorRequest>) -> Answer<AddOperatorReply> {
        audit(&request, "add an operator");
        operators::add(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn remove_operator(&self, request: Request<RemoveOperatorRequest>) -> Answer<WriteReply> {
        audit(&request, "remove an operator");
        operators::remove(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionReply> {
        Ok(Response::new(reads::version(&self.0)))
    }
}
