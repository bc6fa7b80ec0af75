//! Who may call what: decided from the certificate of the connection, never from a message.

use std::sync::Arc;

use model::{NodeId, token::Role};
use proto::transport::Peer;
use tonic::{Request, Status, service::Interceptor};

use crate::{
    listener::Caller,
    log::ReplicatedLog,
    refusals::{Refusals, Refused, words},
};

/// Lets callers of one role into a service.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) role: Role,
    /// Who was removed is nobody.
    pub(crate) log: Arc<dyn ReplicatedLog>,
    /// Whether a certificate that has ended still passes here; the handlers then decide.
    pub(crate) expired_too: bool,
    pub(crate) refusals: Refusals,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let caller = request.extensions().get::<Caller>();
        self.check(caller).inspect_err(|refused| self.tell(caller, refused))?;
        Ok(request)
    }
}

impl Gate {
    fn check(&self, caller: Option<&Caller>) -> Result<(), Status> {
        let peer = caller.and_then(|caller| caller.peer.as_deref()).ok_or_else(|| {
            Status::unauthenticated("this needs a certificate of the cluster, and there was none")
        })?;
        if peer.role != self.role {
            let (own, needed) = (peer.role.as_str(), self.role.as_str());
            let text = format!("a certificate of role {own} may not do this, only role {needed}");
            return Err(Status::permission_denied(text));
        }
        if peer.role == Role::Admin && self.log.cluster().shuts_out_operator(&peer.id) {
            return Err(Status::permission_denied(format!(
                "operator {0} was removed, and what has a certificate of that name is nobody any more\nhint: \
                 another operator gives you one of your own with `sisoctl operator add NAME`",
                peer.id
            )));
        }
        if caller.is_some_and(|caller| caller.expired) && !self.expired_too {
            return Err(expired());
        }
        Ok(())
    }

    fn tell(&self, caller: Option<&Caller>, refused: &Status) {
        let Some(untold) = self.refusals.note(Refused::Call) else { return };
        let address = caller.map(|caller| caller.address);
        let peer = caller.and_then(|caller| caller.peer.as_deref());
        let id = peer.map(|peer| words(&peer.id));
        let why = refused.message();
        tracing::warn!(?address, ?id, why, untold, "a call was refused");
    }
}

fn expired() -> Status {
    Status::unauthenticated(
        "the certificate has expired\nhint: check the clock of both machines; a node renews its \
         certificate by itself, a person takes a new DIR/admin.yaml from the scheduler",
    )
}

/// The certificate's holder, past a [`Gate`].
pub(crate) fn peer<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    let peer = request.extensions().get::<Caller>().and_then(|caller| caller.peer.clone());
    peer.ok_or_else(|| Status::unauthenticated("there was no certificate"))
}

/// The scheduler that calls, past a [`Gate`].
pub(crate) fn scheduler<T>(request: &Request<T>) -> Result<u64, Status> {
    let peer = peer(request)?;
    let id = peer.id.parse();
    id.map_err(|_| Status::unauthenticated(format!("`{}` is no scheduler's number", peer.id)))
}

/// The node that calls, past a [`Gate`]; its certificate may have ended.
pub(crate) fn node<T>(request: &Request<T>) -> Result<NodeId, Status> {
    let peer = peer(request)?;
    let id = peer.id.parse();
    id.map_err(|_| Status::unauthenticated(format!("`{}` in the certificate is no node", peer.id)))
}

/// The node that calls, with a certificate that has not ended.
pub(crate) fn live_node<T>(request: &Request<T>) -> Result<NodeId, Status> {
    if request.extensions().get::<Caller>().is_some_and(|caller| caller.expired) {
        return Err(expired());
    }
    node(request)
}
