//! A cluster that answers as a test tells it to, over real gRPC in memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use proto::v1::{self as pb, control_server as server};
use tokio_stream::{Iter, StreamExt as _, iter, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, async_trait, transport};

use crate::client::Client;

/// Answers to one kind of question, first come first served; the last one is given for ever.
type Answers<A> = VecDeque<Result<A, Status>>;
type Replies<A> = Iter<std::vec::IntoIter<Result<A, Status>>>;

/// What the cluster will answer, and what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) plan: Answers<pb::PlanView>,
    pub(crate) what_if: Answers<pb::WhatIfView>,
    pub(crate) apply: Answers<pb::ApplyReply>,
    pub(crate) scale: Answers<pb::WriteReply>,
    pub(crate) remove: Answers<pb::WriteReply>,
    pub(crate) plan_drain: Answers<pb::DrainView>,
    pub(crate) drain: Answers<pb::WriteReply>,
    pub(crate) rebalance: Answers<pb::RebalanceView>,
    pub(crate) moves: Answers<pb::WriteReply>,
    pub(crate) set_automatic: Answers<pb::WriteReply>,
    pub(crate) status: Answers<pb::StatusView>,
    pub(crate) label: Answers<pb::WriteReply>,
    pub(crate) remove_node: Answers<pb::WriteReply>,
    pub(crate) nodes: Answers<pb::ListNodesReply>,
    pub(crate) tasks: Answers<pb::ListTasksReply>,
    pub(crate) stacks: Answers<pb::ListStacksReply>,
    pub(crate) explain: Answers<pb::ExplainReply>,
    pub(crate) advise: Answers<pb::AdviseReply>,
    /// One stream per call.
    pub(crate) watch: Answers<Vec<Result<pb::WatchReply, Status>>>,
    pub(crate) events: Answers<Vec<Result<pb::EventRow, Status>>>,
    pub(crate) logs: Answers<Vec<Result<pb::LogEntry, Status>>>,
    /// What a command answers once it has read all its input.
    pub(crate) exec: Vec<pb::relay_frame::Frame>,
    /// The name of every question and the request id of every write, in order.
    pub(crate) asked: Vec<(&'static str, Vec<u8>)>,
    /// What commands were given to read.
    pub(crate) typed: Vec<u8>,
}

/// The cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeCluster(pub(crate) Arc<Mutex<Script>>);

impl FakeCluster {
    /// A cluster with these answers, and who asks it.
    pub(crate) fn new(script: Script) -> (Self, Client) {
        let cluster = Self(Arc::new(Mutex::new(script)));
        let service = cluster.clone();
        let connect = tower::service_fn(move |_: tonic::codegen::http::Uri| {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let incoming =
                tokio_stream::once(Ok::<_, std::io::Error>(theirs)).chain(tokio_stream::pending());
            let control = server::ControlServer::new(service.clone());
            tokio::spawn(
                transport::Server::builder().add_service(control).serve_with_incoming(incoming),
            );
            async { Ok::<_, std::io::Error>(TokioIo::new(ours)) }
        });
        let channel =
            transport::Endpoint::from_static("http://cluster").connect_with_connector_lazy(connect);
        (cluster, Client::through(channel, Duration::from_secs(30)))
    }

    /// The names of the questions it was asked.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().asked.iter().map(|(name, _)| *name).collect()
    }

    fn answer<A: Clone>(
        &self,
        name: &'static str,
        id: &[u8],
        answers: impl FnOnce(&mut Script) -> &mut Answers<A>,
    ) -> Result<Response<A>, Status> {
        let mut script = self.0.lock().unwrap();
        script.asked.push((name, id.to_vec()));
        let answers = answers(&mut script);
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.unwrap_or_else(|| Err(unscripted())).map(Response::new)
    }

    fn stream<A: Clone>(
        &self,
        name: &'static str,
        answers: impl FnOnce(&mut Script) -> &mut Answers<Vec<Result<A, Status>>>,
    ) -> Result<Response<Replies<A>>, Status> {
        Ok(self.answer(name, &[], answers)?.map(iter))
    }
}

