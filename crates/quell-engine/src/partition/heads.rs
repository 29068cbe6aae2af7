//! Troubles that are one: they strike at about the same time in places that hang on one place, and that place explains
//! their number better than chance does.
//!
//! Absent on purpose: alerts; only where and when troubles struck counts here.

use std::collections::BTreeMap;

use super::{Above, COST_ABOVE, NEAR, Search, TROUBLE, Trouble};

/// Troubles that a place gathers, and how much better it explains them than chance.
struct Gathered {
    gain: f64,
    place: u32,
    taken: Vec<u32>,
}

/// How rare a trouble is, as a logarithm.
#[derive(Clone, Copy)]
struct Rarity {
    /// By chance.
    alone: f64,
    /// By chance or along with another.
    along: f64,
}

impl Search<'_> {
    /// Which troubles are one, seen in several places.
    pub(super) fn heads(&self, above: Above<'_>) -> Vec<(u32, u32)> {
        let mut heads: Vec<(u32, u32)> = (0..).zip(&self.troubles).map(|(at, trouble)| (at, trouble.place)).collect();
        let rarity = self.rarity();
        let mut free = vec![true; self.troubles.len()];
        let mut below: BTreeMap<u32, Vec<(u32, f64)>> = BTreeMap::new();
        for (at, trouble) in (0..).zip(&self.troubles) {
            for (place, share) in above(trouble.place) {
                below.entry(place).or_default().push((at, share));
            }
        }
        loop {
            let mut best: Option<Gathered> = None;
            for (&place, below) in &below {
                for &(first, _) in below.iter().filter(|_| below.len() > 1) {
                    let onset = self.troubles[first as usize].onset;
                    let Some((gain, taken)) = self.gathered(below, onset, &rarity, &free) else { continue };
                    if gain > 0.0 && best.as_ref().is_none_or(|known| gain > known.gain) {
                        best = Some(Gathered { gain, place, taken });
                    }
                }
            }
            let Some(Gathered { place, taken, .. }) = best else { return heads };
            let head = taken.iter().copied().min().unwrap_or(0);
            for at in taken {
                heads[at as usize] = (head, place);
                free[at as usize] = false;
            }
        }
    }

    /// How rare each trouble is: by chance as its alerts are on average, and rarer; less so where one is likelier to
    /// strike.
    fn rarity(&self) -> Vec<Rarity> {
        let mut sums = vec![(0.0, 0.0); self.troubles.len()];
        for (sight, of) in self.sights.iter().zip(&self.of) {
            if let Some(of) = *of {
                let (sum, count) = &mut sums[of as usize];
                *sum += sight.chance;
                *count += 1.0;
            }
        }
        let rare = |((sum, count), trouble): ((f64, f64), &Trouble)| {
            let known = self.strikes.at(trouble.place, trouble.onset);
            let alone = sum / count.max(1.0) + TROUBLE.ln() + known;
            Rarity { alone, along: alone.max(self.strikes.along() + known) }
        };
        sums.into_iter().zip(&self.troubles).map(rare).collect()
    }

    /// What a place that is struck then gathers. Otherwise one of them would have come by chance, and each other one by
    /// chance or along with it.
    fn gathered(&self, below: &[(u32, f64)], onset: f64, rarity: &[Rarity], free: &[bool]) -> Option<(f64, Vec<u32>)> {
        let mut count = below.len() as f64;
        let mut taken = Vec::new();
        // How much rarer the one is that would have come by chance.
        let (mut gain, mut rarer) = (0.0, 0.0_f64);
        for _ in 0..3 {
            taken.clear();
            (gain, rarer) = (0.0, 0.0);
            for &(at, share) in below.iter().filter(|(at, _)| free[*at as usize]) {
                let apart = (self.troubles[at as usize].onset - onset).abs();
                let Rarity { alone, along } = rarity[at as usize];
                let more = count.ln() + share - apart / NEAR - NEAR.ln() - 1.0 - along;
                if more > 0.0 {
                    gain += more;
                    rarer = rarer.max(along - alone);
                    taken.push(at);
                }
            }
            if taken.len() < 2 {
                return None;
            }
            count = taken.len() as f64;
        }
        Some((gain + rarer - COST_ABOVE, taken))
    }
}
