//! The certificate authorities: one takes the place of another.

use std::{net::SocketAddr, sync::Arc};

use model::{Liveness, Node, Timestamp, token::Hex, view::Problem};
use proto::{
    transport::Peer,
    v1::{
        AuthoritiesView, AuthorityRow, FinishAuthorityRequest, HolderRow, RenewReply,
        RotateAuthorityRequest, WriteReply,
    },
};
use scheduler_core::{
    Cluster, Command,
    cluster::{Authorities, AuthorityPhase},
};
use tonic::Status;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    super::{Office, status},
    writes::{request_id, write},
};
use crate::{
    clock,
    log::{LogError, Member},
    pki::{Fingerprint, Holder, SeenContext, SigningRequest, View, fingerprint},
};

/// Since this form an authority can be replaced.
const FORM: u32 = 3;
/// A step that the leader takes by itself takes a second when nothing stands in its way.
const BY_ITSELF_MS: u64 = 60_000;
/// How long a person may take to give the older authority up before that is called forgotten: whoever is
/// there has moved within seconds.
const BY_PEOPLE_MS: u64 = 3_600_000;
/// Holders named in a problem; `authority ls` names all of them.
const NAMED_MAX: usize = 8;

/// The authorities, and who needs an older one than the newest.
pub(super) async fn list(office: &Office) -> Result<AuthoritiesView, Status> {
    office.log.barrier().await.map_err(status::log_error)?;
    let held = office.log.cluster().authorities().cloned();
    let Some(held) = held else {
        let View { trusted, .. } = office.keys.view();
        let rows = trusted.iter().map(|(number, certificate)| {
            row((*number, certificate, Timestamp(0)), AuthorityPhase::Settled, *number)
        });
        let (authorities, phase) = (rows.collect(), word(AuthorityPhase::Settled).to_owned());
        return Ok(AuthoritiesView { authorities, phase, behind: Vec::new() });
    };
    let schedulers = match held.phase {
        AuthorityPhase::Settled => Vec::new(),
        _ => office.door.authority_members().await,
    };
    let rows = held
        .trusted
        .iter()
        .map(|one| row((one.number, &one.certificate, one.since), held.phase, held.issuing()));
    let authorities = rows.collect();
    let behind = {
        let cluster = office.log.cluster();
        let mut behind = nodes(&cluster, &held);
        behind.extend(schedulers.iter().filter_map(|member| scheduler(member, &held)));
        behind.extend(contexts(office, &held));
        behind
    };
    Ok(AuthoritiesView { authorities, phase: word(held.phase).to_owned(), behind })
}

const fn word(phase: AuthorityPhase) -> &'static str {
    match phase {
        AuthorityPhase::Settled => "settled",
        AuthorityPhase::Introduced => "introduced",
        AuthorityPhase::Issuing => "moving",
        AuthorityPhase::Presented => "finishing",
    }
}

fn row(
    (number, certificate, since): (u64, &[u8], Timestamp),
    phase: AuthorityPhase,
    issuing: u64,
) -> AuthorityRow {
    let state = match (number == issuing, phase) {
        (true, _) => "current",
        (false, AuthorityPhase::Introduced) => "coming",
        (false, _) => "leaving",
    };
    let validity = X509Certificate::from_der(certificate).ok().map(|(_, parsed)| {
        let at = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        let validity = parsed.validity();
        (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()))
    });
    let (begin, end) = validity.unwrap_or_default();
    let since = if since.0 == 0 { begin } else { since };
    AuthorityRow {
        number,
        fingerprint: Hex(&fingerprint(certificate)).to_string(),
        state: state.to_owned(),
        since: since.to_rfc3339(),
        until: end.to_rfc3339(),
    }
}

