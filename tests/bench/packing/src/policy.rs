//! Online policies: ours, and the published formulas of others, re-implemented.

use packing::{Measure, Online};

use crate::draw::Draw;

/// Whose formula decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Docker Swarm: fewest tasks of the service, then fewest tasks.
    Swarm,
    /// Kubernetes `NodeResourcesFit` `LeastAllocated` (the default) with balanced allocation.
    Least,
    /// Kubernetes `MostAllocated` with balanced allocation.
    Most,
    /// Nomad: `BestFit` v3 on ⌈log2 n⌉ nodes.
    NomadLog,
    /// Nomad's formula on all nodes.
    NomadFull,
    /// The least memory left.
    BestFit,
    /// The shape score of `siso-packing`.
    Shape,
}

pub(crate) const ALL: [Policy; 7] = [
    Policy::Least,
    Policy::Swarm,
    Policy::NomadLog,
    Policy::NomadFull,
    Policy::Most,
    Policy::BestFit,
    Policy::Shape,
];

impl Policy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Swarm => "Swarm (fewest tasks)",
            Self::Least => "Kubernetes LeastAllocated (default)",
            Self::Most => "Kubernetes MostAllocated",
            Self::NomadLog => "Nomad (⌈log2 n⌉ nodes)",
            Self::NomadFull => "Nomad's formula, all nodes",
            Self::BestFit => "best fit on memory",
            Self::Shape => "siso: shape score",
        }
    }
}

/// A fleet one policy fills: memory and CPU.
#[derive(Debug)]
pub(crate) struct Fleet {
    policy: Policy,
    capacity: Vec<[u64; 2]>,
    pub(crate) free: Vec<[u64; 2]>,
    tasks: Vec<u32>,
    /// `(service, node)` of everything that is placed.
    online: Online,
    seen: u64,
    sums: [u128; 2],
    capacity_means: [u64; 2],
    remeasure_at: u64,
    services: std::collections::BTreeMap<usize, Vec<usize>>,
    draw: Draw,
}

impl Fleet {
    pub(crate) fn new(policy: Policy, capacity: &[[u64; 2]], seed: u64) -> Self {
        let lists: Vec<Vec<u64>> = capacity.iter().map(|one| one.to_vec()).collect();
        let mean =
            |at: usize| capacity.iter().map(|one| one[at]).sum::<u64>() / capacity.len() as u64;
        let capacity_means = [mean(0), mean(1)];
        Self {
            policy,
            free: capacity.to_vec(),
            tasks: vec![0; capacity.len()],
            // Cold: a demand in the proportion of the machines, until some are seen.
            online: Online::new(
                &lists,
                vec![0; capacity.len()],
                Measure::new(&capacity_means, &capacity_means, packing::BINDING_SLACK),
            ),
            capacity: capacity.to_vec(),
            seen: 0,
            sums: [0, 0],
            capacity_means,
            remeasure_at: 1,
            services: std::collections::BTreeMap::new(),
            draw: Draw::new(seed),
        }
    }

    /// Where a demand goes; it is put there.
    pub(crate) fn place(&mut self, service: usize, demand: [u64; 2]) -> Option<usize> {
        self.observe(demand);
        let node = match self.policy {
            Policy::Shape => self.online.best(&demand, |_| Some(0), |_| true),
            _ => self.by_formula(service, demand),
        }?;
        for (free, one) in self.free[node].iter_mut().zip(demand) {
            *free -= one;
        }
        self.tasks[node] += 1;
        self.services.entry(service).or_default().push(node);
        if self.policy == Policy::Shape {
            self.online.put(node, &demand);
        }
        Some(node)
    }

    pub(crate) fn remove(&mut self, service: usize, node: usize, demand: [u64; 2]) {
        for (free, one) in self.free[node].iter_mut().zip(demand) {
            *free += one;
        }
        self.tasks[node] -= 1;
        if let Some(nodes) = self.services.get_mut(&service) {
            nodes.retain(|other| *other != node);
        }
        if self.policy == Policy::Shape {
            self.online.take(node, &demand);
        }
    }

