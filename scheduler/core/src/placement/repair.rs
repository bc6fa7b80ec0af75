//! A task that fits nowhere may fit after one or two tasks of the same batch go elsewhere, or after
//! two nodes share theirs anew. Only tasks that do not run yet move, and only to where they fit.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use model::{NodeId, TaskId};

use crate::placement::{
    Ask, Fleet, Placed,
    place::{rank, verdicts_kept},
    score::{Context, Score},
    verdicts,
};

/// Arrangements tried per plan: some milliseconds, at most a tenth of a second on a large fleet.
const MAX_TRIES: u32 = 10_000;

pub(super) fn repair<'a>(
    fleet: &mut Fleet<'a>,
    order: &[Ask<'a>],
    placed: &mut BTreeMap<TaskId, Placed>,
    wanted_labels: &BTreeSet<String>,
) {
    let most = verdicts_kept(fleet, order);
    let mut search = Search { fleet, wanted_labels, tries: MAX_TRIES };
    for ask in order {
        if placed.get(&ask.task).is_none_or(|held| held.node.is_some()) {
            continue;
        }
        let movable: Vec<(Ask<'a>, NodeId)> = order
            .iter()
            .filter(|other| other.volumes.is_empty())
            .filter_map(|other| Some((*other, placed.get(&other.task)?.node?)))
            .collect();
        let moves = search.make_room(*ask, &movable).or_else(|| search.repack(*ask, &movable));
        let Some(moves) = moves else { continue };
        for (moved, node) in moves {
            let scores = search.rank_without(&moved, node);
            let verdicts = verdicts(search.fleet, &moved, &scores, most);
            placed.insert(moved.task, Placed { task: moved.task, node: Some(node), verdicts });
        }
    }
}

struct Search<'s, 'a> {
    fleet: &'s mut Fleet<'a>,
    wanted_labels: &'s BTreeSet<String>,
    tries: u32,
}

type Moves<'a> = Vec<(Ask<'a>, NodeId)>;

impl<'a> Search<'_, 'a> {
    /// Puts `ask` somewhere by moving one or two others; answers who is where now.
    fn make_room(&mut self, ask: Ask<'a>, movable: &[(Ask<'a>, NodeId)]) -> Option<Moves<'a>> {
        let nodes: Vec<NodeId> = self.fleet.rooms().keys().copied().collect();
        for node in nodes {
            let here: Vec<Ask<'a>> =
                movable.iter().filter(|(_, at)| *at == node).map(|(other, _)| *other).collect();
            for (index, first) in here.iter().enumerate() {
                if let Some(moves) = self.exchange(ask, node, &[*first]) {
                    return Some(moves);
                }
                for second in here.iter().skip(index.saturating_add(1)) {
                    if let Some(moves) = self.exchange(ask, node, &[*first, *second]) {
                        return Some(moves);
                    }
                }
            }
        }
        None
    }

    /// Tries `ask` on `node` with these moved away; undoes everything when that does not work.
    fn exchange(&mut self, ask: Ask<'a>, node: NodeId, away: &[Ask<'a>]) -> Option<Moves<'a>> {
        self.tries = self.tries.checked_sub(1)?;
        for other in away {
            self.fleet.take_away(other.task, node);
        }
        let mut moves = Vec::new();
        if self.fleet.fits(&ask, node).is_ok() {
            self.fleet.put(ask, node);
            moves.push((ask, node));
            for other in away {
                let Some(best) = self.best(other) else { break };
                self.fleet.put(*other, best);
                moves.push((*other, best));
            }
            if moves.len() > away.len() {
                return Some(moves);
            }
        }
        for (moved, at) in moves {
            self.fleet.take_away(moved.task, at);
        }
        for other in away {
            self.fleet.put(*other, node);
        }
        None
    }

    /// Shares out `ask` and what may move on two nodes anew, for every two nodes.
    fn repack(&mut self, ask: Ask<'a>, movable: &[(Ask<'a>, NodeId)]) -> Option<Moves<'a>> {
        let nodes: Vec<NodeId> = self.fleet.rooms().keys().copied().collect();
        for (index, one) in nodes.iter().enumerate() {
            for other in nodes.iter().skip(index.saturating_add(1)) {
                let pair = [*one, *other];
                let before: Moves<'a> =
                    movable.iter().filter(|(_, at)| pair.contains(at)).copied().collect();
                for (moved, at) in &before {
                    self.fleet.take_away(moved.task, *at);
                }
                let mut left: Vec<Ask<'a>> = before.iter().map(|(moved, _)| *moved).collect();
                left.push(ask);
                left.sort_by_key(|held| (Reverse(held.reserved().memory), held.task));
                let mut moves = Vec::new();
                if self.share(&left, pair, &mut moves) {
                    return Some(moves);
                }
                for (moved, at) in before {
                    self.fleet.put(moved, at);
                }
            }
        }
        None
    }

    /// Puts each of `left` on one of two nodes, the largest first, going back when the rest does not
    /// fit.
    fn share(&mut self, left: &[Ask<'a>], pair: [NodeId; 2], moves: &mut Moves<'a>) -> bool {
        let Some((first, rest)) = left.split_first() else { return true };
        for node in pair {
            let Some(tries) = self.tries.checked_sub(1) else { return false };
            self.tries = tries;
            if self.fleet.fits(first, node).is_err() {
                continue;
            }
            self.fleet.put(*first, node);
            moves.push((*first, node));
            if self.share(rest, pair, moves) {
                return true;
            }
            moves.pop();
            self.fleet.take_away(first.task, node);
        }
        false
    }

    fn context(&self, ask: &Ask<'_>) -> Context<'_> {
        Context { wanted_labels: self.wanted_labels, with_companions: ask.reserved() }
    }

    fn best(&self, ask: &Ask<'_>) -> Option<NodeId> {
        rank(self.fleet, ask, self.context(ask)).first().map(|score| score.node)
    }

    /// The scores of a placed task as if it were asked again, its own place first: in the
    /// arrangement found, no other leaves room for all.
    fn rank_without(&mut self, ask: &Ask<'a>, node: NodeId) -> Vec<Score> {
        self.fleet.take_away(ask.task, node);
        let mut scores = rank(self.fleet, ask, self.context(ask));
        self.fleet.put(*ask, node);
        scores.sort_by_key(|score| score.node != node);
        scores
    }
}