/// The nodes that hold no certificate of the newest authority that signs.
fn nodes(cluster: &Cluster, held: &Authorities) -> Vec<HolderRow> {
    let behind = cluster.nodes().values().filter(|node| held.held_by(node.id) < held.issuing());
    let row = |node: &Node| {
        let authority = held.held_by(node.id);
        let needed = authority >= held.oldest();
        let why = match node.liveness {
            _ if !needed => format!(
                "was away when authority {authority} was given up: remove it, and let it join anew"
            ),
            Liveness::Down => "is down: bring it back, or remove it".to_owned(),
            Liveness::Unreachable => "is not heard at the moment".to_owned(),
            Liveness::Ready => format!(
                "gets one by itself; when it stays here, its agent ({}) is too old or cannot keep it: see \
                 its log",
                node.inventory.agent_version
            ),
        };
        let (kind, name) = ("node".to_owned(), node.name.to_string());
        HolderRow { kind, name, authority: Some(authority), needed, why }
    };
    behind.map(row).collect()
}

/// A scheduler that is not ready for the next step.
fn scheduler(member: &Member, held: &Authorities) -> Option<HolderRow> {
    if member.stand.is_ready(held.step) || held.phase == AuthorityPhase::Settled {
        return None;
    }
    let why = match &member.silent {
        Some(why) => format!("cannot be reached at {}: {why}", member.address),
        None => "has not put it in force yet; when it stays here, see its log".to_owned(),
    };
    let (kind, name) = ("scheduler".to_owned(), member.number.to_string());
    Some(HolderRow { kind, name, authority: None, needed: true, why })
}

/// Contexts that were seen with a certificate of an authority that is leaving.
fn contexts(office: &Office, held: &Authorities) -> Vec<HolderRow> {
    let leaving = held.trusted.iter().filter(|one| one.number < held.issuing());
    let leaving: Vec<(u64, Fingerprint)> =
        leaving.map(|one| (one.number, fingerprint(&one.certificate))).collect();
    let all = office.keys.contexts();
    // What was used there with a certificate of another one since then is what it has become.
    let became = |seen: &SeenContext| {
        all.iter().any(|other| {
            (&other.name, other.address) == (&seen.name, seen.address)
                && other.authority != seen.authority
                && other.first >= seen.last
        })
    };
    let row = |seen: &SeenContext| {
        let (number, _) = leaving.iter().find(|(_, known)| *known == seen.authority)?;
        if became(seen) {
            return None;
        }
        let at = seen.last.to_rfc3339();
        Some(HolderRow {
            kind: "context".to_owned(),
            name: format!("{} at {}", seen.name, seen.address),
            authority: Some(*number),
            needed: true,
            why: format!("was last used at {at}: it gets one when it is used again"),
        })
    };
    all.iter().filter_map(row).collect()
}

/// What is wrong with a change of the authority that does not end.
pub(super) async fn unfinished(office: &Office) -> Option<Problem> {
    let held = office.log.cluster().authorities().cloned()?;
    if !is_overdue(&held, clock::now()) {
        return None;
    }
    let AuthoritiesView { behind, .. } = list(office).await.ok()?;
    Some(overdue(&held, &behind))
}

fn is_overdue(held: &Authorities, now: Timestamp) -> bool {
    let since = held.trusted.last().map_or(now, |newest| newest.since);
    let patience = match held.phase {
        AuthorityPhase::Settled => return false,
        AuthorityPhase::Introduced | AuthorityPhase::Presented => BY_ITSELF_MS,
        AuthorityPhase::Issuing => BY_PEOPLE_MS,
    };
    now.millis_since(since) >= patience
}

/// Who holds the change up, and what ends it.
fn overdue(held: &Authorities, behind: &[HolderRow]) -> Problem {
    let (older, newest) = (held.oldest(), held.newest());
    let needing = behind.iter().filter(|row| row.needed);
    let mut named: Vec<_> = needing.clone().take(NAMED_MAX).map(told).collect();
    let more = needing.count().saturating_sub(NAMED_MAX);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    if named.is_empty() && held.by_itself().is_some() {
        named.push("all do, so it goes on in a moment".to_owned());
    }
    let named = named.join(", ");
    let finish = "`sisoctl authority finish`";
    let (what, cause, fix) = match held.phase {
        AuthorityPhase::Introduced => (
            format!("authority {newest} does not sign yet"),
            format!("every scheduler has to hold its key first: {named}"),
            format!("bring those schedulers back, or `sisoctl scheduler rm` them; then {finish}"),
        ),
        AuthorityPhase::Presented => (
            format!("authority {older} is not given up yet"),
            format!("every scheduler has to show authority {newest} first: {named}"),
            "bring those schedulers back, or `sisoctl scheduler rm` them; it goes on by itself"
                .to_owned(),
        ),
        AuthorityPhase::Issuing | AuthorityPhase::Settled if named.is_empty() => (
            format!("authority {older} is still trusted beside authority {newest}"),
            "nobody that is known needs it any more, and a person has to say that it goes"
                .to_owned(),
            finish.to_owned(),
        ),
        AuthorityPhase::Issuing | AuthorityPhase::Settled => (
            format!("authority {older} is still trusted beside authority {newest}"),
            format!("it is needed by {named}"),
            format!(
                "see to those, then {finish}; with --force they are shut out and have to join anew"
            ),
        ),
    };
    let since = held.trusted.last().map(|one| one.since.to_rfc3339());
    Problem { what, cause, since, fix }
}

