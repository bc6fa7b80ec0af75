//! What agents call. The node is the one in the certificate.

use std::sync::Arc;

use model::{NodeId, token::Role};
use proto::v1::{RelayFrame, RenewReply, RenewRequest, SchedulerMessage, agent_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Office, callers, status};
use crate::{
    dispatch::{self, Inbound, Relays},
    pki::{Holder, SigningRequest},
};

/// The service `Agent`.
pub(crate) struct Agent(pub(crate) Arc<Office>);

impl Agent {
    /// The node, unless it was removed: its certificate outlives it and is worth nothing then.
    async fn member(&self, node: NodeId) -> Result<NodeId, Status> {
        // Only the leader's word counts; a member that is behind may not know the node yet.
        self.0.log.barrier().await.map_err(status::log_error)?;
        if self.0.log.cluster().node(node).is_none() {
            return Err(Status::permission_denied(format!(
                "node {node} is no member of the cluster\nhint: remove the agent's data directory \
                 and join again with a new token"
            )));
        }
        Ok(node)
    }
}

#[tonic::async_trait]
impl agent_server::Agent for Agent {
    type SessionStream = ReceiverStream<Result<SchedulerMessage, Status>>;
    type RelayStream = ReceiverStream<Result<RelayFrame, Status>>;

    async fn session(
        &self,
        request: Request<Inbound>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let node = self.member(callers::live_node(&request)?).await?;
        let outbound = dispatch::serve(Arc::clone(&self.0.dispatch), node, request.into_inner());
        Ok(Response::new(ReceiverStream::new(outbound)))
    }

    async fn relay(
        &self,
        request: Request<Streaming<RelayFrame>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        let node = self.member(callers::live_node(&request)?).await?;
        let (to_agent, outbound) = Relays::channel();
        let dispatch = Arc::clone(&self.0.dispatch);
        tokio::spawn(async move {
            dispatch.relays.attach(node, request.into_inner(), to_agent).await;
        });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let node = self.member(callers::node(&request)?).await?;
        let holder = Holder { role: Role::Node, id: node.to_string() };
        let authority = self.0.issuing()?;
        let signed = SigningRequest::read(&request.get_ref().csr)
            .and_then(|signing| authority.sign_request(&signing, &holder));
        let certificate = signed.map_err(|error| status::pki_error(&error))?;
        tracing::info!(%node, "a certificate was renewed");
        let authorities = self.0.keys.trusted_pem();
        Ok(Response::new(RenewReply { certificate, authorities }))
    }
}
