//! One certificate authority takes the place of another, while schedulers, machines and people go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use model::token::Role;
use proto::{
    transport::{self, Identity},
    v1::{
        AuthoritiesView, FinishAuthorityRequest, Holds, JoinSchedulerRequest,
        ListAuthoritiesRequest, ListTokensRequest, RenewRequest, RotateAuthorityRequest,
        SetSchedulableRequest, TokenRow, agent_message, control_client::ControlClient,
        enrol_client::EnrolClient, scheduler_message,
    },
};
use rcgen::KeyPair;
use tokio::time::{sleep, timeout};
use tonic::{Code, Response, Status, transport::Channel};

use super::{
    agent::{Agent, Session, csr, join},
    replicas::{Replica, apply, people, stacks, voters},
    voters::write,
    world::{CONNECT, PATIENCE, World, admin_identity, channel, config, request_id},
};
use crate::{Config, start};

type People = ControlClient<Channel>;

async fn view(people: &mut People) -> AuthoritiesView {
    loop {
        match people.list_authorities(ListAuthoritiesRequest {}).await {
            Ok(view) => return view.into_inner(),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits until it is so; answers how it is then.
async fn until(people: &mut People, what: impl Fn(&AuthoritiesView) -> bool) -> AuthoritiesView {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let view = timeout(PATIENCE, view(people)).await.expect("an answer");
        if what(&view) {
            return view;
        }
        assert!(tokio::time::Instant::now() < deadline, "it stays like this: {view:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn phase(people: &mut People, phase: &str) -> AuthoritiesView {
    until(people, |view| view.phase == phase).await
}

/// Asks again while nobody leads, as `sisoctl` does.
async fn asked<T>(mut ask: impl AsyncFnMut() -> Result<Response<T>, Status>) -> Result<T, Status> {
    let asked = async {
        loop {
            match ask().await {
                Err(status) if status.code() == Code::Unavailable => {
                    sleep(Duration::from_millis(20)).await;
                }
                answer => return answer.map(Response::into_inner),
            }
        }
    };
    timeout(PATIENCE, asked).await.expect("somebody leads")
}

async fn rotate(people: &mut People) -> Result<bool, Status> {
    let request = RotateAuthorityRequest { request_id: request_id() };
    let made = asked(async || people.rotate_authority(request.clone()).await).await;
    made.map(|made| made.changed)
}

async fn finish(people: &mut People, force: bool) -> Result<bool, Status> {
    let request = FinishAuthorityRequest { request_id: request_id(), force };
    let done = asked(async || people.finish_authority(request.clone()).await).await;
    done.map(|done| done.changed)
}

async fn tokens(people: &mut People) -> Vec<TokenRow> {
    let listed = asked(async || people.list_tokens(ListTokensRequest {}).await).await;
    listed.unwrap().tokens
}

/// A new identity of a person, as `sisoctl` takes one.
async fn renewed(people: &mut People, held: &Identity) -> Identity {
    let key = KeyPair::generate().unwrap();
    let request = RenewRequest { csr: csr(&key) };
    let reply = asked(async || people.renew_admin(request.clone()).await).await.unwrap();
    let (certificate, key) = if reply.certificate.is_empty() {
        (held.certificate.clone(), held.key.clone())
    } else {
        (reply.certificate, key.serialize_pem())
    };
    Identity { authorities: reply.authorities, certificate, key }
}

/// Waits for what the agent is told of authorities in this step or a later one.
async fn told(session: &mut Session, step: u64) -> proto::v1::Authorities {
    let heard = async {
        loop {
            if let scheduler_message::Message::Authorities(told) = session.next().await.unwrap()
                && told.step >= step
            {
                return told;
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("it is told")
}

/// Does as an agent does that is told to get a certificate of another authority.
async fn moves(agent: &mut Agent, world: &World) {
    let key = KeyPair::generate().unwrap();
    let reply = agent.client.renew(RenewRequest { csr: csr(&key) }).await.unwrap().into_inner();
    let (authorities, certificate) = (reply.authorities, reply.certificate);
    agent.identity = Identity { authorities, certificate, key: key.serialize_pem() };
    agent.redial(world);
}

/// A machine and its session.
struct Machine {
    agent: Agent,
    session: Session,
}

impl Machine {
    async fn join(world: &mut World, name: &str) -> Self {
        let mut agent = Agent::join(world, name).await;
        let session = agent.session().await;
        session.keep_beating();
        Self { agent, session }
    }

    /// Does what it is told in this step: gets a certificate of authority `number`, and says so.
    async fn obey(&mut self, world: &World, step: u64, number: u64) {
        let both = told(&mut self.session, step).await;
        assert_eq!((both.trusted.len(), both.issuing), (2, number));
        assert!(both.trusted.iter().all(|one| one.key.is_empty()), "no key leaves a scheduler");
        moves(&mut self.agent, world).await;
        self.session = self.agent.session().await;
        self.session.keep_beating();
        told(&mut self.session, step).await;
        self.session.say(agent_message::Message::Holds(Holds { authority: number })).await;
    }
}

/// Puts another authority in the place of the one before; answers what a person shows from then on.
async fn change(
    world: &World,
    everyone: &[String],
    machine: &mut Machine,
    own: &Identity,
) -> Identity {
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(write(people(everyone, own), Arc::clone(&stop)));
    let mut admin = people(everyone, own);
    assert!(rotate(&mut admin).await.unwrap());
    let moving = phase(&mut admin, "moving").await;
    let states: Vec<_> = moving.authorities.iter().map(|row| row.state.as_str()).collect();
    assert_eq!(states, ["leaving", "current"]);
    let number = moving.authorities[1].number;
    assert!(rotate(&mut admin).await.is_err(), "one at a time");
    let refused = finish(&mut admin, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for named in ["node mini-1", "context admin at 127.0.0.1", "--force", "hint: "] {
        assert!(refused.message().contains(named), "{named}: {refused}");
    }
    // Everybody moves; each change has four steps, the second lets the other one sign.
    machine.obey(world, 4 * (number - 2) + 2, number).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = load.await.unwrap();
    // Whoever writes shows the older one to the end.
    let renewed_own = renewed(&mut admin, own).await;
    assert!(acknowledged.len() > 5, "{} writes", acknowledged.len());
    let mut admin = people(everyone, &renewed_own);
    let held = tokens(&mut admin).await;
    let held: std::collections::BTreeSet<_> = held.into_iter().map(|row| row.id).collect();
    assert!(held.is_superset(&acknowledged), "no acknowledged write is lost");
    renewed_own
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_schedulers_change_their_authority_under_load_and_again() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut others = Vec::new();
    for count in 2..=3 {
        others.push(Replica::join(&mut founder, &first).await);
        voters(&mut founder.admin, count).await;
    }
    let everyone: Vec<_> =
        std::iter::once(first.clone()).chain(others.iter().map(Replica::address)).collect();
    let mut own = admin_identity(founder.directory.path());
    let mut machine = Machine::join(&mut founder, "mini-1").await;
    for round in 1..=2_u64 {
        let old = own;
        own = change(&founder, &everyone, &mut machine, &old).await;
        let mut admin = people(&everyone, &own);
        until(&mut admin, |view| view.behind.is_empty()).await;
        let mut live = people(std::slice::from_ref(&first), &old);
        view(&mut live).await;
        // That call showed a certificate of the older one.
        let refused = finish(&mut admin, false).await.unwrap_err();
        assert!(refused.message().contains("context admin"), "{refused}");
        let again = renewed(&mut live, &old).await;
        assert_ne!(again.certificate, old.certificate);
        assert!(finish(&mut admin, false).await.unwrap());
        let settled = phase(&mut admin, "settled").await;
        assert_eq!(settled.authorities.len(), 1);
        assert_eq!(settled.authorities[0].number, round + 1);
        // What is old is nobody: on the connection that was open, and on a new one, at every scheduler.
        assert!(live.list_authorities(ListAuthoritiesRequest {}).await.is_err());
        for address in &everyone {
            let mut stale = people(std::slice::from_ref(address), &old);
            assert!(stale.list_authorities(ListAuthoritiesRequest {}).await.is_err(), "{address}");
            apply(&mut people(std::slice::from_ref(address), &own), "after").await;
        }
        assert!(!finish(&mut admin, false).await.unwrap(), "there is nothing to give up");
        machine.session.beat(&[]).await;
    }
    // Started again, they believe each other.
    for replica in &mut others {
        replica.stop().await;
        replica.start().await;
        let mut there = people(&[replica.address()], &own);
        apply(&mut there, &format!("again-{}", replica.config.listen.port())).await;
    }
    for replica in &mut others {
        replica.stop().await;
    }
    founder.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_waits_for_a_scheduler_that_is_away_and_goes_on_when_another_leads() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let mut third = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 3).await;
    let own = admin_identity(founder.directory.path());
    third.stop().await;
    assert!(rotate(&mut founder.admin).await.unwrap());
    let away = until(
        &mut founder.admin,
        |view| matches!(&view.behind[..], [one] if one.kind == "scheduler"),
    )
    .await;
    assert_eq!(away.phase, "introduced");
    assert!(away.behind[0].why.contains("cannot be reached"), "{away:?}");
    assert!(!rotate(&mut founder.admin).await.unwrap(), "it is being done");
    let refused = finish(&mut founder.admin, true).await.unwrap_err();
    assert!(refused.message().contains("does not sign yet"), "{refused}");
    // The leader goes before the third has the key; the second hands it over.
    third.start().await;
    let World { directory, handle, .. } = founder;
    let listen = handle.address;
    handle.stop().await;
    let mut left = people(&[second.address(), third.address()], &own);
    apply(&mut left, "goes-on").await;
    phase(&mut left, "introduced").await;
    let founder = start(Config { listen, ..config(directory.path()) }).await.unwrap();
    phase(&mut left, "moving").await;
    let own = renewed(&mut left, &own).await;
    let mut left = people(&[second.address(), third.address()], &own);
    // Each puts it in force by itself, the one that just came back last.
    until(&mut left, |view| view.behind.is_empty()).await;
    // Who leads now signs.
    assert!(finish(&mut left, false).await.unwrap());
    phase(&mut left, "settled").await;
    assert!(stacks(&mut left).await.contains("goes-on"));
    founder.stop().await;
    apply(&mut left, "without-the-first").await;
    second.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_whose_key_is_lost_before_it_signs_is_replaced_by_another() {
    let mut founder = World::new().await;
    let first = founder.handle.advertised.clone();
    let mut second = Replica::join(&mut founder, &first).await;
    voters(&mut founder.admin, 2).await;
    let own = admin_identity(founder.directory.path());
    second.stop().await;
    // Two of two must agree, so nothing is agreed on; the key is on one disk.
    let request = RotateAuthorityRequest { request_id: request_id() };
    let asked = timeout(Duration::from_secs(1), founder.admin.rotate_authority(request)).await;
    assert!(asked.is_err() || asked.unwrap().is_err());
    second.start().await;
    let mut both = people(&[first, second.address()], &own);
    // Agreed on after all, or asked again: in the end there is one more, and it signs.
    let made = async {
        while rotate(&mut both).await.is_err() {
            if view(&mut both).await.phase == "moving" {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, made).await.expect("it is made");
    let moving = phase(&mut both, "moving").await;
    assert_eq!(moving.authorities.len(), 2);
    second.stop().await;
    founder.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_as_long_as_its_authority_is_shown_and_who_joins_is_given_all() {
    let mut world = World::new().await;
    let own = admin_identity(world.directory.path());
    let early = world.token().await;
    let voter = world.token_text(Role::Scheduler).await;
    assert!(rotate(&mut world.admin).await.unwrap());
    phase(&mut world.admin, "moving").await;
    let late = world.token().await;
    assert_eq!(early.authority, late.authority, "the one that is shown");
    let (joined, key) = join(&world.handle, &early, "mini-1").await.unwrap();
    assert_eq!(transport::fingerprints(&joined.authorities).unwrap().len(), 2);
    // A scheduler that joins now holds both keys.
    let directory = tempfile::tempdir().unwrap();
    let (token, data) = (directory.path().join("token"), directory.path().join("data"));
    std::fs::write(&token, &voter).unwrap();
    let through = Some(world.handle.advertised.clone());
    let config = Config { join: through, token_file: Some(token), ..config(&data) };
    let mut second = Replica { directory, config, handle: None };
    second.start().await;
    voters(&mut world.admin, 2).await;
    let identity = Identity {
        authorities: joined.authorities,
        certificate: joined.certificate,
        key: key.serialize_pem(),
    };
    let mut machine = Agent::of(&world, identity, joined.node);
    drop(machine.session().await);
    let own = renewed(&mut world.admin, &own).await;
    let mut admin = people(&[world.handle.advertised.clone()], &own);
    // The machine joined with a certificate of the newest.
    until(&mut admin, |view| view.behind.is_empty()).await;
    assert!(finish(&mut admin, false).await.unwrap());
    phase(&mut admin, "settled").await;
    let words = transport::enrol_channel(&world.handle.advertised, late.authority, CONNECT).await;
    let words = words.unwrap_err().to_string();
    assert!(words.contains("made before the cluster's authority was replaced"), "{words}");
    let tokens = admin.list_tokens(ListTokensRequest {}).await.unwrap().into_inner().tokens;
    assert!(tokens.iter().all(|token| token.state == "used"), "{tokens:?}");
    // One that knows the newer authority by chance is not let in by it.
    let newest = admin
        .create_token(proto::v1::CreateTokenRequest {
            request_id: request_id(),
            role: proto::v1::Role::Node.into(),
            ttl_ms: 60_000,
        })
        .await
        .unwrap()
        .into_inner();
    let newest: model::token::JoinToken = newest.token.parse().unwrap();
    assert_ne!(newest.authority, late.authority);
    let stale = model::token::JoinToken { authority: newest.authority, ..late };
    let refused = join(&world.handle, &stale, "mini-2").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let open = transport::enrol_channel(&world.handle.advertised, newest.authority, CONNECT).await;
    let refused = EnrolClient::new(open.unwrap())
        .join_scheduler(JoinSchedulerRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    join(&world.handle, &newest, "mini-2").await.unwrap();
    second.stop().await;
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_was_away_comes_back_until_the_older_authority_is_given_up() {
    let mut world = World::new().await;
    let own = admin_identity(world.directory.path());
    let mut late = Agent::join(&mut world, "late").await;
    let mut lost = Agent::join(&mut world, "lost").await;
    assert!(rotate(&mut world.admin).await.unwrap());
    phase(&mut world.admin, "moving").await;
    let own = renewed(&mut world.admin, &own).await;
    let mut admin = people(&[world.handle.advertised.clone()], &own);
    // It knows the older authority only, and is served.
    let mut session = late.session().await;
    told(&mut session, 2).await;
    moves(&mut late, &world).await;
    let mut session = late.session().await;
    session.say(agent_message::Message::Holds(Holds { authority: 2 })).await;
    let behind = until(&mut admin, |view| view.behind.len() == 1).await.behind;
    assert_eq!((behind[0].kind.as_str(), behind[0].name.as_str()), ("node", "lost"));
    assert!(behind[0].needed, "{behind:?}");
    assert!(finish(&mut admin, false).await.unwrap_err().message().contains("node lost"));
    assert!(finish(&mut admin, true).await.unwrap());
    let settled = phase(&mut admin, "settled").await;
    assert_eq!(settled.behind.len(), 1);
    assert!(!settled.behind[0].needed && settled.behind[0].why.contains("join anew"));
    lost.redial(&world);
    let refused = transport::reason(&lost.try_session().await.unwrap_err());
    assert!(refused.contains("join anew"), "{refused}");
    // The other one goes on.
    let node = "late".to_owned();
    let request = SetSchedulableRequest { request_id: request_id(), node, schedulable: false };
    admin.set_schedulable(request).await.unwrap();
    session.beat(&[]).await;
    late.redial(&world);
    late.session().await;
    drop(channel(&world.handle, &own));
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_is_not_replaced_before_every_scheduler_understands_it() {
    let directory = tempfile::tempdir().unwrap();
    let older = Config { form: 2, ..config(directory.path()) };
    let handle = start(older.clone()).await.unwrap();
    let listen = handle.address;
    let own = admin_identity(directory.path());
    let mut admin = people(std::slice::from_ref(&handle.advertised), &own);
    let refused = rotate(&mut admin).await.unwrap_err();
    for told in ["needs form 3", "agreed on form 2", "update it"] {
        assert!(refused.message().contains(told), "{refused}");
    }
    assert_eq!(view(&mut admin).await.phase, "settled");
    handle.stop().await;
    let handle = start(Config { listen, form: 3, ..older }).await.unwrap();
    assert!(rotate(&mut admin).await.unwrap());
    phase(&mut admin, "moving").await;
    handle.stop().await;
}
