//! Numbers taken several times, and what is said of them.

use serde_json::{Value, json};

/// Samples of one quantity, in one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// How many.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    /// The smallest sample that `share` of all do not exceed; 0 without samples.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank =
            sorted.iter().enumerate().map(|(index, sample)| (index.saturating_add(1), sample));
        let total = as_f64(self.len());
        let found = rank.into_iter().find(|(rank, _)| as_f64(*rank) >= share * total);
        found.map_or(0.0, |(_, sample)| *sample)
    }

    /// The middle; of an even number the mean of the two middle ones.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = self.len() / 2;
        let upper = sorted.get(middle).copied().unwrap_or_default();
        if self.len().is_multiple_of(2) {
            let lower = sorted.get(middle.saturating_sub(1)).copied().unwrap_or_default();
            f64::midpoint(lower, upper)
        } else {
            upper
        }
    }

    /// Sample by sample, this one divided by the other.
    pub(crate) fn ratios(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }

    /// Number, min, median, max.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "samples": self.len(),
            "min": rounded(self.quantile(0.0)),
            "median": rounded(self.median()),
            "max": rounded(self.quantile(1.0)),
        })
    }

    /// The same, with the 99th percentile.
    pub(crate) fn to_json_with_p99(&self) -> Value {
        let mut value = self.to_json();
        if let Some(object) = value.as_object_mut() {
            object.insert("p99".to_owned(), rounded(self.quantile(0.99)).into());
        }
        value
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// A count as a number that can be divided. Exact up to 2^32, and nothing here is longer.
pub(crate) fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// A duration in milliseconds.
pub(crate) fn as_ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Three decimals are more than any clock here is good for.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[f64]) -> Samples {
        samples.iter().copied().collect()
    }

    #[test]
    fn quantiles_and_medians() {
        let samples = of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((samples.quantile(0.0), samples.quantile(1.0)), (1.0, 4.0));
        assert_eq!(samples.median(), 2.5);
        assert_eq!(of(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(samples.quantile(0.5), 2.0);
        let hundred: Samples = (1..=100_u8).map(f64::from).collect();
        assert_eq!(hundred.quantile(0.99), 99.0);
        assert_eq!(of(&[]).median(), 0.0);
    }

    #[test]
    fn ratios_are_of_pairs() {
        let ratios = of(&[2.0, 9.0]).ratios(&of(&[1.0, 3.0]));
        assert_eq!(ratios.to_json()["median"], 2.5);
    }
}
