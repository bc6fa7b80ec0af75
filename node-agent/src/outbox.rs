//! What the scheduler has to hear, until it says that it has: per task only the newest status, so
//! it is never larger than the set. Pure.

use std::collections::BTreeMap;

use model::{TaskId, TaskReport, TaskStatus};

/// How far a piece of news has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unsent,
    /// In the message of this sequence.
    Sent(u64),
    Acknowledged,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    tasks: BTreeMap<TaskId, (TaskStatus, Stage)>,
    volumes: BTreeMap<String, (Disposal, Stage)>,
}

/// What became of a volume that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    /// It is gone, and its data.
    Removed,
    /// It is as it was: this cluster did not make it.
    Left,
}

impl Outbox {
    /// A task's newest status.
    pub fn put(&mut self, task: TaskId, status: TaskStatus) {
        self.tasks.insert(task, (status, Stage::Unsent));
    }

    /// What became of a volume that was to be removed.
    pub fn put_disposed(&mut self, volume: &str, disposal: Disposal) {
        self.volumes.insert(volume.to_owned(), (disposal, Stage::Unsent));
    }

    /// Forgets tasks and volumes nobody asks about any more.
    pub fn retain(&mut self, task: impl Fn(TaskId) -> bool, volume: impl Fn(&str) -> bool) {
        self.tasks.retain(|id, _| task(*id));
        self.volumes.retain(|name, _| volume(name));
    }

    /// The newest status of every task.
    pub fn statuses(&self) -> impl Iterator<Item = (TaskId, &TaskStatus)> {
        self.tasks.iter().map(|(task, (status, _))| (*task, status))
    }

    /// A new session: its scheduler is told everything, whatever an earlier one said.
    pub fn begin(&mut self) {
        self.tasks.values_mut().for_each(|(_, stage)| *stage = Stage::Unsent);
        self.volumes.values_mut().for_each(|(_, stage)| *stage = Stage::Unsent);
    }

    /// At most `most` reports that were not sent; they go out in the message of this sequence.
    pub fn take_reports(&mut self, sequence: u64, most: usize) -> Vec<TaskReport> {
        let unsent = self.tasks.iter_mut().filter(|(_, (_, stage))| *stage == Stage::Unsent);
        unsent
            .take(most)
            .map(|(task, (status, stage))| {
                *stage = Stage::Sent(sequence);
                TaskReport { task: *task, status: status.clone() }
            })
            .collect()
    }

    /// The volumes whose disposal was not told; they go out in the message of this sequence.
    pub fn take_disposed(&mut self, sequence: u64) -> Vec<(String, Disposal)> {
        let unsent = self.volumes.iter_mut().filter(|(_, (_, stage))| *stage == Stage::Unsent);
        unsent
            .map(|(name, (disposal, stage))| {
                *stage = Stage::Sent(sequence);
                (name.clone(), *disposal)
            })
            .collect()
    }

    /// Everything up to this sequence is durable.
    pub fn acknowledge(&mut self, sequence: u64) {
        self.each_sent(|stage, sent| {
            if sent <= sequence {
                *stage = Stage::Acknowledged;
            }
        });
    }

    /// Sends again what went out up to this sequence and was not acknowledged.
    pub fn resend(&mut self, sequence: u64) {
        self.each_sent(|stage, sent| {
            if sent <= sequence {
                *stage = Stage::Unsent;
            }
        });
    }

    /// Whether there is something to send.
    pub fn has_unsent(&self) -> bool {
        self.tasks.values().any(|(_, stage)| *stage == Stage::Unsent)
            || self.volumes.values().any(|(_, stage)| *stage == Stage::Unsent)
    }

