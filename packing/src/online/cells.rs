//! Bins that are nearly alike, together.

use crate::{
    online::{Ask, Online, Point},
    score::ONE,
};

/// Bins of the best cell that are scored exactly.
const MAX_SCORED: usize = 4;

/// Bins at the edges of cells that are looked at while there is a cell in which all have room.
const MAX_AT_EDGES: usize = 48;

/// Steps of one resource.
const SIDE: usize = 32;

/// An even step: half a mean demand.
const STEP: i32 = 1 << (ONE.trailing_zeros() - 1);

/// Even steps; beyond, two to each doubling.
const EVEN_STEPS: i32 = 8;

/// Cells by what is free of two resources, class by class.
#[derive(Debug, Clone)]
pub(super) struct Cells {
    /// For each cell of the grid, its bins.
    bins: Vec<Vec<u32>>,
    /// For each class, its cells that have bins, in no particular order.
    occupied: Vec<Occupied>,
    /// For each cell, where it stands among the occupied ones of its class.
    cell_at: Vec<u32>,
    /// For each bin, where it stands in its cell.
    bin_at: Vec<u32>,
}

/// The cells of one class, side by side.
#[derive(Debug, Clone, Default)]
struct Occupied {
    ids: Vec<u32>,
    lower: Vec<Point>,
    upper: Vec<Point>,
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Cells {
    pub(super) fn new(points: &[Point], classes: &[usize]) -> Self {
        let count = classes.iter().max().map_or(0, |last| last + 1);
        let mut cells = Self {
            bins: vec![Vec::new(); count * SIDE * SIDE],
            occupied: vec![Occupied::default(); count],
            cell_at: vec![0; count * SIDE * SIDE],
            bin_at: vec![0; classes.len()],
        };
        for (bin, (point, class)) in points.iter().zip(classes).enumerate() {
            cells.enter(bin, *class, *point);
        }
        cells
    }

    /// A bin has other amounts free now.
    pub(super) fn moved(&mut self, bin: usize, class: usize, before: Point, after: Point) {
        let (from, to) = (cell_of(class, before), cell_of(class, after));
        if from != to {
            self.leave(bin, class, from);
            self.enter(bin, class, after);
        }
    }

    fn enter(&mut self, bin: usize, class: usize, point: Point) {
        let id = cell_of(class, point);
        self.bin_at[bin] = narrow(self.bins[id].len());
        self.bins[id].push(narrow(bin));
        if self.bins[id].len() == 1 {
            let occupied = &mut self.occupied[class];
            self.cell_at[id] = narrow(occupied.ids.len());
            let (first, second) = (bounds_of(point.first), bounds_of(point.second));
            occupied.ids.push(narrow(id));
            occupied.lower.push(Point::new(first.0, second.0));
            occupied.upper.push(Point::new(first.1, second.1));
        }
    }

    fn leave(&mut self, bin: usize, class: usize, id: usize) {
        let at = self.bin_at[bin] as usize;
        self.bins[id].swap_remove(at);
        if let Some(moved) = self.bins[id].get(at) {
            self.bin_at[*moved as usize] = narrow(at);
        }
        if self.bins[id].is_empty() {
            let at = self.cell_at[id] as usize;
            let occupied = &mut self.occupied[class];
            occupied.ids.swap_remove(at);
            occupied.lower.swap_remove(at);
            occupied.upper.swap_remove(at);
            if let Some(moved) = occupied.ids.get(at) {
                self.cell_at[*moved as usize] = narrow(at);
            }
        }
    }

    /// The best bin of the best cell, or one at the edge of a better cell.
    pub(super) fn best<C, A>(&self, online: &Online, ask: &Ask<'_, C, A>) -> Option<usize>
    where
        C: Fn(usize) -> Option<i64>,
        A: Fn(usize) -> bool,
    {
        let mut sure: Option<(i64, u32)> = None;
        let mut edges: Vec<(i64, u32)> = Vec::new();
        for (class, occupied) in self.occupied.iter().enumerate() {
            let Some(cost) = (ask.class_cost)(class) else { continue };
            let bounds = occupied.lower.iter().zip(&occupied.upper);
            for (id, (lower, upper)) in occupied.ids.iter().zip(bounds) {
                if !upper.covers(ask.wanted) {
                    continue;
                }
                let key = (i64::from(lower.shape(ask.wanted)) + cost, *id);
                if sure.is_some_and(|sure| key >= sure) {
                    continue;
                }
                if lower.covers(ask.wanted) {
                    sure = Some(key);
                } else {
                    edges.push(key);
                }
            }
        }
        edges.retain(|key| sure.is_none_or(|sure| *key < sure));
        edges.sort_unstable();
        let mut looked_at = 0;
        for (_, id) in edges {
            let bins = &self.bins[id as usize];
            looked_at += bins.len();
            if sure.is_some() && looked_at > MAX_AT_EDGES {
                break;
            }
            if let Some(bin) = self.best_in(online, ask, id) {
                return Some(bin);
            }
        }
        let found = sure.and_then(|(_, id)| self.best_in(online, ask, id));
        // A rule of the bins themselves is in the way: all that have room, one by one.
        found.or_else(|| online.scan(ask))
    }

    fn best_in<C, A>(&self, online: &Online, ask: &Ask<'_, C, A>, id: u32) -> Option<usize>
    where
        A: Fn(usize) -> bool,
    {
        let bins = self.bins[id as usize].iter().map(|bin| *bin as usize);
        let fit = bins.filter(|bin| online.has_room(ask.demand, *bin) && (ask.accept)(*bin));
        let scored = fit.take(MAX_SCORED).map(|bin| (online.points[bin].shape(ask.wanted), bin));
        scored.min().map(|(_, bin)| bin)
    }
}

fn cell_of(class: usize, point: Point) -> usize {
    (class * SIDE + step_of(point.first)) * SIDE + step_of(point.second)
}

fn step_of(free: i32) -> usize {
    let steps = free / STEP;
    let step = if steps < EVEN_STEPS {
        steps
    } else {
        let octave = i32::try_from(steps.ilog2()).unwrap_or(0);
        EVEN_STEPS + (octave - 3) * 2 + (steps >> (octave - 1) & 1)
    };
    usize::try_from(step).unwrap_or(0).min(SIDE - 1)
}

/// The least and the most that is free in the cells of that step.
fn bounds_of(free: i32) -> (i32, i32) {
    let steps = free / STEP;
    if step_of(free) == SIDE - 1 {
        return (0, i32::MAX / 4);
    }
    let width = if steps < EVEN_STEPS { 1 } else { 1 << (steps.ilog2() - 1) };
    let lower = steps / width * width;
    (lower * STEP, (lower + width) * STEP - 1)
}
