//! How readily troubles strike places: what is known of a place before any alert is explained by it.
//!
//! A CI that was changed a moment ago is the likelier to be in trouble of its own, as `changes` says. One that raises
//! no alert although it would is the less likely. Both tell troubles apart and say nothing of what caused an incident:
//! there a silent CI is often the one at fault, because nobody watches it. And how often troubles strike a CI at all
//! says how far a second one at the same time is to be believed; so does how small the estate is, because troubles come
//! along with each other.
//!
//! Absent on purpose: alerts and the graph; `revise` asks them.

use std::collections::BTreeMap;
use std::time::Duration;

/// What it counts against a place that its CI is silent, as a logarithm, where CIs of its kind are known to speak: seven
/// to one. One in ten roots is not watched, and some are the last to alert.
const SILENT: f64 = 2.0;

/// The same where nobody knows whether any CI of the kind is watched.
const UNHEARD: f64 = 1.0;

/// What each trouble costs beside how rarely one strikes: among some ten onsets that it could have, one would fit by luck.
const LUCK: f64 = 2.5;

/// The time for which it is counted how many troubles strike.
pub(crate) const LOOK: Duration = Duration::from_secs(1800);

/// Troubles for each CI in that time, at the least and at the most: history says no more than that they are rare, or not.
const RATE: (f64, f64) = (0.0001, 0.003);

/// So many more troubles strike an estate at about the same time as one, wherever in it: storms are made of faults that
/// overlap. In a small estate that says more of each CI than how rarely troubles strike it.
const ALONG: f64 = 1.0;

/// Seconds within which those strike, in the mean.
const APART: f64 = 300.0;

/// As [`RATE`], at the most beside a trouble.
const MOST_ALONG: f64 = 0.01;

/// The share of the estate that alerts, beyond which it is crowded.
const CROWDED: f64 = 0.2;

/// Whether the CI of a place alerts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Voice {
    /// It does, or no CI stands for the place.
    Speaks,
    /// It does not, and it or CIs like it did before.
    Silent,
    /// It does not, and neither did any CI like it.
    Unheard,
}

/// For each place how much likelier a trouble strikes there than elsewhere, as a logarithm, and how rarely one strikes.
#[derive(Clone, Debug)]
pub(crate) struct Strikes {
    /// Troubles for each CI in [`LOOK`].
    rate: f64,
    /// The same beside a trouble.
    beside: f64,
    /// CIs of the estate.
    cis: f64,
    voices: Vec<f64>,
    /// By place and by instant, in seconds, what changes add; instants are in order.
    changed: BTreeMap<u32, Vec<(f64, f64)>>,
}

impl Strikes {
    /// Where so many troubles strike each of so many CIs in the time that is looked at.
    pub(crate) fn new(rate: f64, cis: usize) -> Strikes {
        let (rarest, most) = RATE;
        let rate = rate.clamp(rarest, most);
        let cis = f64::from(u32::try_from(cis).unwrap_or(u32::MAX)).max(1.0);
        Strikes { rate, beside: rate, cis, voices: Vec::new(), changed: BTreeMap::new() }
    }

    /// All that is to be seen is there: a further trouble may have come along with the first.
    pub(crate) fn all_seen(&mut self) {
        self.beside = (self.rate + ALONG / self.cis).min(MOST_ALONG);
    }

    /// How many troubles a second strike any one CI along with another, as a logarithm.
    pub(crate) fn along(&self) -> f64 {
        (ALONG / self.cis / APART).ln()
    }

    /// True when so much of the estate alerts that one CI's alerting beside another's says nothing.
    pub(crate) fn crowded(&self, cis: usize) -> bool {
        f64::from(u32::try_from(cis).unwrap_or(u32::MAX)) > self.cis * CROWDED
    }

    /// How many troubles a second strike any one CI beside another, on its own or along with it, as a logarithm.
    pub(crate) fn often(&self) -> f64 {
        (self.rate / LOOK.as_secs_f64() + ALONG / self.cis / APART).ln()
    }

