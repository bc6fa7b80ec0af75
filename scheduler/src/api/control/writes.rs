//! Writes: one command each, done once per request id.

use std::sync::Arc;

use model::{
    RequestId, Revision, ServiceName, ServiceSpec, StackName, StackSpec, TokenId,
    spec::MountSource,
    token::{JoinToken, Role},
};
use prost::Message as _;
use proto::{
    convert::{At as _, BadField},
    transport::SET_BYTES_MAX,
    v1::{
        ApplyReply, ApplyRequest, CreateTokenReply, CreateTokenRequest, RemoveStackRequest,
        RestartRequest, RevokeTokenRequest, RollbackStackRequest, ScaleRequest, WriteReply,
    },
};
use scheduler_core::{
    Command, Outcome, Rejection,
    cluster::{Stack, limits},
};
use tonic::Status;

use super::{
    super::{Office, status},
    admission, reads,
};
use crate::{clock, pki::hash_secret};

/// The largest specification of a stack.
const SPEC_BYTES_MAX: usize = 1 << 20;
/// The largest service, with the names its volumes have at an engine. Each of its replicas carries all of it to its
/// node, and what a node is sent at once must reach it whatever was taken. What was applied to an earlier version
/// may be larger.
const SERVICE_BYTES_MAX: usize = 64 << 10;
/// What the names of a volume are wrapped in.
const FRAME_BYTES: usize = 24;
/// What else stands in a task's assignment: four names and six numbers.
const ASSIGNMENT_BYTES_MAX: usize = 1 << 10;
/// What else stands in a node's set: its stacks, and the volumes to be removed there.
const REST_OF_SET_BYTES_MAX: usize = 6 << 20;
const _: () = assert!(
    limits::MAX_TASKS_PER_NODE as usize * (SERVICE_BYTES_MAX + ASSIGNMENT_BYTES_MAX)
        + REST_OF_SET_BYTES_MAX
        <= SET_BYTES_MAX,
    "a node might be given more than can be sent to it"
);
/// The longest a token may last: it is meant to be used at once.
const TOKEN_TTL_MAX_MS: u64 = 30 * 24 * 3600 * 1000;

/// Asking again with the same id does nothing again, so there must be one.
pub(super) fn request_id(bytes: &[u8]) -> Result<RequestId, Status> {
    let id: [u8; 16] = bytes.try_into().map_err(|_| {
        status::bad_input(format!("request_id: 16 bytes are needed, there are {}", bytes.len()))
    })?;
    Ok(RequestId(u128::from_be_bytes(id)))
}

/// Reads the specification of a request.
pub(super) fn spec(spec: Option<proto::v1::StackSpec>) -> Result<StackSpec, Status> {
    let spec = spec.ok_or_else(|| status::bad_input("spec: missing"))?;
    let size = spec.encoded_len();
    if size > SPEC_BYTES_MAX {
        let text = format!("the stack is {size} bytes large, at most {SPEC_BYTES_MAX} are allowed");
        return Err(status::bad_input(text));
    }
    let whole = StackSpec::try_from(spec.clone());
    let whole = whole.and_then(|whole| admission::check(&whole).map(|()| whole));
    let whole = whole.at("spec").map_err(status::bad_input)?;
    for (name, service) in &spec.services {
        let beside = whole.services.get(name.as_str()).map_or(0, |read| beside_bytes(&whole, read));
        let small = check_size(service, beside).at(name.as_str()).at("services");
        small.map_err(status::bad_input)?;
    }
    Ok(whole)
}

/// What each replica says of its volumes besides: their names in the file and at an engine.
fn beside_bytes(stack: &StackSpec, service: &ServiceSpec) -> usize {
    let volumes = service.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name),
        _ => None,
    });
    volumes.map(|name| name.as_str().len() + stack.engine_volume(name).len() + FRAME_BYTES).sum()
}

fn check_size(service: &proto::v1::ServiceSpec, beside: usize) -> Result<(), BadField> {
    let size = service.encoded_len().saturating_add(beside);
    if size <= SERVICE_BYTES_MAX {
        return Ok(());
    }
    let longest = service.environment.iter().max_by_key(|(_, value)| value.len());
    let longest = longest.filter(|(_, value)| value.len() > size / 2);
    let which = longest.map_or_else(String::new, |(name, _)| format!(", most of it {name}"));
    Err(BadField::new(format!(
        "it is {size} bytes large{which}; at most {SERVICE_BYTES_MAX} are allowed: give what is long to its \
         containers in a file or a volume"
    )))
}

/// Before a command that only schedulers of that form read: they may have been updated just now.
pub(super) async fn raise_form(office: &Office, needed: u32) -> Result<(), Status> {
    office.log.barrier().await.map_err(status::log_error)?;
    if office.log.cluster().form() < needed {
        office.door.raise_form(&*office.log).await?;
    }
    Ok(())
}