    /// The running mean; measured anew each time it rests on a quarter more.
    fn observe(&mut self, demand: [u64; 2]) {
        self.seen += 1;
        for (sum, one) in self.sums.iter_mut().zip(demand) {
            *sum += u128::from(one);
        }
        if self.policy == Policy::Shape && self.seen >= self.remeasure_at {
            self.remeasure_at = self.seen + self.seen / 4 + 1;
            let mean = |at: usize| u64::try_from(self.sums[at] / u128::from(self.seen)).unwrap();
            let means = [mean(0), mean(1)];
            let measure = Measure::new(&means, &self.capacity_means, packing::BINDING_SLACK);
            self.online.remeasure(measure);
        }
    }

    fn by_formula(&mut self, service: usize, demand: [u64; 2]) -> Option<usize> {
        let fits = |node: &usize| self.free[*node].iter().zip(demand).all(|(f, d)| d <= *f);
        let mut fitting: Vec<usize> = (0..self.free.len()).filter(fits).collect();
        let beside = |node: usize| {
            let nodes = self.services.get(&service).into_iter().flatten();
            nodes.filter(|other| **other == node).count()
        };
        match self.policy {
            Policy::Swarm => {
                fitting.into_iter().min_by_key(|node| (beside(*node), self.tasks[*node], *node))
            }
            Policy::BestFit => fitting.into_iter().min_by_key(|node| (self.free[*node][0], *node)),
            Policy::Least | Policy::Most => self.by_kubernetes(&mut fitting, demand),
            Policy::NomadLog | Policy::NomadFull => {
                if self.policy == Policy::NomadLog {
                    self.draw.shuffle(&mut fitting);
                    let most = (self.free.len() as f64).log2().ceil().max(2.0) as usize;
                    fitting.truncate(most);
                }
                let score = |node: usize| {
                    let nomad = self.nomad(node, demand);
                    match beside(node) {
                        0 => nomad,
                        beside => f64::midpoint(nomad, -(beside as f64 + 1.0)),
                    }
                };
                fitting.into_iter().max_by(|a, b| score(*a).total_cmp(&score(*b)).then(b.cmp(a)))
            }
            Policy::Shape => None,
        }
    }

    fn used_after(&self, node: usize, demand: [u64; 2]) -> [f64; 2] {
        std::array::from_fn(|at| {
            1.0 - (self.free[node][at] - demand[at]) as f64 / self.capacity[node][at] as f64
        })
    }

    /// Below 100 nodes all are scored, as in `percentageOfNodesToScore`; equals are drawn.
    fn by_kubernetes(&mut self, fitting: &mut Vec<usize>, demand: [u64; 2]) -> Option<usize> {
        if self.free.len() >= 100 {
            let start = self.draw.below(self.free.len());
            fitting.sort_by_key(|node| (*node < start, *node));
            fitting.truncate(100.max(self.free.len() * (50 - self.free.len() / 125).max(5) / 100));
        }
        let score = |node: usize| {
            let used = self.used_after(node, demand);
            let mean = f64::midpoint(used[0], used[1]);
            let fit = if self.policy == Policy::Least { 1.0 - mean } else { mean };
            let balance = 1.0 - (used[0] - used[1]).abs() / 2.0;
            (100.0 * fit).floor() + (100.0 * balance).floor()
        };
        let best = fitting.iter().map(|node| score(*node)).max_by(f64::total_cmp)?;
        let equal: Vec<usize> =
            fitting.iter().copied().filter(|node| score(*node) >= best).collect();
        Some(equal[self.draw.below(equal.len())])
    }

    fn nomad(&self, node: usize, demand: [u64; 2]) -> f64 {
        let used = self.used_after(node, demand);
        let sum: f64 = used.iter().map(|used| 10_f64.powf(1.0 - used)).sum();
        (20.0 - sum).clamp(0.0, 18.0) / 18.0
    }
}
