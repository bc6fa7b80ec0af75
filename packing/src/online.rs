//! One item at a time, on many bins: the shape score of every bin, or of every *cell* of bins alike.
//!
//! Up to [`MAX_SCANNED`] bins each is scored. Beyond, bins lie in cells by how much is free of the two
//! tightest resources, in quarters of a mean demand (coarser where more is free), and by a class the
//! caller gives (labels). Each occupied cell is scored once, and some bins of the best one exactly. What
//! fits somewhere is always found: a cell counts as long as one of its bins could fit.

use crate::{
    model::signed,
    problem::UNLIMITED,
    score::{Measure, ONE},
};

/// Bins that are scored one by one; measured: cells cost more up to there.
pub const MAX_SCANNED: usize = 100;

/// Bins of the best cell that are scored exactly.
const MAX_SCORED: usize = 4;

/// Cells by one resource.
const SIDE: usize = 64;

/// Bins, and what is free in them.
#[derive(Debug, Clone)]
pub struct Online {
    resources: usize,
    measure: Measure,
    /// Bin after bin, as given.
    free: Vec<i64>,
    /// Bin after bin, in mean demands.
    scaled: Vec<i64>,
    classes: Vec<usize>,
    /// For each cell, its bins.
    cells: Vec<Vec<usize>>,
    /// The cells that have bins, in no particular order, with their middles.
    occupied: Vec<Cell>,
    /// For each cell, where it stands among the occupied; for each bin, where it stands in its cell.
    cell_at: Vec<usize>,
    bin_at: Vec<usize>,
    buffer: Vec<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    id: usize,
    class: usize,
    middle: [i64; 2],
    upper: [i64; 2],
}

impl Online {
    /// Bins of these capacities, all free, each with its class (counted from 0).
    pub fn new(capacities: &[Vec<u64>], classes: Vec<usize>, measure: Measure) -> Self {
        let resources = capacities.first().map_or(0, Vec::len);
        let free = capacities.iter().flatten().copied().map(signed).collect();
        let mut online = Self {
            resources,
            measure: Measure::default(),
            free,
            scaled: Vec::new(),
            bin_at: vec![0; classes.len()],
            classes,
            cells: Vec::new(),
            occupied: Vec::new(),
            cell_at: Vec::new(),
            buffer: Vec::new(),
        };
        online.remeasure(measure);
        online
    }

    /// Measures with other mean demands from now on. Costs as much as there are bins.
    pub fn remeasure(&mut self, measure: Measure) {
        self.measure = measure;
        let width = self.measure.width();
        self.scaled.clear();
        self.scaled.resize(self.classes.len() * width, 0);
        for bin in 0..self.classes.len() {
            self.rescale(bin);
        }
        let classes = self.classes.iter().max().map_or(0, |last| last + 1);
        self.occupied.clear();
        self.cells.clear();
        if self.classes.len() > MAX_SCANNED {
            self.cells.resize(classes * SIDE * SIDE, Vec::new());
            self.cell_at = vec![usize::MAX; self.cells.len()];
            for bin in 0..self.classes.len() {
                self.enter(bin);
            }
        }
    }

    /// What is free in a bin.
    pub fn free(&self, bin: usize) -> &[i64] {
        &self.free[bin * self.resources..(bin + 1) * self.resources]
    }

    /// The best bin for a demand. `class_cost` is what a bin of a class costs besides; `None` when the
    /// item may not be there. `accept` is asked about a bin that has room.
    pub fn best(
        &mut self,
        demand: &[u64],
        class_cost: impl Fn(usize) -> Option<i64>,
        accept: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut wanted = std::mem::take(&mut self.buffer);
        let raw: [i64; 8] = std::array::from_fn(|at| demand.get(at).map_or(0, |one| signed(*one)));
        let long: Vec<i64>;
        let raw = if demand.len() <= raw.len() {
            &raw[..demand.len()]
        } else {
            long = demand.iter().copied().map(signed).collect();
            &long
        };
        self.measure.scaled(raw, &mut wanted);
        let ask = Ask { raw, wanted: &wanted };
        let found = if self.cells.is_empty() {
            let bins = 0..self.classes.len();
            let good = bins.filter(|bin| self.has_room(&ask, *bin)).filter_map(|bin| {
                let cost = class_cost(self.classes[bin])?;
                accept(bin).then(|| (self.shape(&ask, bin) + cost, bin))
            });
            good.min().map(|(_, bin)| bin)
        } else {
            self.best_of_cells(&ask, class_cost, accept)
        };
        self.buffer = wanted;
        found
    }

    /// Puts something into a bin.
    pub fn put(&mut self, bin: usize, demand: &[u64]) {
        self.change(bin, demand, -1);
    }

    /// Takes something out of a bin.
    pub fn take(&mut self, bin: usize, demand: &[u64]) {
        self.change(bin, demand, 1);
    }

    fn change(&mut self, bin: usize, demand: &[u64], sign: i64) {
        let before = self.cell_of(bin);
        let own = &mut self.free[bin * self.resources..(bin + 1) * self.resources];
        for (free, demand) in own.iter_mut().zip(demand) {
            *free += sign * signed(*demand);
        }
        self.rescale(bin);
        if !self.cells.is_empty() && self.cell_of(bin) != before {
            self.leave(bin, before);
            self.enter(bin);
        }
    }

