//! How long to wait before the next try.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// No wait before the first try; then waits that double, from 50 ms to 2 s, each cut by up to a half, so that servers do not
/// come all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff(Duration);

impl Backoff {
    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = (whole * 2).clamp(SHORTEST, LONGEST);
        // hashers of the standard library have random keys
        let part = RandomState::new().hash_one(()) % 1_024;
        whole / 2 + whole * u32::try_from(part).unwrap_or(0) / 2_048
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_their_bound_and_are_cut_by_at_most_a_half() {
        let mut backoff = Backoff::default();
        for whole in [0, 50, 100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let wait = backoff.next();
            let whole = Duration::from_millis(whole);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
    }
}
