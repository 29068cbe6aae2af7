//! What is made of many figures: the one in the middle, and how they grow. Deliberately absent: tables.

/// The value in the middle, the upper one of two; zero of none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How much the values grow from one to the next, by least squares; zero of fewer than two.
#[must_use]
pub fn slope(values: &[f64]) -> f64 {
    let middle = (values.len() as f64 - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let (mut together, mut square) = (0.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        let from = at as f64 - middle;
        together += from * (value - mean);
        square += from * from;
    }
    if square > 0.0 { together / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_any_order() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), 3.0);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn a_line_has_its_slope_and_noise_around_a_level_has_none() {
        assert_eq!(slope(&[1.0, 3.0, 5.0, 7.0]), 2.0);
        assert_eq!(slope(&[5.0, 7.0, 7.0, 5.0]), 0.0);
        assert_eq!((slope(&[9.0]), slope(&[])), (0.0, 0.0));
    }
}
