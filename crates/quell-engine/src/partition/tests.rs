//! What explains a few alerts best, written as text.

use std::collections::BTreeMap;

use super::*;
use crate::strikes::Voice;

/// Alerts as `ci@seconds`, places as `place: ci ci …` (each hangs on it alike), and troubles as the alerts that they
/// explain; chance is once a day for each CI.
#[track_caller]
fn check(places: &[&str], alerts: &str, expected: &[&str]) {
    check_known(&Strikes::new(0.0, 1_000_000), places, alerts, expected);
}

/// The same where something is known of the places beforehand, by the way that failures take and greedily.
#[track_caller]
fn check_known(strikes: &Strikes, places: &[&str], alerts: &str, expected: &[&str]) {
    [true, false].into_iter().for_each(|way| check_by(way, strikes, places, alerts, expected));
}

#[track_caller]
fn check_by(way: bool, strikes: &Strikes, places: &[&str], alerts: &str, expected: &[&str]) {
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut number = |name| {
        let next = numbers.len() as u32;
        *numbers.entry(name).or_insert(next)
    };
    let cones: Vec<(&str, Vec<&str>)> = places
        .iter()
        .map(|text| text.split_once(": ").expect("place: cis"))
        .map(|(p, c)| (p, c.split(' ').collect()))
        .collect();
    let mut sights: Vec<Sight> = Vec::new();
    for word in alerts.split(' ') {
        let (ci, at) = word.split_once('@').expect("ci@seconds");
        let behind = |(place, (_, cone)): (u32, &(&str, Vec<&str>))| {
            cone.contains(&ci).then(|| Tie { place, share: -(cone.len() as f64).ln(), hops: 1, strength: 1.0 })
        };
        let places = (0..).zip(&cones).filter_map(behind).collect();
        let (ci, chance) = (number(ci), (1.0 / 86_400.0_f64).ln());
        sights.push(Sight { at: at.parse().expect("seconds"), ci, kind: ci, chance, stray: f64::NEG_INFINITY, places });
    }
    let above = |(_, cone): &(&str, Vec<&str>)| {
        let on = |(other, (name, all)): (u32, &(&str, Vec<&str>))| {
            (name.starts_with('^') && cone.iter().all(|ci| all.contains(ci))).then(|| (other, (1.0 / 8.0_f64).ln()))
        };
        (0..).zip(&cones).filter_map(on).collect()
    };
    let above: Vec<Vec<(u32, f64)>> = cones.iter().map(above).collect();
    let spots: Vec<Spot> =
        cones.iter().map(|(_, all)| Spot::Silent { direct: all.len() as f64, on: Vec::new() }).collect();
    let spots = way.then_some(&*spots);
    let found = partition(&sights, cones.len(), spots, strikes, &mut |place| above[place as usize].clone());
    let mut troubles: BTreeMap<(u32, u32), Vec<&str>> = BTreeMap::new();
    for (word, of) in alerts.split(' ').zip(&found.of) {
        if let Some(of) = of {
            troubles.entry(found.heads[*of as usize]).or_default().push(word);
        }
    }
    let shown: Vec<String> = troubles
        .into_iter()
        .map(|((_, place), alerts)| format!("{}: {}", cones[place as usize].0, alerts.join(" ")))
        .collect();
    assert_eq!(shown, expected, "{alerts}");
}

#[test]
fn alerts_on_what_hangs_on_one_place_are_one_trouble() {
    check(&["sw: a b c d", "net: a b c d e f g h"], "a@0 c@20 b@30", &["sw: a@0 c@20 b@30"]);
}

#[test]
fn two_places_at_the_same_time_are_two_troubles() {
    let others: Vec<String> = (1..120).map(|number| number.to_string()).collect();
    let net = &format!("net: a b c d e f g k l m n o p q {}", others.join(" "));
    let alerts = "a@0 k@5 b@10 l@15 c@20 m@25 d@30 n@35 e@40 o@45 f@50 p@55 g@60 q@65";
    let expected = ["sw1: a@0 b@10 c@20 d@30 e@40 f@50 g@60", "sw2: k@5 l@15 m@25 n@35 o@45 p@55 q@65"];
    check(&["sw1: a b c d e f g", "sw2: k l m n o p q", net], alerts, &expected);
}

#[test]
fn what_comes_by_chance_is_left_alone() {
    check(&["sw: a b c d", "net: a b c d e f g h i j k l"], "a@0 h@9000 c@20000", &[]);
}

