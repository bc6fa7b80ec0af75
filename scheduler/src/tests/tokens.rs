//! Join tokens: whoever misuses one is refused, whoever asks twice is the same node.

use model::token::{JoinToken, Role};
use proto::v1::{CreateTokenRequest, RevokeTokenRequest};
use rcgen::KeyPair;
use tonic::Code;

use super::{
    agent::{join, join_with},
    world::{World, request_id},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_changed_used_revoked_or_for_another_role_is_refused() {
    let mut world = World::new().await;
    let valid = world.token().await;
    let mut changed = valid.clone();
    changed.secret[0] ^= 1;
    let mut unknown = valid.clone();
    unknown.id = model::TokenId::new(4711);
    let scheduler: JoinToken = world.token_text(Role::Scheduler).await.parse().unwrap();
    let revoked = world.token().await;
    let request = RevokeTokenRequest { request_id: request_id(), id: revoked.id.to_string() };
    world.admin.revoke_token(request).await.unwrap();
    for (what, token) in
        [("changed", &changed), ("unknown", &unknown), ("role", &scheduler), ("revoked", &revoked)]
    {
        let refused = join(&world.handle, token, "mini-1").await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{what}: {refused}");
    }
    join(&world.handle, &valid, "mini-1").await.unwrap();
    let refused = join(&world.handle, &valid, "mini-2").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "used: {refused}");
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_is_refused() {
    let mut world = World::new().await;
    let role = proto::v1::Role::Node.into();
    let request = CreateTokenRequest { request_id: request_id(), role, ttl_ms: 1 };
    let made = world.admin.create_token(request).await.unwrap().into_inner();
    let token: JoinToken = made.token.parse().unwrap();
    while crate::clock::now() < token.expires_at {
        tokio::task::yield_now().await;
    }
    let refused = join(&world.handle, &token, "mini-1").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    for ttl_ms in [0, u64::MAX] {
        let request = CreateTokenRequest { request_id: request_id(), role, ttl_ms };
        let refused = world.admin.create_token(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{ttl_ms}");
    }
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_a_token_twice_gives_the_same_token() {
    let mut world = World::new().await;
    let role = proto::v1::Role::Node.into();
    let request = CreateTokenRequest { request_id: request_id(), role, ttl_ms: 60_000 };
    let first = world.admin.create_token(request.clone()).await.unwrap().into_inner();
    let mut world = world.restart().await;
    assert_eq!(world.admin.create_token(request).await.unwrap().into_inner(), first);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_whose_answer_was_lost_is_answered_again_for_the_same_key_only() {
    let mut world = World::new().await;
    let token = world.token().await;
    let key = KeyPair::generate().unwrap();
    let first = join_with(&world.handle, &token, "mini-1", &key).await.unwrap();
    let again = join_with(&world.handle, &token, "mini-1", &key).await.unwrap();
    assert_eq!(again.node, first.node);
    let refused = join(&world.handle, &token, "mini-1").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    world.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_taken_or_no_name_is_refused_and_leaves_the_token_unused() {
    let mut world = World::new().await;
    let token = world.token().await;
    join(&world.handle, &token, "mini-1").await.unwrap();
    let token = world.token().await;
    let refused = join(&world.handle, &token, "mini-1").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    for name in ["", "Mini", "../x", &"x".repeat(64)] {
        let refused = join(&world.handle, &token, name).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{name}: {refused}");
    }
    join(&world.handle, &token, "mini-2").await.unwrap();
    world.handle.stop().await;
}