fn told(row: &HolderRow) -> String {
    format!("{} {} ({})", row.kind, row.name, row.why)
}

/// Makes another authority, which everybody trusts from then on.
pub(super) async fn rotate(
    office: &Office,
    request: RotateAuthorityRequest,
) -> Result<WriteReply, Status> {
    let id = request_id(&request.request_id)?;
    office.log.barrier().await.map_err(status::log_error)?;
    if office.log.cluster().form() < FORM {
        // The schedulers may have been updated just now.
        office.door.raise_form(&*office.log).await?;
    }
    let agreed = office.log.cluster().form();
    if agreed < FORM {
        return Err(status::log_error(LogError::NotYet { needed: FORM, agreed }));
    }
    let _turn = office.rotating.lock().await;
    let (answered, held) = {
        let cluster = office.log.cluster();
        (cluster.answered(id), cluster.authorities().cloned())
    };
    if let Some(applied) = answered {
        let (revision, _) = status::outcome(Ok(applied))?;
        return Ok(WriteReply { revision: revision.0, changed: true });
    }
    if let Some(held) = &held
        && held.phase == AuthorityPhase::Introduced
        && key_is_somewhere(office, held).await
    {
        let revision = office.log.cluster().revision().0;
        return Ok(WriteReply { revision, changed: false });
    }
    let current = office.presented()?;
    let next = office.keys.prepare().map_err(|error| status::pki_error(&error))?;
    let command = Command::IntroduceAuthority {
        current: current.certificate().to_vec(),
        next: next.certificate().to_vec(),
    };
    write(office, &request.request_id, command).await
}

/// Whether the key of the newest authority is on the disk of a scheduler that answers. If it is not,
/// another authority takes its place, which nobody has used.
async fn key_is_somewhere(office: &Office, held: &Authorities) -> bool {
    let Some(newest) = held.trusted.last() else { return false };
    if office.keys.key_of(&fingerprint(&newest.certificate)).is_some() {
        return true;
    }
    let certificate = newest.certificate.clone().into();
    office.door.fetch_key(&certificate).await.is_some()
}

/// Gives the older authority up, when nobody needs it any more or that is wanted all the same.
pub(super) async fn finish(
    office: &Office,
    request: FinishAuthorityRequest,
) -> Result<WriteReply, Status> {
    request_id(&request.request_id)?;
    let view = list(office).await?;
    let held = office.log.cluster().authorities().cloned();
    let Some(held) = held.filter(|held| held.phase != AuthorityPhase::Settled) else {
        let revision = office.log.cluster().revision().0;
        return Ok(WriteReply { revision, changed: false });
    };
    let (older, newest) = (held.oldest(), held.newest());
    let needing: Vec<_> = view.behind.iter().filter(|row| row.needed).collect();
    let names: Vec<_> = needing.iter().map(|row| told(row)).collect();
    if held.phase == AuthorityPhase::Introduced {
        return Err(Status::failed_precondition(format!(
            "authority {newest} does not sign yet: every scheduler has to hold its key first{}{}",
            if names.is_empty() { "" } else { ": " },
            names.join(", ")
        )));
    }
    if held.phase == AuthorityPhase::Issuing && !needing.is_empty() && !request.force {
        return Err(Status::failed_precondition(format!(
            "with authority {older} these would be shut out: {}{}",
            names.join(", "),
            status::STILL_NEEDED
        )));
    }
    let (to, force) = (AuthorityPhase::Presented, request.force);
    let command = Command::AdvanceAuthority { authority: newest, to, force };
    write(office, &request.request_id, command).await
}

