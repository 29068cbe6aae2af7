//! Boosted trees: a sum of small trees, each fitted to what those before it left.
//!
//! Second-order gradient boosting on histograms (Friedman 2001; Chen and Guestrin 2016), grown level by level, written
//! here because linfa has none. It starts from given log-odds and only corrects them, so with nothing to correct it
//! changes nothing.
//! Absent on purpose: threads and chance beyond the seed; the same rows give the same trees everywhere.

use crate::chance::unit;
use crate::features::WIDTH;
use crate::platt::sigmoid;
use crate::table::Table;

/// How trees are grown.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Growth {
    pub(crate) rounds: usize,
    pub(crate) depth: usize,
    /// The share of each tree's answer that is taken.
    pub(crate) step: f64,
    /// Added to the curvature of a leaf: draws its answer towards 0.
    pub(crate) penalty: f64,
    /// The least curvature (rows weighted by p(1-p)) of a leaf.
    pub(crate) least: f64,
    /// The share of rows that each tree sees.
    pub(crate) sample: f64,
}

/// Bins of a feature.
const BINS: usize = 48;

/// An inner node of a tree, or a leaf.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Node {
    /// Goes on at `left` where the feature is at most `threshold`, else at the node after it.
    Split {
        /// The feature's place.
        feature: u32,
        /// The greatest value that goes left.
        threshold: f64,
        /// The place of the left child; the right one follows it.
        left: u32,
    },
    /// The answer, in log-odds.
    Leaf(f64),
}

/// A tree; its root stands first.
pub type Tree = Vec<Node>;

/// The log-odds that trees add to a row.
#[must_use]
pub fn answer(trees: &[Tree], row: &[f64]) -> f64 {
    trees.iter().map(|tree| one(tree, row)).sum()
}

/// Whether a tree can be walked: every child stands after its parent and within the tree, every feature is known.
#[must_use]
pub fn sound(tree: &[Node]) -> bool {
    tree.iter().enumerate().all(|(at, node)| match *node {
        Node::Leaf(answer) => answer.is_finite(),
        Node::Split { feature, threshold: _, left } => {
            (feature as usize) < WIDTH && at < left as usize && left as usize + 1 < tree.len()
        }
    })
}

fn one(tree: &[Node], row: &[f64]) -> f64 {
    let mut at = 0;
    loop {
        match tree.get(at) {
            Some(Node::Split { feature, threshold, left }) => {
                at = *left as usize + usize::from(row[*feature as usize] > *threshold);
            }
            Some(Node::Leaf(value)) => return *value,
            None => return 0.0,
        }
    }
}

/// The upper edges of a feature's bins: values that part the rows about evenly.
fn edges(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let rows = sorted.len();
    let mut edges: Vec<f64> = (1..BINS).map(|bin| sorted[(rows * bin / BINS).min(rows - 1)]).collect();
    edges.dedup();
    edges.retain(|edge| *edge < sorted[rows - 1]);
    edges
}

/// The sums of one bin.
#[derive(Clone, Copy, Default)]
struct Sums {
    gradient: f64,
    curvature: f64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.gradient += other.gradient;
        self.curvature += other.curvature;
    }

    fn less(self, other: Sums) -> Sums {
        Sums { gradient: self.gradient - other.gradient, curvature: self.curvature - other.curvature }
    }

    fn gain(self, penalty: f64) -> f64 {
        self.gradient * self.gradient / (self.curvature + penalty)
    }
}

/// Rows with their features as bins, and what is left to learn of each.
struct Grower<'a> {
    growth: &'a Growth,
    edges: Vec<Vec<f64>>,
    /// Row by row, [`WIDTH`] bins each.
    bins: Vec<u8>,
    left_over: Vec<Sums>,
}

