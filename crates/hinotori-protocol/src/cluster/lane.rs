//! The numbered frames of one kind from one node: what is lost, late or doubled.

/// Numbers before the next one for which it is known whether they have arrived.
const KNOWN: u64 = 64;

/// What a frame is to its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is newer than all before it, and this many between them are missing.
    New {
        /// How many are missing.
        missing: u64,
    },
    /// It is one of the missing ones, and newer ones have been delivered.
    Late,
    /// It has arrived before.
    Again,
}

/// Delivers in order and at most once: see the module. The first frame is new, whatever its number.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    /// The next number. `None` before the first frame.
    next: Option<u64>,
    /// Bit `n`: whether the number `next - 1 - n` has arrived.
    arrived: u64,
    /// The last number that the sender has said there is.
    announced: u64,
}

impl Lane {
    /// A frame has arrived.
    pub fn arrive(&mut self, seq: u64) -> Arrival {
        let next = *self.next.get_or_insert(seq);
        if seq >= next {
            self.skip_to(next, seq);
            self.arrived |= 1;
            return Arrival::New { missing: seq - next };
        }
        let age = next - 1 - seq;
        let bit = if age < KNOWN { 1 << age } else { 0 };
        let is_again = self.arrived & bit != 0;
        self.arrived |= bit;
        if is_again { Arrival::Again } else { Arrival::Late }
    }

    /// The sender says that this is its last number so far. Returns how many are missing for certain at the end: those
    /// that it had already said to be there the last time.
    pub fn announce(&mut self, last: u64) -> u64 {
        let expected = self.announced;
        self.announced = self.announced.max(last);
        match self.next {
            None => {
                self.next = Some(last.saturating_add(1));
                0
            }
            Some(next) if next <= expected => {
                self.skip_to(next, expected);
                expected - next + 1
            }
            Some(_) => 0,
        }
    }

    /// Makes `seq + 1` the next number.
    fn skip_to(&mut self, next: u64, seq: u64) {
        let steps = (seq - next).saturating_add(1);
        self.arrived = u32::try_from(steps).ok().and_then(|n| self.arrived.checked_shl(n)).unwrap_or(0);
        self.next = Some(seq.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const NEXT: Arrival = Arrival::New { missing: 0 };

    #[test]
    fn a_gap_a_late_one_and_a_double_are_told_apart() {
        let mut lane = Lane::default();
        assert_eq!([7, 8].map(|seq| lane.arrive(seq)), [NEXT, NEXT]);
        assert_eq!(lane.arrive(11), Arrival::New { missing: 2 });
        assert_eq!(
            [8, 10, 10, 11].map(|seq| lane.arrive(seq)),
            [Arrival::Again, Arrival::Late, Arrival::Again, Arrival::Again]
        );
        assert_eq!(lane.arrive(12), NEXT);
    }

    #[test]
    fn what_is_missing_at_the_end_is_noticed_when_it_is_announced_for_the_second_time() {
        let mut lane = Lane::default();
        assert_eq!((lane.announce(5), lane.arrive(6)), (0, NEXT));
        assert_eq!([9, 9, 9].map(|last| lane.announce(last)), [0, 3, 0]);
        assert_eq!((lane.arrive(8), lane.arrive(10)), (Arrival::Late, NEXT));
        assert_eq!((lane.announce(10), lane.announce(10)), (0, 0));
    }

    #[test]
    fn the_largest_numbers_do_no_harm() {
        let mut lane = Lane::default();
        assert_eq!(lane.arrive(1), NEXT);
        assert_eq!(lane.arrive(u64::MAX - 1), Arrival::New { missing: u64::MAX - 3 });
        assert_eq!(lane.announce(u64::MAX), 0);
        lane.announce(u64::MAX);
        lane.arrive(u64::MAX);
        lane.arrive(0);
    }

    proptest! {
        #[test]
        fn new_ones_ascend_and_every_other_is_late_or_a_double(seqs in prop::collection::vec(1u64..200, 0..200)) {
            let (mut lane, mut seen, mut last, mut missing) = (Lane::default(), HashSet::new(), 0, 0);
            for (index, seq) in seqs.into_iter().enumerate() {
                let is_first = seen.insert(seq);
                match lane.arrive(seq) {
                    Arrival::New { missing: more } => {
                        prop_assert!(index == 0 || seq == last + 1 + more);
                        (last, missing) = (seq, missing + more);
                    }
                    Arrival::Again => prop_assert!(!is_first),
                    Arrival::Late => {
                        prop_assert!(seq < last);
                        prop_assert!(is_first || last - seq >= KNOWN, "it was known to have arrived");
                    }
                }
            }
        }
    }
}
