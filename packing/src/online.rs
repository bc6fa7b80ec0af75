//! One item at a time, on many bins: the shape score of every bin, or of every *cell* of bins alike.
//!
//! Up to [`MAX_SCANNED`] bins each is scored. Beyond, bins lie in cells by how much is free of the two
//! tightest resources, in halves of a mean demand (coarser where more is free), and by a class the
//! caller gives (labels). Each occupied cell is scored once, and some bins of the best one exactly. What
//! fits somewhere is always found: cells at whose edge a demand lies are looked at bin by bin.

mod cells;

use cells::Cells;

use crate::{
    model::signed,
    score::{BEST_FIT_BITS, BEYOND_BITS, EVEN_BITS, Measure},
};

/// Bins that are scored one by one; measured: cells cost more up to there.
pub const MAX_SCANNED: usize = 200;

/// Scaled amounts are cut off here: sums of a few stay in 32 bits.
const CEILING: i64 = 1 << 28;

/// How much is free, or wanted, of the two tightest resources, in mean demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    first: i32,
    second: i32,
    /// Looked up whenever it is scored.
    unequal: i32,
}

impl Point {
    fn new(first: i32, second: i32) -> Self {
        Self { first, second, unequal: unequal(first, second) }
    }

    /// The score of what is free at this point; as [`Measure::shape`] for two resources.
    fn shape(self, wanted: Self) -> i32 {
        let (first, second) = (self.first - wanted.first, self.second - wanted.second);
        unequal(first, second) - self.unequal + (first.min(second) >> BEST_FIT_BITS)
    }

    /// Whether there is as much as is wanted.
    const fn covers(self, wanted: Self) -> bool {
        self.first >= wanted.first && self.second >= wanted.second
    }
}

/// As in `score.rs`, which explains it.
fn unequal(first: i32, second: i32) -> i32 {
    let (apart, least) = ((first - second).abs(), first.min(second));
    apart + ((apart - (least >> EVEN_BITS)).max(0) >> BEYOND_BITS)
}

/// Bins, and what is free in them.
#[derive(Debug, Clone)]
pub struct Online {
    resources: usize,
    measure: Measure,
    /// Bin after bin, as given.
    free: Vec<i64>,
    points: Vec<Point>,
    classes: Vec<usize>,
    cells: Option<Cells>,
    scaled: Vec<i64>,
    demand: Vec<i64>,
}

/// What is wanted, and where it may be.
struct Ask<'a, C, A> {
    demand: &'a [u64],
    wanted: Point,
    /// What a bin of that class costs besides; `None` when it may not be there.
    class_cost: C,
    /// Whether it may be in that bin, which has room.
    accept: A,
}

impl Online {
    /// Bins of these capacities, all free, each with its class (counted from 0).
    pub fn new(capacities: &[Vec<u64>], classes: Vec<usize>, measure: Measure) -> Self {
        let free = capacities.iter().flatten().copied().map(signed).collect();
        let nothing = Point::new(0, 0);
        let mut online = Self {
            resources: capacities.first().map_or(0, Vec::len),
            measure: Measure::default(),
            free,
            points: vec![nothing; classes.len()],
            classes,
            cells: None,
            scaled: Vec::new(),
            demand: Vec::new(),
        };
        online.remeasure(measure);
        online
    }

    /// Measures with other mean demands from now on. Costs as much as there are bins.
    pub fn remeasure(&mut self, measure: Measure) {
        self.measure = measure;
        for bin in 0..self.classes.len() {
            self.points[bin] = self.point_of(bin);
        }
        if self.classes.len() > MAX_SCANNED {
            self.cells = Some(Cells::new(&self.points, &self.classes));
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
        let mut scaled = std::mem::take(&mut self.scaled);
        self.demand.clear();
        self.demand.extend(demand.iter().map(|one| signed(*one)));
        self.measure.scaled(&self.demand, &mut scaled);
        let wanted = point(&scaled);
        self.scaled = scaled;
        let ask = Ask { demand, wanted, class_cost, accept };
        match &self.cells {
            Some(cells) => cells.best(self, &ask),
            None => self.scan(&ask),
        }
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
        let own = &mut self.free[bin * self.resources..(bin + 1) * self.resources];
        for (free, demand) in own.iter_mut().zip(demand) {
            *free += sign * signed(*demand);
        }
        let before = self.points[bin];
        self.points[bin] = self.point_of(bin);
        if let Some(cells) = &mut self.cells {
            cells.moved(bin, self.classes[bin], before, self.points[bin]);
        }
    }

    fn point_of(&mut self, bin: usize) -> Point {
        let mut scaled = std::mem::take(&mut self.scaled);
        let own = &self.free[bin * self.resources..(bin + 1) * self.resources];
        self.measure.scaled(own, &mut scaled);
        let point = point(&scaled);
        self.scaled = scaled;
        point
    }

    fn scan<C, A>(&self, ask: &Ask<'_, C, A>) -> Option<usize>
    where
        C: Fn(usize) -> Option<i64>,
        A: Fn(usize) -> bool,
    {
        let mut best: Option<(i64, usize)> = None;
        for (bin, point) in self.points.iter().enumerate() {
            if !point.covers(ask.wanted) {
                continue;
            }
            let shape = i64::from(point.shape(ask.wanted));
            // What a class costs is never less than nothing: most bins are out by their shape alone.
            if best.is_some_and(|(least, _)| shape >= least) {
                continue;
            }
            let Some(cost) = (ask.class_cost)(self.classes[bin]) else { continue };
            let is_better = best.is_none_or(|(least, _)| shape + cost < least);
            if is_better && self.has_room(ask.demand, bin) && (ask.accept)(bin) {
                best = Some((shape + cost, bin));
            }
        }
        best.map(|(_, bin)| bin)
    }

    fn has_room(&self, demand: &[u64], bin: usize) -> bool {
        self.free(bin).iter().zip(demand).all(|(free, demand)| signed(*demand) <= *free)
    }
}

fn point(scaled: &[i64]) -> Point {
    let narrow = |amount: i64| i32::try_from(amount.clamp(0, CEILING)).unwrap_or(i32::MAX);
    let first = scaled.first().copied().map_or(0, narrow);
    // A single resource is as balanced as can be.
    Point::new(first, scaled.get(1).copied().map_or(first, narrow))
}