pub(super) async fn write(
    office: &Office,
    id: &[u8],
    command: Command,
) -> Result<WriteReply, Status> {
    let id = request_id(id)?;
    let (cluster, outcome) = status::outcome(office.log.propose(Some(id), command).await)?;
    let revision = match outcome {
        Outcome::Stack(revision) => revision,
        _ => cluster,
    };
    Ok(WriteReply { revision: revision.0, changed: outcome != Outcome::Unchanged })
}

pub(super) async fn apply(
    office: &Arc<Office>,
    request: ApplyRequest,
) -> Result<ApplyReply, Status> {
    let id = request_id(&request.request_id)?;
    let spec = spec(request.spec)?;
    // What will happen is shown as seen right before: afterwards there would be nothing to change.
    let plan = reads::preview(office, &spec).await?;
    let stack = spec.name.clone();
    let command = Command::ApplyStack { spec, basis: request.basis.map(Revision) };
    let (_, outcome) = status::outcome(office.log.propose(Some(id), command).await)?;
    let revision = match outcome {
        Outcome::Stack(revision) => revision,
        _ => office.log.cluster().stack(&stack).map_or(Revision(0), Stack::revision),
    };
    Ok(ApplyReply {
        revision: revision.0,
        changed: outcome != Outcome::Unchanged,
        plan: Some(plan),
    })
}

pub(super) fn stack(name: &str) -> Result<StackName, Status> {
    name.parse().map_err(status::bad_input)
}

pub(super) fn service(name: &str) -> Result<ServiceName, Status> {
    name.parse().map_err(status::bad_input)
}

pub(super) async fn remove_stack(
    office: &Office,
    request: RemoveStackRequest,
) -> Result<WriteReply, Status> {
    let stack = stack(&request.stack)?;
    let command = Command::RemoveStack { stack, volumes: request.volumes };
    write(office, &request.request_id, command).await
}

pub(super) async fn rollback_stack(
    office: &Office,
    request: RollbackStackRequest,
) -> Result<WriteReply, Status> {
    let stack = stack(&request.stack)?;
    let command = Command::RollbackStack { stack, to: request.to.map(Revision) };
    write(office, &request.request_id, command).await
}

pub(super) async fn scale(office: &Office, request: ScaleRequest) -> Result<WriteReply, Status> {
    let (stack, service) = (stack(&request.stack)?, service(&request.service)?);
    let command = Command::Scale { stack, service, replicas: request.replicas };
    write(office, &request.request_id, command).await
}

pub(super) async fn restart(
    office: &Office,
    request: RestartRequest,
) -> Result<WriteReply, Status> {
    let stack = stack(&request.stack)?;
    let service = request.service.as_deref().map(service).transpose()?;
    let command = Command::Restart { stack, service, slot: request.replica };
    write(office, &request.request_id, command).await
}

pub(super) async fn create_token(
    office: &Office,
    request: CreateTokenRequest,
) -> Result<CreateTokenReply, Status> {
    let id = request_id(&request.request_id)?;
    let role = match proto::v1::Role::try_from(request.role) {
        Ok(proto::v1::Role::Node) => Role::Node,
        Ok(proto::v1::Role::Scheduler) => Role::Scheduler,
        _ => return Err(status::bad_input("role: a token is for `node` or `scheduler`")),
    };
    if !(1..=TOKEN_TTL_MAX_MS).contains(&request.ttl_ms) {
        let days = TOKEN_TTL_MAX_MS / (24 * 3600 * 1000);
        return Err(status::bad_input(format!(
            "ttl: a token lasts more than 0 and at most {days} d"
        )));
    }
    let secret = office.presented()?.token_secret(id);
    let expires_at = clock::now().plus_millis(request.ttl_ms);
    let command = Command::CreateToken { role, secret_hash: hash_secret(&secret), expires_at };
    let (_, outcome) = status::outcome(office.log.propose(Some(id), command).await)?;
    let Outcome::Token(token) = outcome else {
        return Err(Status::internal("the log gave a new token another answer than its id"));
    };
    // Asked for again, it is the token of the first time, with the end it got then.
    let made = office.log.cluster().tokens().get(&token).cloned();
    let made = made.ok_or_else(|| status::rejected(&Rejection::UnknownToken(token)))?;
    let held = office.keys.token_secret(id, &made.secret_hash);
    let (secret, authority) = held.ok_or_else(|| {
        Status::failed_precondition(
            "the token was made with an authority that is trusted no more: make another",
        )
    })?;
    let handed =
        JoinToken { role: made.role, id: token, expires_at: made.expires_at, authority, secret };
    Ok(CreateTokenReply {
        id: token.to_string(),
        token: handed.to_string(),
        expires_at: made.expires_at.to_rfc3339(),
    })
}

pub(super) async fn revoke_token(
    office: &Office,
    request: RevokeTokenRequest,
) -> Result<WriteReply, Status> {
    let token: TokenId = request.id.parse().map_err(status::bad_input)?;
    write(office, &request.request_id, Command::RevokeToken { token }).await
}
