//! How an agent becomes and stays a member, and who it refuses.

use std::{fs, path::Path};

use node_agent::{
    StartError,
    enrol::{self, EnrolError},
    identity::Member,
};

use super::Machine;

#[tokio::test]
async fn a_token_of_another_cluster_is_never_shown_to_this_one() {
    let machine = Machine::new().await;
    let mut token = machine.scheduler.token();
    token.authority = [0; 32];
    fs::write(machine.path("token"), token.to_string()).expect("a token file");
    let refused = machine.try_start().await.expect_err("an impostor");
    assert!(matches!(refused, StartError::Enrol(EnrolError::Untrusted(_))), "{refused:?}");
    assert_eq!(machine.scheduler.joins(), 0, "the secret was not sent");
}

#[tokio::test]
async fn a_join_that_cannot_be_ends_with_its_reason() {
    let machine = &Machine::new().await;
    let check = |token: String, says: &'static str| {
        fs::write(machine.path("token"), token).expect("a token file");
        async move {
            let refused = machine.try_start().await.expect_err(says);
            let said = model::story(&refused);
            assert!(said.contains(says), "{said}");
        }
    };
    let mut wrong = machine.scheduler.token();
    wrong.secret = [8; 32];
    check(wrong.to_string(), "not valid in this cluster").await;
    let mut voter = machine.scheduler.token();
    voter.role = model::token::Role::Scheduler;
    check(voter.to_string(), "not as a node").await;
    check("nonsense".to_owned(), "not a join token").await;
    fs::remove_file(machine.path("token")).expect("a token file");
    let refused = machine.try_start().await.expect_err("no token");
    assert!(matches!(refused, StartError::Enrol(EnrolError::NoTokenFile { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_is_renewed_for_the_same_node() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    let held = Member::load(Path::new(&machine.path("agent"))).expect("read").expect("a member");
    let schedulers = [machine.scheduler.address.to_string()];
    let renewed = enrol::renew(&schedulers, &held).await.expect("renewed");
    assert_eq!((renewed.node, &renewed.cluster), (held.node, &held.cluster));
    assert_ne!(renewed.identity.key, held.identity.key, "with a key of its own");
    agent.stop().await;
}

#[tokio::test]
async fn two_agents_never_share_a_directory() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    let refused = machine.try_start().await.expect_err("in use");
    assert!(matches!(refused, StartError::InUse { .. }), "{refused:?}");
    agent.stop().await;
    machine.start().await.stop().await;
}
