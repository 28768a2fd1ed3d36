//! Which states are looked at: after each flush, subsets of what was written since, in pieces of one sector.
//!
//! A disk with a cache may have any subset of these pieces on the medium when the power goes. Up to
//! [`Plan::exhaustive_max`] pieces all subsets are taken; above that all prefixes (or evenly spaced ones) and random
//! subsets, the same for the same seed. What is left out is counted, so that nobody takes a sample for a proof.

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Up to this many pieces, every subset.
    pub exhaustive_max: usize,
    /// At most this many prefixes of a longer list.
    pub prefixes_max: usize,
    /// Random subsets of a longer list.
    pub random: usize,
    /// Of the random subsets.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { exhaustive_max: 8, prefixes_max: 4096, random: 120, seed: 1 }
    }
}

/// Random numbers that are the same everywhere (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence for a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Subsets of `pieces` pieces, each as the ascending numbers of the pieces that reached the medium; and whether these are
/// all there are.
pub fn subsets(pieces: usize, plan: &Plan, random: &mut Random) -> (Vec<Vec<usize>>, bool) {
    if pieces <= plan.exhaustive_max.min(16) {
        let all = (0..1_usize << pieces)
            .map(|bits| (0..pieces).filter(|piece| bits & (1 << piece) != 0).collect())
            .collect();
        return (all, true);
    }
    let step = (pieces / plan.prefixes_max.max(1)).max(1);
    let mut subsets: Vec<Vec<usize>> =
        (0..pieces).step_by(step).map(|length| (0..length).collect()).collect();
    subsets.push((0..pieces).collect());
    for _ in 0..plan.random {
        // From nearly none to nearly all of them.
        let share = random.next() % 256;
        subsets.push((0..pieces).filter(|_| random.next() % 256 < share).collect());
    }
    (subsets, false)
}

#[cfg(test)]
mod tests {
    use super::{Plan, Random, subsets};
    use std::collections::BTreeSet;

    #[test]
    fn few_pieces_give_every_subset_once() {
        let (all, complete) = subsets(8, &Plan::default(), &mut Random::new(1));
        assert!(complete);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 256);
    }

    #[test]
    fn many_pieces_give_every_prefix_and_the_same_sample_for_the_same_seed() {
        let plan = Plan::default();
        let (some, complete) = subsets(100, &plan, &mut Random::new(7));
        assert!(!complete);
        for length in 0..=100 {
            assert!(some.contains(&(0..length).collect()), "the prefix of {length}");
        }
        assert_eq!(some.len(), 101 + plan.random);
        assert_eq!(some, subsets(100, &plan, &mut Random::new(7)).0);
        assert_ne!(some, subsets(100, &plan, &mut Random::new(8)).0);
    }
}
