//! Who votes: members come, are looked after, and go.
//!
//! **Invariant:** members change one after the other, each change by joint consensus; what remains
//! after one must be able to agree.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use model::view::VoterRow;
use openraft::{
    BasicNode, ChangeMembers,
    async_runtime::WatchReceiver as _,
    errors::{ClientWriteError, RaftError},
};
use proto::v1::{ProbeReply, ProbeRequest};
use scheduler_core::Command;
use tokio::{
    sync::OwnedMutexGuard,
    time::{sleep, timeout},
};
use tonic::{Code, Status, metadata::MetadataValue};

use super::{
    Door, ReplicatedLog, Standing,
    raft::LAG_MAX,
    room,
    types::{Membership, Types},
};

/// How long a new scheduler may take to get all of the log.
const ADMIT_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a majority may take to agree to other members.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a scheduler that announced itself may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a member may take to say how it is.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at how far a new scheduler has come, or who leads.
const LOOK: Duration = Duration::from_millis(20);
/// The same for the keys it is to hold.
const KEYS_LOOK: Duration = Duration::from_millis(200);
/// How long a successor may take to lead: one election at the pace of `wan`.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(4);
/// Between two rounds of what a leader looks after.
const CHORES: Duration = Duration::from_secs(5);
/// The form of entries of versions that do not say which they read.
const FIRST_FORM: u32 = 1;
/// In the metadata of a refusal: where the leader is.
pub(crate) const LEADER: &str = "siso-leader";

/// A member as it answers.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What people are shown of it.
    pub(crate) row: VoterRow,
    /// How long a durable write took there of late, when that was too long.
    pub(crate) slow: Option<Duration>,
}

impl Door {
    /// Lets a scheduler vote, or notes that it has another address now. `Ok` when both are settled.
    pub(super) async fn admit(&self, id: u64, address: String) -> Result<(), Status> {
        let _turn = self.changing.try_lock().map_err(|_| changing())?;
        let node = BasicNode::new(&address);
        let known = self.own.raft.metrics().borrow_watched().membership_config.membership().clone();
        let at_its_address = known.get_node(&id).is_some_and(|held| *held == node);
        let votes = known.voter_ids().any(|voter| voter == id);
        if known.get_joint_config().len() > 1 {
            // A change that was cut off; until it is finished the voters of before are needed too.
            self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
        }
        if self.own.state.read().cluster.shuts_out(id) {
            return Err(Status::permission_denied(format!("scheduler {id} was removed")));
        }
        if at_its_address && votes {
            return Ok(());
        }
        check_reachable(&known, &address)?;
        self.check_answers(id, &address).await?;
        if known.get_node(&id).is_some() {
            if !at_its_address {
                self.change(ChangeMembers::SetNodes([(id, node)].into())).await?;
            }
        } else {
            self.own.raft.add_learner(id, node, false).await.map_err(refusal)?;
        }
        if votes {
            return Ok(());
        }
        let caught_up = timeout(ADMIT_TIMEOUT, self.caught_up(id)).await;
        caught_up.map_err(|_| Status::deadline_exceeded("it has not got the whole log yet"))??;
        let complete = timeout(ADMIT_TIMEOUT, self.has_keys(id, &address)).await;
        complete
            .map_err(|_| Status::deadline_exceeded("it does not hold the authorities' keys"))?;
        self.change(ChangeMembers::AddVoterIds([id].into())).await?;
        tracing::info!(scheduler = id, address, "a scheduler votes");
        Ok(())
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), Status> {
        let changed = timeout(CHANGE_TIMEOUT, self.own.raft.change_membership(change, false)).await;
        changed
            .map_err(|_| Status::deadline_exceeded("no majority agrees to the change"))?
            .map(drop)
            .map_err(refusal)
    }