/// Grows trees that correct the given log-odds of the rows, which end up as the sum.
pub(crate) fn grow(table: &Table, log_odds: &mut [f64], growth: &Growth, seed: u64) -> Vec<Tree> {
    if table.is_empty() {
        return Vec::new();
    }
    let edges: Vec<Vec<f64>> =
        (0..WIDTH).map(|feature| edges(table.features.iter().skip(feature).step_by(WIDTH).copied())).collect();
    let bin =
        |(value, edges): (&f64, &Vec<f64>)| u8::try_from(edges.partition_point(|edge| edge < value)).unwrap_or(u8::MAX);
    let bins = table.features.chunks_exact(WIDTH).flat_map(|row| row.iter().zip(&edges).map(bin)).collect();
    let mut grower = Grower { growth, edges, bins, left_over: vec![Sums::default(); table.len()] };
    let mut trees = Vec::with_capacity(growth.rounds);
    for round in 0..growth.rounds {
        for (row, sums) in grower.left_over.iter_mut().enumerate() {
            let p = sigmoid(log_odds[row]);
            let gradient = p - f64::from(u8::from(table.labels[row]));
            *sums = Sums { gradient, curvature: (p * (1.0 - p)).max(1e-12) };
        }
        let salt = seed.wrapping_add((round as u64).wrapping_mul(0x632b_e59b_d9b4_e019));
        let rows = (0..table.len()).filter(|&row| unit(salt, row as u64) < growth.sample).collect();
        let tree = grower.tree(rows);
        for (row, odds) in log_odds.iter_mut().enumerate() {
            *odds += one(&tree, table.row(row));
        }
        trees.push(tree);
    }
    trees
}

impl Grower<'_> {
    fn tree(&self, rows: Vec<usize>) -> Tree {
        let mut tree = vec![Node::Leaf(0.0)];
        let mut level = vec![(0_usize, rows)];
        for depth in 0..=self.growth.depth {
            let mut next = Vec::new();
            for (place, rows) in level {
                let all = self.sum(&rows);
                let split = if depth < self.growth.depth { self.best_split(&rows, all) } else { None };
                let Some((feature, bin)) = split else {
                    tree[place] = Node::Leaf(-self.growth.step * all.gradient / (all.curvature + self.growth.penalty));
                    continue;
                };
                let (left, right): (Vec<usize>, Vec<usize>) =
                    rows.into_iter().partition(|row| usize::from(self.bins[row * WIDTH + feature]) <= bin);
                let child = tree.len();
                tree.extend([Node::Leaf(0.0); 2]);
                tree[place] = Node::Split {
                    feature: u32::try_from(feature).unwrap_or(u32::MAX),
                    threshold: self.edges[feature][bin],
                    left: u32::try_from(child).unwrap_or(u32::MAX),
                };
                next.extend([(child, left), (child + 1, right)]);
            }
            level = next;
        }
        tree
    }

    fn sum(&self, rows: &[usize]) -> Sums {
        let mut all = Sums::default();
        rows.iter().for_each(|&row| all.add(self.left_over[row]));
        all
    }

    /// The feature and the last bin that goes left; `None` where no split gains.
    fn best_split(&self, rows: &[usize], all: Sums) -> Option<(usize, usize)> {
        let Growth { penalty, least, .. } = *self.growth;
        if all.curvature < 2.0 * least {
            return None;
        }
        let mut histogram = vec![[Sums::default(); BINS]; WIDTH];
        for &row in rows {
            let sums = self.left_over[row];
            for (bins, bin) in histogram.iter_mut().zip(&self.bins[row * WIDTH..(row + 1) * WIDTH]) {
                bins[usize::from(*bin)].add(sums);
            }
        }
        let mut best = None;
        let mut best_gain = all.gain(penalty) + 1e-9;
        for (feature, bins) in histogram.iter().enumerate() {
            let mut left = Sums::default();
            for (bin, sums) in bins[..self.edges[feature].len()].iter().enumerate() {
                left.add(*sums);
                let right = all.less(left);
                if left.curvature < least || right.curvature < least {
                    continue;
                }
                let gain = left.gain(penalty) + right.gain(penalty);
                if gain > best_gain {
                    best_gain = gain;
                    best = Some((feature, bin));
                }
            }
        }
        best
    }
}
