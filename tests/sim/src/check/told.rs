//! What people were told is still true.

use std::collections::BTreeSet;

use model::{NodeId, StackName};
use scheduler_core::{Command, Outcome};

use crate::{people::Ask, world::World};

/// The stack a request changes, where it changes one.
fn stack_of(command: &Command) -> Option<&StackName> {
    match command {
        Command::ApplyStack { spec, .. } => Some(&spec.name),
        Command::Scale { stack, .. }
        | Command::RollbackStack { stack, .. }
        | Command::RemoveStack { stack, .. } => Some(stack),
        _ => None,
    }
}

/// The node whose labels a request changes, where it does.
fn labelled(command: &Command) -> Option<NodeId> {
    match command {
        Command::LabelNode { node, .. } => Some(*node),
        _ => None,
    }
}

/// The request that was carried out last of those about the same; nothing while one of them has no answer, which
/// may have been carried out since, and nothing where two were answered at one revision.
fn newest<'a>(asks: impl Iterator<Item = &'a Ask>) -> Option<&'a Command> {
    let mut newest: Option<(_, Option<&Command>)> = None;
    for ask in asks {
        let answer = ask.answer.as_ref()?;
        if answer.result.is_err() {
            continue;
        }
        newest = match newest {
            Some((revision, _)) if revision == answer.revision => Some((revision, None)),
            Some((revision, held)) if revision > answer.revision => Some((revision, held)),
            _ => Some((answer.revision, Some(&ask.command))),
        };
    }
    newest?.1
}

impl World {
    /// Every change that was acknowledged and that no other one took back.
    pub(crate) fn check_told(&mut self) {
        let asks = || self.people.asks.iter();
        let stacks: BTreeSet<_> = asks().filter_map(|ask| stack_of(&ask.command)).collect();
        let stacks = stacks.into_iter().filter_map(|name| {
            let same = move |ask: &&Ask| stack_of(&ask.command) == Some(name);
            self.lost_of_past(name).or_else(|| self.lost_now(newest(asks().filter(same))?))
        });
        let nodes: BTreeSet<_> = asks().filter_map(|ask| labelled(&ask.command)).collect();
        let nodes = nodes.into_iter().filter_map(|node| {
            let same = move |ask: &&Ask| labelled(&ask.command) == Some(node);
            self.lost_now(newest(asks().filter(same))?)
        });
        let lost = stacks.chain(nodes).next();
        if let Some(text) = lost {
            self.broken(format!("{text} was acknowledged and is lost"));
        }
    }

    /// A revision of a stack that is not in its history, unless a removal may have taken it away.
    fn lost_of_past(&self, name: &StackName) -> Option<String> {
        let asks = || self.people.asks.iter();
        let removes =
            |ask: &Ask| matches!(&ask.command, Command::RemoveStack { stack, .. } if stack == name);
        if asks().any(removes) {
            return None;
        }
        let told = asks().filter_map(|ask| match (&ask.command, &ask.answer.as_ref()?.result) {
            (Command::ApplyStack { spec, .. }, Ok(Outcome::Stack(revision)))
                if spec.name == *name =>
            {
                Some((*revision, spec))
            }
            _ => None,
        });
        let (revision, spec) = told.max_by_key(|(revision, _)| *revision)?;
        let held = self.log.reference.stack(name);
        let past =
            held.and_then(|held| held.history().iter().find(|past| past.revision == revision));
        let lost = past.is_none_or(|past| *past.spec != *spec);
        lost.then(|| format!("revision {revision} of stack {name}"))
    }

    /// What a request asked for, when it is not so.
    fn lost_now(&self, command: &Command) -> Option<String> {
        let cluster = &self.log.reference;
        let spec = |name| cluster.stack(name).and_then(|held| held.spec());
        let holds = match command {
            Command::ApplyStack { spec: asked, .. } => {
                spec(&asked.name).is_some_and(|held| **held == *asked)
            }
            Command::Scale { stack, service, replicas } => spec(stack)
                .and_then(|held| held.services.get(service))
                .is_some_and(|held| held.replicas == *replicas),
            Command::RemoveStack { stack, .. } => {
                cluster.stack(stack).is_none_or(|held| held.wanted().next().is_none())
            }
            // Its machine may be gone since.
            Command::LabelNode { node, set, remove } => cluster.node(*node).is_none_or(|held| {
                set.iter().all(|(label, value)| held.labels.get(label) == Some(value))
                    && remove.iter().all(|label| !held.labels.contains_key(label))
            }),
            _ => true,
        };
        (!holds).then(|| format!("{command:?}"))
    }
}