    /// Returns once a learner has nearly all of the log: a voter that has not would hold up every write.
    async fn caught_up(&self, id: u64) -> Result<(), Status> {
        loop {
            {
                let metrics = self.own.raft.metrics();
                let metrics = metrics.borrow_watched();
                let Some(replication) = &metrics.replication else {
                    return Err(Status::unavailable("this scheduler does not lead any more"));
                };
                let matched = replication.get(&id).and_then(Option::as_ref);
                let last = metrics.last_log_index.unwrap_or_default();
                if matched.is_some_and(|matched| matched.index + LAG_MAX >= last) {
                    return Ok(());
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Returns once a learner holds the keys it would need to lead, where an authority was ever replaced.
    async fn has_keys(&self, id: u64, address: &str) {
        loop {
            let step = self.own.state.read().cluster.authorities().map(|held| held.step);
            let Some(step) = step else { return };
            if let Ok(probed) = self.probe_at(id, address, ANSWER_TIMEOUT).await
                && probed.authority_ready
                && probed.authority_step >= step
            {
                return;
            }
            sleep(KEYS_LOOK).await;
        }
    }

    /// Whether that scheduler, and no other, answers there, and reads all that it will be sent.
    async fn check_answers(&self, id: u64, address: &str) -> Result<(), Status> {
        let probed = self.probe_at(id, address, ANSWER_TIMEOUT).await.map_err(|why| {
            Status::failed_precondition(format!(
                "scheduler {id} cannot be reached at {address}: {why}\nhint: start it with --advertise \
                 HOST:PORT as the others reach it"
            ))
        })?;
        let agreed = self.own.state.read().cluster.form();
        if probed.form >= agreed {
            return Ok(());
        }
        Err(Status::failed_precondition(too_old(probed.form, agreed)))
    }

    /// How the member at this address is; in words why it does not say.
    async fn probe_at(
        &self,
        id: u64,
        address: &str,
        limit: Duration,
    ) -> Result<ProbeReply, String> {
        let mut client = self.own.peers.client_at(address)?;
        match timeout(limit, client.probe(ProbeRequest { to: id })).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                Ok(ProbeReply { form: FIRST_FORM, ..ProbeReply::default() })
            }
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    pub(super) fn members(&self) -> Membership {
        self.own.raft.metrics().borrow_watched().membership_config.membership().clone()
    }

    /// How each member is, asked all at once; this one without a question.
    pub(super) async fn probe_members(&self) -> Vec<(u64, String, Result<ProbeReply, String>)> {
        self.probe_members_within(PROBE_TIMEOUT).await
    }

    async fn probe_members_within(
        &self,
        limit: Duration,
    ) -> Vec<(u64, String, Result<ProbeReply, String>)> {
        let members = self.members();
        let last = self.own.raft.metrics().borrow_watched().last_log_index.unwrap_or_default();
        let probes = members.nodes().map(|(id, node)| async {
            let probed = if *id == self.own.number {
                Ok(self.own_probe(last))
            } else {
                self.probe_at(*id, &node.addr, limit).await
            };
            (*id, node.addr.clone(), probed)
        });
        join_all(probes).await
    }

    /// Every member as it answers within this time, `leader` being who leads as far as this one knows.
    pub(crate) async fn seen(&self, leader: Option<u64>, limit: Duration) -> Vec<Seen> {
        let members = self.members();
        let probed = self.probe_members_within(limit).await;
        // One that is gone may be taken for the leader for as long as nobody else is elected.
        let answers = |id: &u64| probed.iter().any(|(it, _, probed)| it == id && probed.is_ok());
        let leader = leader.filter(answers);
        let last_of = |probed: &Result<ProbeReply, String>| probed.as_ref().ok().map(|it| it.last);
        let of_leader = probed.iter().find(|(id, ..)| Some(*id) == leader);
        let newest = of_leader.and_then(|(.., probed)| last_of(probed));
        let newest = newest.or_else(|| probed.iter().filter_map(|(.., it)| last_of(it)).max());
        let row = |(id, address, probed): (u64, String, Result<ProbeReply, String>)| {
            // While voters change those of before decide as well, and one that comes does not vote yet.
            let votes = members.get_joint_config().first().is_some_and(|old| old.contains(&id));
            let role = match (votes, Some(id) == leader) {
                (_, true) => "leader",
                (true, false) => "follower",
                (false, false) => "joining",
            };
            let slow = probed.as_ref().ok().and_then(|probed| probed.slow_commit_ms);
            let slow = slow.map(Duration::from_millis);
            let (reachable, last, version, error) = match probed {
                Ok(ProbeReply { version, last, trouble, .. }) => {
                    (true, Some(last), Some(version).filter(|text| !text.is_empty()), trouble)
                }
                Err(why) => (false, None, None, Some(why)),
            };
            let behind = newest.zip(last).map(|(newest, last)| newest.saturating_sub(last));
            // One of the first version does not say how far it is.
            let behind = behind.filter(|_| version.is_some());
            let role = role.to_owned();
            Seen { row: VoterRow { id, address, role, reachable, behind, version, error }, slow }
        };
        probed.into_iter().map(row).collect()
    }

    /// Takes a scheduler out of those that agree, when what remains can agree without it. Until the guard
    /// that is answered is dropped nobody else changes the members. `None` when it was no member.
    pub(crate) async fn dismiss(&self, id: u64) -> Result<Option<OwnedMutexGuard<()>>, Status> {
        let turn = Arc::clone(&self.changing).try_lock_owned().map_err(|_| changing())?;
        if self.members().get_joint_config().len() > 1 {
            // A change that was cut off.
            self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
        }
        let members = self.members();
        if members.get_node(&id).is_none() {
            return Ok(None);
        }
        if !members.voter_ids().any(|voter| voter == id) {
            self.change(ChangeMembers::RemoveNodes([id].into())).await?;
            return Ok(Some(turn));
        }
        let probed = self.probe_members().await;
        let stays: Vec<_> = probed
            .into_iter()
            .filter(|(other, ..)| *other != id && members.voter_ids().any(|voter| voter == *other))
            .collect();
        check_remaining(id, &stays)?;
        if id == self.own.number {
            return Err(self.hand_over_to_one_of(&stays).await);
        }
        self.change(ChangeMembers::RemoveVoters([id].into())).await?;
        tracing::info!(scheduler = id, "a scheduler votes no more");
        Ok(Some(turn))
    }

    /// Makes another one lead, the one that has most of the log; answers what to tell whoever waits.
    async fn hand_over_to_one_of(
        &self,
        others: &[(u64, String, Result<ProbeReply, String>)],
    ) -> Status {
        let able = others.iter().filter_map(|(id, _, probed)| {
            let probed = probed.as_ref().ok().filter(|probed| probed.trouble.is_none())?;
            Some((probed.last, *id))
        });
        let Some((_, successor)) = able.max() else {
            return Status::failed_precondition(
                "this scheduler leads, and no other one can lead in its place",
            );
        };
        tracing::info!(successor, "handing over the leadership");
        if let Err(error) = self.own.raft.trigger().transfer_leader(successor).await {
            return Status::unavailable(format!("this scheduler has stopped: {error}"));
        }
        let own = self.own.number;
        let handed = async {
            let leads = || self.own.raft.metrics().borrow_watched().current_leader;
            while leads().is_none_or(|leader| leader == own) {
                sleep(LOOK).await;
            }
        };
        // Whether it took over shows when whoever asked asks again.
        let _ = timeout(HAND_OVER_TIMEOUT, handed).await;
        Status::unavailable(format!(
            "scheduler {own} led, and hands over to scheduler {successor}: ask again"
        ))
    }

    /// What a leader looks after, for as long as the scheduler runs: that entries of a higher form may be
    /// written once everyone reads them, and that a leader without room hands over to one that has some.
    pub(crate) async fn look_after(self, log: Arc<dyn ReplicatedLog>) {
        let mut standing = log.standing();
        while standing.wait_for(Standing::leads).await.is_ok() {
            if let Err(error) = self.raise_form(&*log).await {
                tracing::debug!(error = error.message(), "the form of entries stays as it is");
            }
            self.leave_when_full().await;
            sleep(CHORES).await;
        }
    }

    /// Allows the highest form that every member reads.
    pub(crate) async fn raise_form(&self, log: &dyn ReplicatedLog) -> Result<(), Status> {
        let agreed = log.cluster().form();
        if agreed >= self.own.form {
            return Ok(());
        }
        // Nobody is admitted meanwhile.
        let _turn = self.changing.try_lock().map_err(|_| changing())?;
        let mut form = self.own.form;
        for (id, _, probed) in self.probe_members().await {
            let probed = probed.map_err(|why| Status::unavailable(format!("{id}: {why}")))?;
            form = form.min(probed.form);
        }
        if form <= agreed {
            return Ok(());
        }
        let raised = log.propose(None, Command::RaiseForm { form }).await;
        let raised = raised.map_err(|error| Status::unavailable(error.to_string()))?;
        raised.result.map_err(|why| Status::unavailable(why.to_string()))?;
        tracing::info!(form, "all schedulers read entries of this form");
        Ok(())
    }

    async fn leave_when_full(&self) {
        let members = self.members();
        if members.voter_ids().nth(1).is_none() || !room::is_scarce(&self.own.directory) {
            return;
        }
        let probed = self.probe_members().await;
        let votes = |id: &u64| members.voter_ids().any(|voter| voter == *id);
        let others: Vec<_> =
            probed.into_iter().filter(|(id, ..)| *id != self.own.number && votes(id)).collect();
        let told = self.hand_over_to_one_of(&others).await;
        tracing::warn!(told = told.message(), "this scheduler's disk is nearly full");
    }
}

/// Whether what remains without scheduler `id` can agree.
fn check_remaining(
    id: u64,
    stays: &[(u64, String, Result<ProbeReply, String>)],
) -> Result<(), Status> {
    if stays.is_empty() {
        return Err(Status::failed_precondition(format!(
            "scheduler {id} is the only one: without it there is no cluster"
        )));
    }
    let silent: Vec<String> = stays
        .iter()
        .filter_map(|(id, address, probed)| {
            let why = probed.as_ref().err()?;
            Some(format!("scheduler {id} at {address} ({why})"))
        })
        .collect();
    let reachable = stays.len() - silent.len();
    if reachable > stays.len() / 2 {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "of the {} that remain without scheduler {id} only {reachable} can be reached, which is no \
         majority: {}\nhint: bring those back first, or remove one of them instead",
        stays.len(),
        silent.join(", ")
    )))
}

fn too_old(form: u32, agreed: u32) -> String {
    format!(
        "this scheduler is of an earlier version, which reads entries up to form {form}; the cluster \
         writes form {agreed}\nhint: update it to the version of the others (`sisoctl scheduler ls`)"
    )
}

pub(super) fn changing() -> Status {
    Status::unavailable("the schedulers are changing already; it is tried again")
}

/// Schedulers on several machines need addresses that mean the same everywhere.
fn check_reachable(
    members: &openraft::Membership<u64, BasicNode>,
    address: &str,
) -> Result<(), Status> {
    let own_only = |address: &str| {
        let host = crate::config::host(address);
        let ip = host.parse::<std::net::IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
    };
    let joining = own_only(address);
    match members.nodes().find(|(_, node)| own_only(&node.addr) != joining) {
        None => Ok(()),
        Some((id, node)) => {
            let (id, there) =
                if joining { (None, address) } else { (Some(id), node.addr.as_str()) };
            let who =
                id.map_or_else(|| "this scheduler".to_owned(), |id| format!("scheduler {id}"));
            Err(Status::failed_precondition(format!(
                "{who} is announced at {there}, which only its own machine can reach\nhint: start it with \
                 --advertise HOST:PORT as the others reach it"
            )))
        }
    }
}

/// Why members cannot be changed; who can when this scheduler does not lead.
fn refusal(error: RaftError<Types, ClientWriteError<Types>>) -> Status {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            let mut status = Status::failed_precondition("another scheduler leads");
            let address =
                forward.leader_node.and_then(|node| MetadataValue::try_from(node.addr).ok());
            if let Some(address) = address {
                status.metadata_mut().insert(LEADER, address);
            }
            status
        }
        other => Status::unavailable(other.to_string()),
    }
}
