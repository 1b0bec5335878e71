//! How many messages a client may send over time. Arithmetic only: the caller passes the time.
//!
//! There are two token buckets of the same size, both full at first and refilled at the same rate. A message that gets
//! a token from the first bucket is handled. Otherwise, if it gets a token from the second, it is refused with an
//! error. If it gets neither, its client is closed. So a client within the rate never notices. A client between once
//! and twice the rate loses the messages above the rate. A client above twice the rate is closed when it has used up
//! both bursts.

/// Nanoseconds per second.
const SECOND: u64 = 1_000_000_000;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message is within the rate.
    Handle,
    /// The message exceeds the rate: answer it with an error instead.
    Refuse,
    /// The client has exceeded twice the rate: close its connection.
    Close,
}

/// The messages of one client.
#[derive(Debug)]
pub struct Rate {
    handled: Bucket,
    refused: Bucket,
}

impl Rate {
    /// A limit of `per_second` messages per second on average and `burst` at once (0 counts as 1). `None` if
    /// `per_second` is 0, which means no limit.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let interval = SECOND.checked_div(per_second.into())?;
        let bucket = || Bucket { interval, size: interval * u64::from(burst.max(1)), full_at: 0 };
        Some(Self { handled: bucket(), refused: bucket() })
    }

    /// Judges a message that arrives at `now`, in nanoseconds since any fixed point in time.
    pub fn judge(&mut self, now: u64) -> Verdict {
        if self.handled.take(now) {
            Verdict::Handle
        } else if self.refused.take(now) {
            Verdict::Refuse
        } else {
            Verdict::Close
        }
    }
}

/// A token bucket, stored as the time at which it will be full again: one number that needs no timer.
#[derive(Debug)]
struct Bucket {
    /// Nanoseconds in which one token is refilled.
    interval: u64,
    /// Nanoseconds in which an empty bucket is refilled.
    size: u64,
    full_at: u64,
}

impl Bucket {
    /// Takes a token. False if there is none.
    fn take(&mut self, now: u64) -> bool {
        // u32::MAX seconds and some 500 years more fit into a u64 of nanoseconds
        let full_at = self.full_at.max(now) + self.interval;
        let has_one = full_at - now <= self.size;
        if has_one {
            self.full_at = full_at;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(rate: &mut Rate, now: u64, count: usize) -> Vec<Verdict> {
        (0..count).map(|_| rate.judge(now)).collect()
    }

    #[test]
    fn a_burst_is_handled_as_many_more_are_refused_and_the_next_one_closes() {
        let mut rate = Rate::new(10, 3).unwrap();
        use Verdict::{Close, Handle, Refuse};
        assert_eq!(judged(&mut rate, 0, 7), [Handle, Handle, Handle, Refuse, Refuse, Refuse, Close]);
    }

    #[test]
    fn a_token_comes_back_for_each_part_of_a_second_and_no_more_than_a_burst() {
        let mut rate = Rate::new(10, 3).unwrap();
        judged(&mut rate, 0, 3);
        assert_eq!(rate.judge(SECOND / 10 - 1), Verdict::Refuse);
        assert_eq!(rate.judge(SECOND / 10), Verdict::Handle);
        assert_eq!(rate.judge(SECOND / 10), Verdict::Refuse);
        let later = judged(&mut rate, 1_000 * SECOND, 4);
        assert_eq!(later.iter().filter(|verdict| **verdict == Verdict::Handle).count(), 3);
    }

    /// What becomes of a client that sends evenly for ten minutes.
    fn evenly(per_second: u64) -> (u64, u64, bool) {
        let mut rate = Rate::new(100, 50).unwrap();
        let (mut handled, mut refused) = (0, 0);
        for n in 0..600 * per_second {
            match rate.judge(n * SECOND / per_second) {
                Verdict::Handle => handled += 1,
                Verdict::Refuse => refused += 1,
                Verdict::Close => return (handled, refused, true),
            }
        }
        (handled, refused, false)
    }

    #[test]
    fn within_the_rate_all_is_handled_up_to_twice_the_rate_none_is_closed_and_beyond_it_one_is() {
        assert_eq!(evenly(100), (60_000, 0, false));
        let (handled, refused, closed) = evenly(150);
        assert!(
            !closed && handled.abs_diff(60_050) < 2 && handled + refused == 90_000,
            "{handled} {refused}"
        );
        assert!(!evenly(200).2);
        assert!(evenly(210).2);
    }

    #[test]
    fn a_rate_of_nothing_is_none_and_the_greatest_numbers_do_not_overflow() {
        assert!(Rate::new(0, 5).is_none());
        let mut rate = Rate::new(1, u32::MAX).unwrap();
        assert_eq!(rate.judge(u64::MAX / 4), Verdict::Handle);
        assert_eq!(Rate::new(u32::MAX, 0).unwrap().judge(0), Verdict::Handle);
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_has_more_handled_than_a_burst_and_what_came_back(
            per_second in 1u32..1_000, burst in 1u32..50, gaps in proptest::collection::vec(0u64..SECOND / 10, 1..200),
        ) {
            let mut rate = Rate::new(per_second, burst).unwrap();
            let mut now = 0;
            let handled: Vec<u64> = gaps.iter().filter_map(|gap| {
                now += gap;
                (rate.judge(now) == Verdict::Handle).then_some(now)
            }).collect();
            for (index, start) in handled.iter().enumerate() {
                for (count, end) in handled[index..].iter().enumerate() {
                    let back = (end - start) / (SECOND / u64::from(per_second));
                    prop_assert!((count as u64) < u64::from(burst) + back);
                }
            }
        }
    }
}