    /// How much better one more trouble must explain what is seen, beside so many: the more there are, the higher is the
    /// rate at which they strike now.
    pub(crate) fn cost(&self, troubles: usize) -> f64 {
        LUCK - match troubles {
            0 => self.rate.ln(),
            _ => self.beside.ln() + f64::from(u32::try_from(troubles).unwrap_or(u32::MAX)).ln(),
        }
    }

    /// The voice of the next place.
    pub(crate) fn push(&mut self, voice: Voice) {
        self.voices.push(match voice {
            Voice::Speaks => 0.0,
            Voice::Silent => -SILENT,
            Voice::Unheard => -UNHEARD,
        });
    }

    /// From this instant on, changes make a trouble there so many times likelier. Instants come in order.
    pub(crate) fn change(&mut self, place: u32, at: f64, times: f64) {
        self.changed.entry(place).or_default().push((at, times.ln()));
    }

    /// Of a trouble that strikes this place then.
    pub(crate) fn at(&self, place: u32, onset: f64) -> f64 {
        let voice = self.voices.get(place as usize).copied().unwrap_or(0.0);
        let changed = self.changed.get(&place).and_then(|instants| {
            let until = instants.partition_point(|&(at, _)| at <= onset);
            instants[..until].last().map(|&(_, nats)| nats)
        });
        voice + changed.unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_as_likely_as_its_voice_and_its_latest_change_say() {
        let mut strikes = Strikes::new(0.0, 1_000);
        [Voice::Speaks, Voice::Silent, Voice::Unheard].into_iter().for_each(|voice| strikes.push(voice));
        strikes.change(1, 30.0, std::f64::consts::E);
        strikes.change(1, 60.0, 1.0);
        let check = |place, onset, expected: f64| {
            let found = strikes.at(place, onset);
            assert!((found - expected).abs() < 1e-12, "{place} at {onset}: {found}");
        };
        check(0, 30.0, 0.0);
        check(1, 29.0, -SILENT);
        check(1, 45.0, 1.0 - SILENT);
        check(1, 60.0, -SILENT);
        check(2, 60.0, -UNHEARD);
        check(7, 60.0, 0.0);
    }

    #[test]
    fn one_more_trouble_costs_the_less_the_oftener_they_strike() {
        let check = |rate: f64, troubles: usize, expected: f64| {
            let cost = Strikes::new(rate, 1_000).cost(troubles);
            assert!((cost - expected).abs() < 1e-12, "{rate} beside {troubles}: {cost}");
        };
        let (rarest, most) = RATE;
        check(0.001, 0, LUCK - 0.001_f64.ln());
        check(0.001, 1, LUCK - 0.001_f64.ln());
        check(0.001, 10, LUCK - 0.01_f64.ln());
        check(0.0, 1, LUCK - rarest.ln());
        check(1.0, 1, LUCK - most.ln());
    }

    #[test]
    fn once_all_is_seen_a_second_trouble_costs_less_the_smaller_the_estate() {
        let check = |rate: f64, cis: usize, along: f64| {
            let mut strikes = Strikes::new(rate, cis);
            strikes.all_seen();
            let (first, second, third) = (strikes.cost(0), strikes.cost(1), strikes.cost(2));
            assert!((first - Strikes::new(rate, cis).cost(0)).abs() < 1e-12, "the first costs what it costs");
            assert!((second - (LUCK - along.ln())).abs() < 1e-12, "{rate}, {cis} CIs: {second}");
            assert!((third - (second - 2.0_f64.ln())).abs() < 1e-12, "{rate}, {cis} CIs: {third}");
        };
        check(0.001, 1_000, 0.002);
        check(0.001, 1_000_000, 0.001_001);
        check(0.001, 10, MOST_ALONG);
        check(0.001, 0, MOST_ALONG);
    }

    #[test]
    fn where_more_than_a_fifth_alerts_it_is_crowded() {
        let strikes = Strikes::new(0.0, 100);
        assert!(!strikes.crowded(20));
        assert!(strikes.crowded(21));
    }

    #[test]
    fn beside_a_trouble_another_strikes_on_its_own_or_along_with_it() {
        let strikes = Strikes::new(0.001, 1_000);
        let expected = (0.001 / 1800.0 + 0.001 / APART).ln();
        assert!((strikes.often() - expected).abs() < 1e-12, "{}", strikes.often());
    }
}
