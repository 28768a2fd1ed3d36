//! Time as the machine sees it: an argument, never a clock.

/// The moment of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never steps, counting from the boot: a trial lasts from there.
    pub monotonic_ms: u64,
    /// Wall time in milliseconds since 1970, when the device has reason to trust it. Only polling hours use it.
    pub wall_unix_ms: Option<u64>,
}

impl Now {
    /// A moment with no known wall time.
    pub const fn monotonic(monotonic_ms: u64) -> Self {
        Self { monotonic_ms, wall_unix_ms: None }
    }

    /// Whether a point in time that was set earlier has come. `None` means "at once".
    pub(crate) fn reached(&self, at_ms: Option<u64>) -> bool {
        at_ms.is_none_or(|at| self.monotonic_ms >= at)
    }

    /// The point `ms` milliseconds from now.
    pub(crate) fn after(&self, ms: u64) -> u64 {
        self.monotonic_ms.saturating_add(ms)
    }
}

/// Keeps the earliest of two optional points in time.
pub(crate) fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
