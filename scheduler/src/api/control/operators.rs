//! Operators: people, and what acts for them, each with a certificate of their own.

use std::collections::BTreeMap;

use model::{OperatorName, Timestamp, token::Role};
use proto::v1::{
    AddOperatorReply, AddOperatorRequest, ListOperatorsReply, OperatorRow, RemoveOperatorRequest,
    WriteReply,
};
use scheduler_core::Command;
use tonic::Status;

use super::{
    super::{Office, status},
    writes::{raise_form, request_id, write},
};
use crate::pki::{Holder, SigningRequest};

/// Since this form there are operators.
const FORM: u32 = 4;

/// All operators; `own` is the name of whoever asks.
pub(super) async fn list(office: &Office, own: &str) -> Result<ListOperatorsReply, Status> {
    office.log.barrier().await.map_err(status::log_error)?;
    let mut uses: BTreeMap<String, (Timestamp, String)> = BTreeMap::new();
    for seen in office.keys.contexts() {
        let now = (seen.last, seen.address.to_string());
        let known = uses.entry(seen.name).or_insert_with(|| now.clone());
        if now.0 > known.0 {
            *known = now;
        }
    }
    let row = |name: String, added_at: Option<Timestamp>| {
        let last = uses.get(&name);
        OperatorRow {
            own: name == own,
            added_at: added_at.map(Timestamp::to_rfc3339),
            last_used_at: last.map(|(at, _)| at.to_rfc3339()),
            last_used_from: last.map(|(_, from)| from.clone()),
            name,
        }
    };
    let cluster = office.log.cluster();
    let added = cluster.operators().map(|(name, at)| row(name.to_string(), Some(at)));
    let operators = std::iter::once(row(cluster.own_operator(), None)).chain(added).collect();
    Ok(ListOperatorsReply { operators })
}

/// Adds an operator, and signs a certificate for the key it brings.
pub(super) async fn add(
    office: &Office,
    request: AddOperatorRequest,
) -> Result<AddOperatorReply, Status> {
    let name = name(&request.name)?;
    let id = request_id(&request.request_id)?;
    let signing = SigningRequest::read(&request.csr).map_err(|error| status::pki_error(&error))?;
    // Without a key nobody is added who could not come in.
    let issuing = office.issuing()?;
    let holder = Holder { role: Role::Admin, id: name.to_string() };
    let certificate =
        issuing.sign_request(&signing, &holder).map_err(|error| status::pki_error(&error))?;
    raise_form(office, FORM).await?;
    let proposed = office.log.propose(Some(id), Command::AddOperator { name }).await;
    let (revision, _) = status::outcome(proposed)?;
    let authorities = office.keys.trusted_pem();
    Ok(AddOperatorReply { revision: revision.0, certificate, authorities })
}

/// From now on whoever has a certificate of that name is nobody.
pub(super) async fn remove(
    office: &Office,
    request: RemoveOperatorRequest,
) -> Result<WriteReply, Status> {
    let name = name(&request.name)?;
    raise_form(office, FORM).await?;
    write(office, &request.request_id, Command::RemoveOperator { name }).await
}

fn name(text: &str) -> Result<OperatorName, Status> {
    text.parse().map_err(status::bad_input)
}
