//! What was seen of memory is told once, and again to whoever cannot know.

use super::{Machine, sleeper, until};

/// Waits until the memory of task 1 was told so often.
async fn wait_told(machine: &Machine, times: usize) {
    until("its memory is told", || async {
        let told = machine.scheduler.memory();
        if told.len() >= times { Ok(()) } else { Err(told) }
    })
    .await;
}

#[tokio::test]
async fn what_was_seen_of_memory_is_told_once_in_a_session() {
    let machine = Machine::new().await;
    let agent = machine.start().await;
    machine.run(2, vec![sleeper(1)]).await;
    wait_told(&machine, 1).await;
    let beats = machine.scheduler.heartbeats();
    until("some more heartbeats", || async {
        let now = machine.scheduler.heartbeats();
        if now > beats + 2 { Ok(()) } else { Err(now) }
    })
    .await;
    assert_eq!(machine.scheduler.memory(), [(1, 1 << 20)], "nothing changed");
    machine.scheduler.throw_out();
    wait_told(&machine, 2).await;
    assert_eq!(machine.scheduler.memory(), [(1, 1 << 20); 2]);
    agent.stop().await;
}