    fn each_sent(&mut self, change: impl Fn(&mut Stage, u64)) {
        let tasks = self.tasks.values_mut().map(|(_, stage)| stage);
        for stage in tasks.chain(self.volumes.values_mut().map(|(_, stage)| stage)) {
            if let Stage::Sent(sent) = *stage {
                change(stage, sent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::TaskState;
    use proptest::prelude::*;

    use super::*;

    fn status(sequence: u64) -> TaskStatus {
        TaskStatus { state: TaskState::Running, sequence, ..TaskStatus::default() }
    }

    #[test]
    fn only_the_newest_status_of_a_task_is_sent() {
        let mut outbox = Outbox::default();
        outbox.put(TaskId::new(1), status(1));
        outbox.put(TaskId::new(1), status(2));
        let sent = outbox.take_reports(1, 10);
        assert_eq!(sent, [TaskReport { task: TaskId::new(1), status: status(2) }]);
        assert!(outbox.take_reports(2, 10).is_empty() && !outbox.has_unsent());
    }

    #[test]
    fn news_after_a_report_outlives_its_acknowledgement() {
        let mut outbox = Outbox::default();
        outbox.put(TaskId::new(1), status(1));
        outbox.take_reports(1, 10);
        outbox.put(TaskId::new(1), status(2));
        outbox.acknowledge(1);
        assert_eq!(outbox.take_reports(2, 10).len(), 1);
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again() {
        let mut outbox = Outbox::default();
        outbox.put(TaskId::new(1), status(1));
        outbox.put_disposed("data", Disposal::Removed);
        outbox.take_reports(1, 10);
        outbox.take_disposed(2);
        outbox.resend(2);
        assert_eq!((outbox.take_reports(3, 10).len(), outbox.take_disposed(4).len()), (1, 1));
        outbox.acknowledge(4);
        outbox.resend(4);
        assert!(!outbox.has_unsent());
        outbox.begin();
        assert!(outbox.has_unsent(), "a new scheduler is told everything");
    }

    /// What may happen between two messages.
    #[derive(Debug, Clone)]
    enum Turn {
        Put(u64),
        Send,
        /// Delivers one of the messages sent so far, perhaps again and out of order.
        Deliver(prop::sample::Index),
        Resend,
        Reconnect,
    }

    fn turn() -> impl Strategy<Value = Turn> {
        prop_oneof![
            (1..4_u64).prop_map(Turn::Put),
            Just(Turn::Send),
            any::<prop::sample::Index>().prop_map(Turn::Deliver),
            Just(Turn::Resend),
            Just(Turn::Reconnect),
        ]
    }

    proptest! {
        /// A scheduler that merges whatever arrives, repeated and reordered, ends with the newest
        /// status of every task once the last messages arrive.
        #[test]
        fn repeated_and_reordered_reports_end_in_the_newest(turns in prop::collection::vec(turn(), 1..60)) {
            let mut outbox = Outbox::default();
            let mut newest: BTreeMap<TaskId, TaskStatus> = BTreeMap::new();
            let mut heard: BTreeMap<TaskId, TaskStatus> = BTreeMap::new();
            let mut sent: Vec<(u64, Vec<TaskReport>)> = Vec::new();
            let mut sequence = 0;
            let deliver = |heard: &mut BTreeMap<TaskId, TaskStatus>, reports: &[TaskReport]| {
                for report in reports {
                    let held = heard.remove(&report.task).unwrap_or_default();
                    heard.insert(report.task, held.merge(report.status.clone()));
                }
            };
            for (count, turn) in (1_u64..).zip(turns) {
                match turn {
                    Turn::Put(task) => {
                        newest.insert(TaskId::new(task), status(count));
                        outbox.put(TaskId::new(task), status(count));
                    }
                    Turn::Send => {
                        sequence += 1;
                        sent.push((sequence, outbox.take_reports(sequence, 2)));
                    }
                    Turn::Deliver(which) if !sent.is_empty() => {
                        let (_, reports) = which.get(&sent);
                        deliver(&mut heard, reports);
                    }
                    Turn::Deliver(_) => {}
                    Turn::Resend => outbox.resend(sequence),
                    Turn::Reconnect => outbox.begin(),
                }
            }
            outbox.begin();
            while outbox.has_unsent() {
                sequence += 1;
                deliver(&mut heard, &outbox.take_reports(sequence, 2));
                outbox.acknowledge(sequence);
            }
            prop_assert_eq!(heard, newest);
        }
    }
}
