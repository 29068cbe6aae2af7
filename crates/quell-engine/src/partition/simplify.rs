//! Fewer troubles: those that others explain as well, and two that one place explains.
//!
//! Absent on purpose: finding troubles in the first place (`partition`).

use super::{Before, COST, Search};

/// Two troubles are compared when they struck within so many seconds.
const WITHIN: f64 = 900.0;

impl Search<'_> {
    /// Leaves out troubles that others explain as well, and puts two into one where one place explains both.
    pub(super) fn simplify(&mut self) {
        let mut order: Vec<u32> = (0..u32::try_from(self.troubles.len()).unwrap_or(u32::MAX)).collect();
        order.sort_by(|&a, &b| {
            let cis = |at: u32| self.troubles[at as usize].cis;
            cis(a).total_cmp(&cis(b)).then(a.cmp(&b))
        });
        let mut gone = vec![false; self.troubles.len()];
        for small in order {
            let members: Vec<usize> = (0..self.sights.len()).filter(|&at| self.of[at] == Some(small)).collect();
            if members.is_empty() || self.leave_out(small, &members, &gone) {
                gone[small as usize] = true;
                continue;
            }
            if let Some((into, place)) = self.better_together(small, &members, &gone) {
                let (small_onset, small_cis) = (self.troubles[small as usize].onset, self.troubles[small as usize].cis);
                let trouble = &mut self.troubles[into as usize];
                trouble.place = place;
                trouble.onset = trouble.onset.min(small_onset);
                trouble.cis += small_cis;
                for at in members {
                    self.of[at] = Some(into);
                }
                gone[small as usize] = true;
            }
        }
        let mut number = 0;
        let renamed: Vec<Option<u32>> = gone
            .iter()
            .map(|gone| {
                number += u32::from(!gone);
                (!gone).then(|| number - 1)
            })
            .collect();
        let mut kept = gone.iter();
        self.troubles.retain(|_| kept.next().is_some_and(|gone| !gone));
        self.of.iter_mut().for_each(|of| *of = of.and_then(|of| renamed[of as usize]));
    }

    /// True, and done, when the other troubles explain these alerts so well that one less is better.
    fn leave_out(&mut self, small: u32, members: &[usize], gone: &[bool]) -> bool {
        let mut homes: Vec<(usize, Option<u32>, f64)> = Vec::with_capacity(members.len());
        let mut lost = 0.0;
        for &at in members {
            let sight = &self.sights[at];
            let (mut best, mut of) = (sight.chance, None);
            for (number, trouble) in (0..).zip(&self.troubles) {
                if number == small || gone[number as usize] {
                    continue;
                }
                let Some(&(_, share)) = sight.places.iter().find(|(place, _)| *place == trouble.place) else {
                    continue;
                };
                let likely = self.likely(sight, share, trouble.onset, trouble.cis, Before::default());
                // One more CI there.
                if likely - 1.0 > best {
                    (best, of) = (likely - 1.0, Some(number));
                }
            }
            lost += self.value[at] - best;
            homes.push((at, of, best));
        }
        if lost > COST {
            return false;
        }
        for (at, of, best) in homes {
            (self.of[at], self.value[at]) = (of, best);
        }
        true
    }

    /// The trouble with which this one would better be one, and where that would have struck.
    fn better_together(&mut self, small: u32, members: &[usize], gone: &[bool]) -> Option<(u32, u32)> {
        let own = self.troubles[small as usize];
        let mut covers: Vec<(u32, usize)> = Vec::new();
        for (place, _) in members.iter().flat_map(|&at| &self.sights[at].places) {
            match covers.iter_mut().find(|(known, _)| known == place) {
                Some((_, count)) => *count += 1,
                None => covers.push((*place, 1)),
            }
        }
        covers.retain(|(_, count)| count * 2 >= members.len());
        let mut best: Option<(f64, u32, u32)> = None;
        for other in 0..u32::try_from(self.troubles.len()).unwrap_or(u32::MAX) {
            let theirs = self.troubles[other as usize];
            if other == small || gone[other as usize] || (theirs.onset - own.onset).abs() > WITHIN {
                continue;
            }
            let both: Vec<usize> =
                (0..self.sights.len()).filter(|&at| [Some(small), Some(other)].contains(&self.of[at])).collect();
            let before: f64 = both.iter().map(|&at| self.value[at]).sum();
            for &(place, _) in &covers {
                let hit = own.cis + theirs.cis;
                let onset = own.onset.min(theirs.onset);
                let after = self.worth(&both, place, onset, hit);
                let more = after - before + COST;
                if more > 0.0 && best.is_none_or(|(known, ..)| more > known) {
                    best = Some((more, other, place));
                }
            }
        }
        best.map(|(_, other, place)| (other, place))
    }

    /// What these alerts are worth if this place or chance explains them.
    fn worth(&mut self, alerts: &[usize], place: u32, onset: f64, cis: f64) -> f64 {
        self.pass += 1;
        let mut sum = 0.0;
        for &at in alerts {
            let sight = &self.sights[at];
            let share = sight.places.iter().find(|(known, _)| *known == place).map(|&(_, share)| share);
            let before = self.before(sight);
            let likely = share.map(|share| self.likely(sight, share, onset, cis, before) - before.price());
            match likely.filter(|&likely| likely > sight.chance) {
                Some(likely) => {
                    sum += likely;
                    self.see(sight);
                }
                None => sum += sight.chance,
            }
        }
        sum
    }
}
