//! Seeded chance: the same seed gives the same model on every machine.
//!
//! Absent on purpose: the machine's own entropy.

/// 64 bits for each pair of a seed and a number (`SplitMix64`; Steele, Lea, Flood, OOPSLA 2014).
pub(crate) fn bits(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in `[0, 1)` for each pair of a seed and a number.
pub(crate) fn unit(seed: u64, number: u64) -> f64 {
    (bits(seed, number) >> 11) as f64 / (1_u64 << 53) as f64
}