#[test]
fn the_same_alerts_again_are_another_trouble() {
    let first = "a@0 b@5 c@10 d@20 e@25 f@30 g@35 h@40 i@45";
    let second = "a@600 b@605 c@610 d@615 e@620 f@630 g@635 h@640 i@645";
    let expected = [&*format!("sw: {first}"), &*format!("sw: {second}")];
    check(&["sw: a b c d e f g h i"], &format!("{first} {second}"), &expected);
}

#[test]
fn troubles_behind_which_one_place_stands_are_one() {
    let places = [
        "sw1: a b c",
        "sw2: d e f",
        "sw3: g h i",
        "^zone: a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9",
    ];
    let alerts = "a@0 b@2 c@4 d@6 e@8 f@10 g@12 h@14 i@16";
    check(&places, alerts, &["^zone: a@0 b@2 c@4 d@6 e@8 f@10 g@12 h@14 i@16"]);
    let apart = "a@0 b@2 c@4 d@2000 e@2002 f@2004";
    check(&places, apart, &["sw1: a@0 b@2 c@4", "sw2: d@2000 e@2002 f@2004"]);
}

#[test]
fn in_a_small_estate_two_troubles_at_once_may_have_come_along_with_each_other() {
    let others: Vec<String> = (1..120).map(|number| number.to_string()).collect();
    let zone = &format!("^zone: a b c d e f g k l m n o p q {}", others.join(" "));
    let alerts = "a@0 k@5 b@10 l@15 c@20 m@25 d@30 n@35 e@40 o@45 f@50 p@55 g@60 q@65";
    let check = |cis: usize, expected: &[&str]| {
        check_known(&Strikes::new(0.0, cis), &["sw1: a b c d e f g", "sw2: k l m n o p q", zone], alerts, expected);
    };
    check(1_000_000, &[&*format!("^zone: {alerts}")]);
    check(134, &["sw1: a@0 b@10 c@20 d@30 e@40 f@50 g@60", "sw2: k@5 l@15 m@25 n@35 o@45 p@55 q@65"]);
}

#[test]
fn a_change_tells_a_trouble_apart_that_another_would_explain() {
    let places = ["sw: a b c d e f g h", "app: f g h"];
    let alerts = "a@0 b@5 c@10 d@15 e@20 f@1200 g@1205 h@1210";
    let apart = ["sw: a@0 b@5 c@10 d@15 e@20", "app: f@1200 g@1205 h@1210"];
    let changed = |times: f64| {
        let mut strikes = Strikes::new(0.0, 1_000_000);
        [Voice::Speaks; 2].into_iter().for_each(|voice| strikes.push(voice));
        strikes.change(1, 1200.0, times);
        strikes
    };
    check_known(&changed(1.0), &places, alerts, &["sw: a@0 b@5 c@10 d@15 e@20 f@1200 g@1205 h@1210"]);
    check_known(&changed(100.0), &places, alerts, &apart);
}

#[test]
fn what_is_silent_is_the_less_likely_to_be_struck() {
    // All four hang on both alike.
    let check = |voices: [Voice; 2], expected| {
        let mut strikes = Strikes::new(0.0, 1_000_000);
        voices.into_iter().for_each(|voice| strikes.push(voice));
        check_known(&strikes, &["sw: a b c d", "array: a b c d"], "a@0 b@10 c@20 d@30", &[expected]);
    };
    check([Voice::Speaks, Voice::Speaks], "sw: a@0 b@10 c@20 d@30");
    check([Voice::Silent, Voice::Unheard], "array: a@0 b@10 c@20 d@30");
    check([Voice::Unheard, Voice::Silent], "sw: a@0 b@10 c@20 d@30");
}

#[test]
fn what_nothing_ties_goes_to_the_liveliest_trouble() {
    let sight = |at, ci, places: &[Tie], stray: f64| Sight {
        at,
        ci,
        kind: ci,
        chance: (1.0 / 86_400.0_f64).ln(),
        stray: stray.ln(),
        places: places.to_vec(),
    };
    let quarter = [Tie { place: 0, share: 0.25_f64.ln(), hops: 1, strength: 1.0 }];
    let tied = |at, ci| sight(at, ci, &quarter, 0.0);
    let sights = |stray| [tied(0.0, 0), tied(3.0, 1), tied(6.0, 2), sight(9.0, 3, &[], stray)];
    let spots = [Spot::Silent { direct: 4.0, on: Vec::new() }];
    let strikes = Strikes::new(0.0, 1_000_000);
    let of = |stray| partition(&sights(stray), 1, Some(&spots), &strikes, &mut |_| Vec::new()).of;
    assert_eq!(of(0.05), [Some(0); 4]);
    assert_eq!(of(0.0), [Some(0), Some(0), Some(0), None]);
}
