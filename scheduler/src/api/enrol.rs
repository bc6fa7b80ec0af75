//! The one door without a certificate: a join token becomes one.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use model::{NodeName, RequestId, TokenId, node::LABEL_CHARS_MAX, token::Role};
use proto::v1::{JoinReply, JoinRequest, JoinSchedulerReply, JoinSchedulerRequest, enrol_server};
use scheduler_core::{Command, Outcome, cluster::scheduler_number};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};

use super::{Office, status};
use crate::{
    clock,
    data_dir::FIRST_FORM,
    listener::Caller,
    pki::{Holder, SigningRequest, TokenRefusal, check_token, hash_secret},
    refusals::{Refused, words},
};

/// A secret has 32 bytes as hexadecimal digits; more is not hashed.
const SECRET_CHARS_MAX: usize = 256;
/// Labels one node may bring.
const LABELS_MAX: usize = 64;
/// `HOST:PORT`: a DNS name has at most 253 characters.
const ADDRESS_CHARS_MAX: usize = 260;

/// The service `Enrol`.
pub(crate) struct Enrol(pub(crate) Arc<Office>);

impl Enrol {
    fn tell(&self, address: Option<SocketAddr>, name: &str, refused: &Status) {
        let Some(untold) = self.0.refusals.note(Refused::Join) else { return };
        let (name, reason) = (words(name), words(refused.message()));
        tracing::warn!(name, ?address, reason, untold, "a join was refused");
    }
}

#[tonic::async_trait]
impl enrol_server::Enrol for Enrol {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let address = request.extensions().get::<Caller>().map(|caller| caller.address);
        let request = request.into_inner();
        let name = request.name.clone();
        let joined = join(&self.0, request).await;
        match &joined {
            Ok(reply) => tracing::info!(node = reply.node, name, ?address, "a node joined"),
            Err(refused) => self.tell(address, &name, refused),
        }
        joined.map(Response::new)
    }

    async fn join_scheduler(
        &self,
        request: Request<JoinSchedulerRequest>,
    ) -> Result<Response<JoinSchedulerReply>, Status> {
        let address = request.extensions().get::<Caller>().map(|caller| caller.address);
        let joined = join_scheduler(&self.0, request.into_inner()).await;
        match &joined {
            Ok(reply) => {
                tracing::info!(scheduler = reply.scheduler, ?address, "a scheduler joined");
            }
            Err(refused) => self.tell(address, "a scheduler", refused),
        }
        joined.map(Response::new)
    }
}

async fn join(office: &Office, request: JoinRequest) -> Result<JoinReply, Status> {
    let name: NodeName = request.name.parse().map_err(status::bad_input)?;
    check_words(&request.labels.iter().collect(), &request.address)?;
    let secret = secret(&request.token_secret, Role::Node)?;
    let signing = SigningRequest::read(&request.csr).map_err(|error| status::pki_error(&error))?;
    office.log.barrier().await.map_err(status::log_error)?;
    let token = TokenId::new(request.token_id);
    {
        let cluster = office.log.cluster();
        check_token(cluster.tokens().get(&token), &secret, Role::Node, clock::now())
            .map_err(|refusal| status::token_refused(refusal, Role::Node))?;
    }
    // An answer that was lost on the way is asked for again with the same key: that is the same node. Under another
    // name it is another question: the answer to the first may have been that the name is taken.
    let repeat = Sha256::new().chain_update(secret).chain_update(signing.key());
    let repeat = repeat.chain_update(name.as_str()).finalize();
    let repeat = repeat.first_chunk().map(|bytes| RequestId(u128::from_be_bytes(*bytes)));
    let join = Command::JoinNode {
        name,
        labels: request.labels.into_iter().collect(),
        address: request.address,
        token,
        secret_hash: hash_secret(&secret),
    };
    let (_, outcome) = status::outcome(office.log.propose(repeat, join).await)?;
    let Outcome::Node(node) = outcome else {
        return Err(Status::internal("the log gave a join another answer than a node"));
    };
    let holder = Holder { role: Role::Node, id: node.to_string() };
    let signed = office.issuing()?.sign_request(&signing, &holder);
    Ok(JoinReply {
        cluster: office.cluster.clone(),
        node: node.raw(),
        certificate: signed.map_err(|error| status::pki_error(&error))?,
        authorities: office.keys.trusted_pem(),
    })
}

async fn join_scheduler(
    office: &Office,
    request: JoinSchedulerRequest,
) -> Result<JoinSchedulerReply, Status> {
    let secret = secret(&request.token_secret, Role::Scheduler)?;
    let (form, agreed) = (request.form.max(FIRST_FORM), office.log.cluster().form());
    if form < agreed {
        return Err(Status::failed_precondition(format!(
            "this scheduler is of an earlier version, which reads entries up to form {form}; the cluster \
             writes form {agreed}\nhint: install the version of the others"
        )));
    }
    // An answer that was lost on the way is asked for again with the same words: that is the same
    // scheduler.
    let repeat = Sha256::new().chain_update(secret).chain_update(&request.request_id).finalize();
    let repeat = repeat.first_chunk().map(|bytes| RequestId(u128::from_be_bytes(*bytes)));
    office.log.barrier().await.map_err(status::log_error)?;
    let token = TokenId::new(request.token_id);
    {
        let cluster = office.log.cluster();
        check_token(cluster.tokens().get(&token), &secret, Role::Scheduler, clock::now())
            .map_err(|refusal| status::token_refused(refusal, Role::Scheduler))?;
    }
    let join = Command::JoinScheduler { token, secret_hash: hash_secret(&secret) };
    status::outcome(office.log.propose(repeat, join).await)?;
    let presented = office.presented()?;
    Ok(JoinSchedulerReply {
        cluster: office.cluster.clone(),
        name: office.name.clone(),
        scheduler: scheduler_number(token),
        authority: presented.pem().to_owned(),
        authority_key: presented.key_pem(),
        origin: office.origin.clone(),
        authorities: office.keys.for_another(),
    })
}

/// Secrets travel as 64 hexadecimal digits.
fn secret(text: &str, wanted: Role) -> Result<[u8; 32], Status> {
    let known = (text.len() <= SECRET_CHARS_MAX).then(|| model::token::unhex(text)).flatten();
    known.ok_or_else(|| status::token_refused(TokenRefusal::Unknown, wanted))
}

fn check_words(labels: &BTreeMap<&String, &String>, address: &str) -> Result<(), Status> {
    if labels.len() > LABELS_MAX {
        return Err(status::bad_input(format!("a node has at most {LABELS_MAX} labels")));
    }
    let long = |text: &str| text.chars().count() > LABEL_CHARS_MAX;
    if let Some((key, _)) = labels.iter().find(|(key, value)| long(key) || long(value)) {
        let start: String = key.chars().take(LABEL_CHARS_MAX).collect();
        let text = format!("label `{start}`: at most {LABEL_CHARS_MAX} characters are allowed");
        return Err(status::bad_input(text));
    }
    if address.chars().count() > ADDRESS_CHARS_MAX {
        let text = format!("an address has at most {ADDRESS_CHARS_MAX} characters");
        return Err(status::bad_input(text));
    }
    Ok(())
}
