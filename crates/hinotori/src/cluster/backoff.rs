//! How long to wait before connecting again.

use std::time::Duration;

use super::jitter;

const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// The waits between attempts to connect: none before the first, then 50 ms, doubled up to 2 s. Each is cut by a random
/// part of up to a half, so nodes that lost an engine together do not return together.
///
/// ```
/// use std::time::Duration;
///
/// let mut backoff = hinotori::cluster::Backoff::default();
/// assert_eq!(backoff.next(), Duration::ZERO);
/// assert!((25..=50).contains(&backoff.next().as_millis()));
/// ```
#[derive(Debug, Default)]
pub struct Backoff(Duration);

impl Backoff {
    /// The next wait.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = (whole * 2).clamp(SHORTEST, LONGEST);
        whole - jitter(whole / 2)
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