fn unscripted() -> Status {
    Status::unimplemented("the test does not tell")
}

#[async_trait]
impl server::Control for FakeCluster {
    type WatchStream = Replies<pb::WatchReply>;
    type EventsStream = Replies<pb::EventRow>;
    type LogsStream = Replies<pb::LogEntry>;
    type ExecStream = ReceiverStream<Result<pb::RelayFrame, Status>>;
    type PortForwardStream = Replies<pb::RelayFrame>;

    async fn apply(
        &self,
        request: Request<pb::ApplyRequest>,
    ) -> Result<Response<pb::ApplyReply>, Status> {
        self.answer("apply", &request.get_ref().request_id, |script| &mut script.apply)
    }
    async fn plan(&self, _: Request<pb::PlanRequest>) -> Result<Response<pb::PlanView>, Status> {
        self.answer("plan", &[], |script| &mut script.plan)
    }
    async fn watch(
        &self,
        _: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.stream("watch", |script| &mut script.watch)
    }
    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksReply>, Status> {
        let name = if request.get_ref().all { "all tasks" } else { "tasks" };
        self.answer(name, &[], |script| &mut script.tasks)
    }
    async fn explain(
        &self,
        _: Request<pb::ExplainRequest>,
    ) -> Result<Response<pb::ExplainReply>, Status> {
        self.answer("explain", &[], |script| &mut script.explain)
    }
    async fn list_stacks(
        &self,
        _: Request<pb::ListStacksRequest>,
    ) -> Result<Response<pb::ListStacksReply>, Status> {
        self.answer("stacks", &[], |script| &mut script.stacks)
    }
    async fn remove_stack(
        &self,
        request: Request<pb::RemoveStackRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        self.answer("remove", &request.get_ref().request_id, |script| &mut script.remove)
    }
    async fn scale(
        &self,
        request: Request<pb::ScaleRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        self.answer("scale", &request.get_ref().request_id, |script| &mut script.scale)
    }
    async fn logs(
        &self,
        _: Request<pb::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        self.stream("logs", |script| &mut script.logs)
    }
    async fn port_forward(
        &self,
        _: Request<Streaming<pb::ForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        Err(unscripted())
    }
    async fn exec(
        &self,
        request: Request<Streaming<pb::ExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        use pb::relay_frame::Frame;
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        let script = Arc::clone(&self.0);
        let mut input = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = input.message().await {
                match message.frame.and_then(|frame| frame.frame) {
                    Some(Frame::Stdin(bytes)) => script.lock().unwrap().typed.extend(bytes),
                    Some(Frame::CloseStdin(_)) => break,
                    _ => {}
                }
            }
            let frames = std::mem::take(&mut script.lock().unwrap().exec);
            for frame in frames {
                let frame = pb::RelayFrame { relay: 0, frame: Some(frame) };
                if sender.send(Ok(frame)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn advise(
        &self,
        _: Request<pb::AdviseRequest>,
    ) -> Result<Response<pb::AdviseReply>, Status> {
        self.answer("advise", &[], |script| &mut script.advise)
    }
    async fn list_nodes(
        &self,
        _: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesReply>, Status> {
        self.answer("nodes", &[], |script| &mut script.nodes)
    }
    async fn placement(
        &self,
        _: Request<pb::PlacementRequest>,
    ) -> Result<Response<pb::PlacementView>, Status> {
        Err(unscripted())
    }
    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusView>, Status> {
        self.answer("status", &[], |script| &mut script.status)
    }
    async fn stack_history(
        &self,
        _: Request<pb::StackHistoryRequest>,
    ) -> Result<Response<pb::StackHistoryReply>, Status> {
        Err(unscripted())
    }
    async fn rollback_stack(
        &self,
        _: Request<pb::RollbackStackRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        Err(unscripted())
    }
    async fn restart(
        &self,
        _: Request<pb::RestartRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        Err(unscripted())
    }
    async fn rebalance(
        &self,
        _: Request<pb::RebalanceRequest>,
    ) -> Result<Response<pb::RebalanceView>, Status> {
        self.answer("rebalance", &[], |script| &mut script.rebalance)
    }
    async fn move_task(
        &self,
        request: Request<pb::MoveTaskRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        let asked = request.into_inner();
        self.answer("move", &asked.request_id, |script| &mut script.moves)
    }
    async fn set_automatic_rebalance(
        &self,
        request: Request<pb::SetAutomaticRebalanceRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        let asked = request.into_inner();
        self.answer("automatic", &asked.request_id, |script| &mut script.set_automatic)
    }
    async fn set_schedulable(
        &self,
        _: Request<pb::SetSchedulableRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        Err(unscripted())
    }
    async fn what_if(
        &self,
        _: Request<pb::WhatIfRequest>,
    ) -> Result<Response<pb::WhatIfView>, Status> {
        self.answer("what-if", &[], |script| &mut script.what_if)
    }
    async fn plan_drain(
        &self,
        _: Request<pb::PlanDrainRequest>,
    ) -> Result<Response<pb::DrainView>, Status> {
        self.answer("plan drain", &[], |script| &mut script.plan_drain)
    }
    async fn drain_node(
        &self,
        request: Request<pb::DrainNodeRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        self.answer("drain", &request.get_ref().request_id, |script| &mut script.drain)
    }
    async fn label_node(
        &self,
        request: Request<pb::LabelNodeRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        self.answer("label", &request.get_ref().request_id, |script| &mut script.label)
    }
    async fn remove_node(
        &self,
        request: Request<pb::RemoveNodeRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        self.answer("remove node", &request.get_ref().request_id, |script| &mut script.remove_node)
    }
    async fn create_token(
        &self,
        _: Request<pb::CreateTokenRequest>,
    ) -> Result<Response<pb::CreateTokenReply>, Status> {
        Err(unscripted())
    }
    async fn list_tokens(
        &self,
        _: Request<pb::ListTokensRequest>,
    ) -> Result<Response<pb::ListTokensReply>, Status> {
        Err(unscripted())
    }
    async fn revoke_token(
        &self,
        _: Request<pb::RevokeTokenRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        Err(unscripted())
    }
    async fn events(
        &self,
        _: Request<pb::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        self.stream("events", |script| &mut script.events)
    }
    async fn list_schedulers(
        &self,
        _: Request<pb::ListSchedulersRequest>,
    ) -> Result<Response<pb::ListSchedulersReply>, Status> {
        Err(unscripted())
    }
    async fn remove_scheduler(
        &self,
        _: Request<pb::RemoveSchedulerRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        Err(unscripted())
    }
    async fn list_authorities(
        &self,
        _: Request<pb::ListAuthoritiesRequest>,
    ) -> Result<Response<pb::AuthoritiesView>, Status> {
        Err(unscripted())
    }
    async fn rotate_authority(
        &self,
        _: Request<pb::RotateAuthorityRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        Err(unscripted())
    }
    async fn finish_authority(
        &self,
        _: Request<pb::FinishAuthorityRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        Err(unscripted())
    }
    async fn list_operators(
        &self,
        _: Request<pb::ListOperatorsRequest>,
    ) -> Result<Response<pb::ListOperatorsReply>, Status> {
        Err(unscripted())
    }
    async fn add_operator(
        &self,
        _: Request<pb::AddOperatorRequest>,
    ) -> Result<Response<pb::AddOperatorReply>, Status> {
        Err(unscripted())
    }
    async fn remove_operator(
        &self,
        _: Request<pb::RemoveOperatorRequest>,
    ) -> Result<Response<pb::WriteReply>, Status> {
        Err(unscripted())
    }
    async fn renew_admin(
        &self,
        _: Request<pb::RenewRequest>,
    ) -> Result<Response<pb::RenewReply>, Status> {
        Err(unscripted())
    }
    async fn version(
        &self,
        _: Request<pb::VersionRequest>,
    ) -> Result<Response<pb::VersionReply>, Status> {
        Err(unscripted())
    }
}
