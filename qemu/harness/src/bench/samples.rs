//! Numbers taken several times, and what is said of them.

use serde_json::{Value, json};

/// Samples of one quantity, in one unit.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The middle; of an even number the mean of the two middle ones. 0 without samples.
    pub(super) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => 0.0,
            count if count.is_multiple_of(2) => f64::midpoint(at(middle - 1), at(middle)),
            _ => at(middle),
        }
    }

    /// Round by round, this one divided by the other.
    pub(super) fn ratios(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }

    /// Number, min, median, max.
    pub(super) fn to_json(&self) -> Value {
        let sorted = self.sorted();
        let end = |found: Option<&f64>| rounded(found.copied().unwrap_or_default());
        json!({
            "samples": sorted.len(),
            "min": end(sorted.first()),
            "median": rounded(self.median()),
            "max": end(sorted.last()),
        })
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// Three decimals are more than any clock here is good for.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A count as a number that can be divided: exact up to 2^53, and nothing here is larger.
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Microseconds as seconds.
pub(super) fn seconds(us: u64) -> f64 {
    as_f64(us) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[f64]) -> Samples {
        samples.iter().copied().collect()
    }

    #[test]
    fn medians_are_of_sorted_samples() {
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]).median(), 2.5);
        assert_eq!(of(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(of(&[]).median(), 0.0);
    }

    #[test]
    fn ends_and_middle_are_told_with_the_number_of_samples() {
        let told = of(&[2.0, 7.123_456, 1.0]).to_json();
        assert_eq!(told, json!({"samples": 3, "min": 1.0, "median": 2.0, "max": 7.123}));
    }

    #[test]
    fn ratios_are_of_the_samples_of_one_round() {
        // Of medians it would be 5/2.
        let ratios = of(&[2.0, 9.0, 5.0]).ratios(&of(&[1.0, 3.0, 2.0]));
        assert_eq!(ratios.to_json()["max"], 3.0);
        assert_eq!(ratios.median(), 2.5);
        assert_eq!(of(&[1.0]).ratios(&of(&[])).to_json()["samples"], 0);
    }
}
