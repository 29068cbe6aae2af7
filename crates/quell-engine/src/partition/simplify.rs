//! Fewer troubles: those that others explain as well, and two that one place explains.
//!
//! Absent on purpose: finding troubles in the first place (`partition`).

use std::collections::BTreeMap;

use super::{Before, Search, Tie, Trouble};

/// Two troubles are compared when they struck within so many seconds.
const WITHIN: f64 = 900.0;

/// How many troubles are left beside one of them.
fn beside(gone: &[bool]) -> usize {
    gone.iter().filter(|gone| !**gone).count().saturating_sub(1)
}

impl Search<'_> {
    /// Leaves out troubles that others explain as well, and puts two into one where one place explains both.
    pub(super) fn simplify(&mut self) {
        let mut order: Vec<u32> = (0..u32::try_from(self.troubles.len()).unwrap_or(u32::MAX)).collect();
        order.sort_by(|&a, &b| {
            let cis = |at: u32| self.troubles[at as usize].cis;
            cis(a).total_cmp(&cis(b)).then(a.cmp(&b))
        });
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); self.troubles.len()];
        for (at, of) in (0..).zip(&self.of) {
            if let Some(of) = *of {
                members[of as usize].push(at);
            }
        }
        let mut struck: Vec<Vec<u32>> = vec![Vec::new(); self.behind.len()];
        for (at, trouble) in (0..).zip(&self.troubles) {
            struck[trouble.place as usize].push(at);
        }
        let mut gone = vec![false; self.troubles.len()];
        for small in order {
            let own = std::mem::take(&mut members[small as usize]);
            if own.is_empty() {
                gone[small as usize] = true;
                continue;
            }
            if let Some(homes) = self.leave_out(small, &own, &struck, &gone) {
                for (at, of, value) in homes {
                    (self.of[at as usize], self.value[at as usize]) = (of, value);
                    if let Some(of) = of {
                        members[of as usize].push(at);
                        members[of as usize].sort_unstable();
                    }
                }
                gone[small as usize] = true;
                continue;
            }
            let Some((into, place)) = self.better_together(small, &own, &members, &gone) else {
                members[small as usize] = own;
                continue;
            };
            let (small_onset, small_cis) = (self.troubles[small as usize].onset, self.troubles[small as usize].cis);
            let trouble = &mut self.troubles[into as usize];
            struck[trouble.place as usize].retain(|&at| at != into);
            struck[place as usize].push(into);
            struck[place as usize].sort_unstable();
            trouble.place = place;
            trouble.onset = trouble.onset.min(small_onset);
            trouble.cis += small_cis;
            for &at in &own {
                self.of[at as usize] = Some(into);
            }
            members[into as usize].extend(own);
            members[into as usize].sort_unstable();
            gone[small as usize] = true;
        }
        self.keep(&gone);
    }

    /// Forgets the troubles that are gone.
    fn keep(&mut self, gone: &[bool]) {
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

    /// Where these alerts go, each with what it is worth there, when the other troubles explain them so well that one
    /// less is better.
    fn leave_out(
        &self,
        small: u32,
        members: &[u32],
        struck: &[Vec<u32>],
        gone: &[bool],
    ) -> Option<Vec<(u32, Option<u32>, f64)>> {
        let mut homes = Vec::with_capacity(members.len());
        let mut lost = 0.0;
        for &at in members {
            let sight = &self.sights[at as usize];
            let (mut best, mut of) = (sight.chance, None);
            for &Tie { place, share, .. } in &sight.places {
                for &number in &struck[place as usize] {
                    if number == small || gone[number as usize] {
                        continue;
                    }
                    let trouble = &self.troubles[number as usize];
                    let likely = self.likely(sight, share, trouble.onset, trouble.cis, Before::default());
                    // One more CI there.
                    if likely - 1.0 > best {
                        (best, of) = (likely - 1.0, Some(number));
                    }
                }
            }
            lost += self.value[at as usize] - best;
            homes.push((at, of, best));
        }
        let Trouble { place, onset, .. } = self.troubles[small as usize];
        (lost <= self.strikes.cost(beside(gone)) - self.strikes.at(place, onset)).then_some(homes)
    }

    /// The trouble with which this one would better be one, and where that would have struck.
    fn better_together(&mut self, small: u32, own: &[u32], members: &[Vec<u32>], gone: &[bool]) -> Option<(u32, u32)> {
        let mut covers: BTreeMap<u32, usize> = BTreeMap::new();
        for tie in own.iter().flat_map(|&at| &self.sights[at as usize].places) {
            *covers.entry(tie.place).or_default() += 1;
        }
        covers.retain(|_, count| *count * 2 >= own.len());
        // Which troubles have an alert that hangs on each of them.
        let reached: BTreeMap<u32, Vec<u32>> = covers
            .keys()
            .map(|&place| {
                let hang = self.behind[place as usize].iter();
                let mut of: Vec<u32> = hang.filter_map(|&(at, _)| self.of[at as usize]).collect();
                of.sort_unstable();
                of.dedup();
                (place, of)
            })
            .collect();
        let trouble = self.troubles[small as usize];
        let saved = self.strikes.cost(beside(gone)) - self.strikes.at(trouble.place, trouble.onset);
        let mut best: Option<(f64, u32, u32)> = None;
        for (other, theirs) in (0..).zip(self.troubles.clone()) {
            if other == small || gone[other as usize] || (theirs.onset - trouble.onset).abs() > WITHIN {
                continue;
            }
            let theirs_too = &members[other as usize];
            let mut both = [own, theirs_too].concat();
            both.sort_unstable();
            let before: f64 = both.iter().map(|&at| self.value[at as usize]).sum();
            let onset = trouble.onset.min(theirs.onset);
            let chance: f64 = theirs_too.iter().map(|&at| self.sights[at as usize].chance).sum();
            for &place in covers.keys() {
                let hit = trouble.cis + theirs.cis;
                // Where it has nothing to do with the others, chance is what is left for them.
                let after = match reached[&place].binary_search(&other) {
                    Ok(_) => self.worth(&both, place, onset, hit),
                    Err(_) => self.worth(own, place, onset, hit) + chance,
                };
                let moved = self.strikes.at(place, onset) - self.strikes.at(theirs.place, theirs.onset);
                let more = after - before + saved + moved;
                if more > 0.0 && best.is_none_or(|(known, ..)| more > known) {
                    best = Some((more, other, place));
                }
            }
        }
        best.map(|(_, other, place)| (other, place))
    }

    /// What these alerts are worth if this place or chance explains them.
    pub(super) fn worth(&mut self, alerts: &[u32], place: u32, onset: f64, cis: f64) -> f64 {
        self.pass += 1;
        let mut sum = 0.0;
        for &at in alerts {
            let sight = &self.sights[at as usize];
            let behind = &self.behind[place as usize];
            let share = behind.binary_search_by_key(&at, |&(at, _)| at).ok().map(|found| behind[found].1);
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