/// A new certificate for whoever calls, when theirs is of an older authority; and who is trusted.
pub(super) fn renew(
    office: &Office,
    (peer, address, authority): (Arc<Peer>, SocketAddr, Option<Fingerprint>),
    csr: &[u8],
) -> Result<RenewReply, Status> {
    let issuing = office.issuing()?;
    let authorities = office.keys.trusted_pem();
    if authority == Some(issuing.fingerprint()) {
        return Ok(RenewReply { certificate: String::new(), authorities });
    }
    let holder = Holder { role: peer.role, id: peer.id.clone() };
    let signed =
        SigningRequest::read(csr).and_then(|signing| issuing.sign_request(&signing, &holder));
    let certificate = signed.map_err(|error| status::pki_error(&error))?;
    if let Some(before) = authority {
        office.keys.context_renewed((&peer.id, address.ip()), before);
    }
    Ok(RenewReply { certificate, authorities })
}

#[cfg(test)]
mod tests {
    use scheduler_core::cluster::{Authority, FIRST_AUTHORITY};

    use super::*;

    const BEGAN: Timestamp = Timestamp(1_000_000);

    fn changing(phase: AuthorityPhase) -> Authorities {
        let one = |number, since| Authority { number, certificate: Vec::new(), since };
        let first = one(FIRST_AUTHORITY, Timestamp(0));
        let (nodes, trusted) = (std::collections::BTreeMap::new(), vec![first, one(2, BEGAN)]);
        Authorities { step: 1, last: 2, phase, forced: false, trusted, nodes }
    }

    fn holder(kind: &str, name: &str, needed: bool) -> HolderRow {
        let (kind, name, why) = (kind.to_owned(), name.to_owned(), "is down".to_owned());
        HolderRow { kind, name, authority: Some(1), needed, why }
    }

    #[test]
    fn a_change_of_the_authority_that_does_not_end_is_a_problem_after_its_time() {
        use AuthorityPhase::{Introduced, Issuing, Presented, Settled};
        for (phase, after) in [
            (Introduced, Some(BY_ITSELF_MS)),
            (Issuing, Some(BY_PEOPLE_MS)),
            (Presented, Some(BY_ITSELF_MS)),
            (Settled, None),
        ] {
            let held = changing(phase);
            let at = |after| is_overdue(&held, BEGAN.plus_millis(after));
            match after {
                Some(after) => assert!(!at(after - 1) && at(after), "{phase:?}"),
                None => assert!(!at(u64::MAX), "{phase:?}"),
            }
            assert!(!is_overdue(&held, Timestamp(0)), "a clock that was set back hurries nobody");
        }
    }

    #[test]
    fn what_holds_a_change_of_the_authority_up_is_named_with_what_ends_it() {
        use AuthorityPhase::{Introduced, Issuing, Presented};
        let check = |phase, behind: &[HolderRow], words: &[&str]| {
            let Problem { what, cause, since, fix } = overdue(&changing(phase), behind);
            let all = format!("{what} | {cause} | {fix}");
            assert!(words.iter().all(|word| all.contains(word)), "{all}");
            assert_eq!(since, Some(BEGAN.to_rfc3339()));
        };
        let away = [holder("scheduler", "3", true)];
        check(Introduced, &away, &["2 does not sign yet", "scheduler 3 (is down)", "scheduler rm"]);
        check(Presented, &away, &["1 is not given up yet", "scheduler 3 (is down)"]);
        let lost = [holder("node", "mini-9", false)];
        check(Issuing, &lost, &["nobody that is known needs it", "| `sisoctl authority finish`"]);
        let many: Vec<_> = (1..=10).map(|n| holder("node", &format!("mini-{n}"), true)).collect();
        check(Issuing, &many, &["mini-8 (is down), and 2 more", "authority finish", "--force"]);
    }
}