    fn rescale(&mut self, bin: usize) {
        let width = self.measure.width();
        let own = &self.free[bin * self.resources..(bin + 1) * self.resources];
        self.measure.scale_into(own, &mut self.scaled[bin * width..(bin + 1) * width]);
    }

    fn has_room(&self, ask: &Ask<'_>, bin: usize) -> bool {
        self.free(bin).iter().zip(ask.raw).all(|(free, demand)| demand <= free)
    }

    fn shape(&self, ask: &Ask<'_>, bin: usize) -> i64 {
        let width = self.measure.width();
        Measure::shape(&self.scaled[bin * width..(bin + 1) * width], ask.wanted)
    }

    /// How much is free of the two tightest resources.
    fn coordinates(&self, bin: usize) -> [i64; 2] {
        let width = self.measure.width();
        let own = &self.scaled[bin * width..(bin + 1) * width];
        [own.first().copied().unwrap_or(0), own.get(1).copied().unwrap_or(0)]
    }

    fn cell_of(&self, bin: usize) -> usize {
        let [first, second] = self.coordinates(bin).map(step_of);
        (self.classes[bin] * SIDE + first) * SIDE + second
    }

    fn enter(&mut self, bin: usize) {
        let id = self.cell_of(bin);
        self.bin_at[bin] = self.cells[id].len();
        self.cells[id].push(bin);
        if self.cells[id].len() == 1 {
            let bounds = self.coordinates(bin).map(bounds_of);
            self.cell_at[id] = self.occupied.len();
            self.occupied.push(Cell {
                id,
                class: self.classes[bin],
                middle: bounds.map(|(lower, upper)| lower + (upper - lower) / 2),
                upper: bounds.map(|(_, upper)| upper),
            });
        }
    }

    fn leave(&mut self, bin: usize, id: usize) {
        let at = self.bin_at[bin];
        self.cells[id].swap_remove(at);
        if let Some(moved) = self.cells[id].get(at) {
            self.bin_at[*moved] = at;
        }
        if self.cells[id].is_empty() {
            let at = self.cell_at[id];
            self.occupied.swap_remove(at);
            if let Some(moved) = self.occupied.get(at) {
                self.cell_at[moved.id] = at;
            }
        }
    }

    fn best_of_cells(
        &self,
        ask: &Ask<'_>,
        class_cost: impl Fn(usize) -> Option<i64>,
        accept: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let both = [
            ask.wanted.first().copied().unwrap_or(0),
            ask.wanted.get(1).copied().unwrap_or(0),
        ];
        let width = self.measure.width().min(2);
        // Cells in order of their score, one after the other, until one has a bin for it.
        let mut last: Option<(i64, usize)> = None;
        loop {
            let mut best: Option<(i64, usize)> = None;
            for cell in &self.occupied {
                if cell.upper[0] < both[0] || cell.upper[1] < both[1] {
                    continue;
                }
                let key = (Measure::shape(&cell.middle[..width], &both[..width]), cell.id);
                // The score without the class first: most cells are no candidates by that alone.
                let Some(cost) = class_cost(cell.class) else { continue };
                let key = (key.0 + cost, key.1);
                if last.is_none_or(|last| key > last) && best.is_none_or(|best| key < best) {
                    best = Some(key);
                }
            }
            let (_, id) = best?;
            let fits = |bin: &usize| self.has_room(ask, *bin) && accept(*bin);
            let some = self.cells[id].iter().copied().filter(fits).take(MAX_SCORED);
            if let Some((_, bin)) = some.map(|bin| (self.shape(ask, bin), bin)).min() {
                return Some(bin);
            }
            last = best;
        }
    }
}

struct Ask<'a> {
    raw: &'a [i64],
    wanted: &'a [i64],
}

/// A quarter of a mean demand.
const QUARTER: i64 = ONE / 4;

/// Steps of a quarter each; beyond, four to each doubling.
const EVEN_STEPS: i64 = 16;

fn step_of(free: i64) -> usize {
    let quarters = (free.clamp(0, signed(UNLIMITED)) / QUARTER).unsigned_abs();
    if quarters < EVEN_STEPS.unsigned_abs() {
        return usize::try_from(quarters).unwrap_or(0);
    }
    let octave = quarters.ilog2();
    let part = quarters >> (octave - 2) & 3;
    let step = EVEN_STEPS.unsigned_abs() + u64::from(octave - 4) * 4 + part;
    usize::try_from(step).unwrap_or(SIDE).min(SIDE - 1)
}

/// The least and the most that is free in the cells of that step.
fn bounds_of(free: i64) -> (i64, i64) {
    let quarters = free.max(0) / QUARTER;
    if quarters < EVEN_STEPS {
        return (quarters * QUARTER, (quarters + 1) * QUARTER);
    }
    if step_of(free) == SIDE - 1 {
        return (free, i64::MAX / 4);
    }
    let width = 1 << (quarters.ilog2() - 2);
    let lower = quarters / width * width;
    (lower * QUARTER, (lower + width) * QUARTER)
}
