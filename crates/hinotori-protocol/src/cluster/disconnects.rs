//! Disconnects reach every node at least once: the sender keeps and repeats them, the receiver remembers which it has.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;

/// How many are kept.
const KEPT: usize = 1_024;

/// How long one is kept: longer than an outage should last.
const AGE: Duration = Duration::from_secs(600);

/// How old one is before it is repeated: its acknowledgment comes with the next heartbeat.
const FIRST: Duration = Duration::from_secs(2);

/// The frames that this node has sent.
#[derive(Debug, Default)]
pub struct Kept {
    frames: VecDeque<(u64, Duration, Bytes)>,
    last: u64,
}

impl Kept {
    /// Keeps a frame. `seq` is larger than all before.
    pub fn keep(&mut self, now: Duration, seq: u64, frame: Bytes) {
        self.expire(now);
        if self.frames.len() == KEPT {
            self.frames.pop_front();
        }
        self.frames.push_back((seq, now, frame));
        self.last = seq;
    }

    /// The number of the oldest one that is still kept, or of the next one.
    pub fn from(&mut self, now: Duration) -> u64 {
        self.expire(now);
        self.frames.front().map_or(self.last + 1, |(seq, ..)| *seq)
    }

    /// What a node has to be sent again that has everything up to a number.
    pub fn missing(&self, now: Duration, up_to: u64) -> impl Iterator<Item = &Bytes> {
        let is_missing =
            move |(seq, at, _): &&(u64, Duration, Bytes)| *seq > up_to && now.saturating_sub(*at) >= FIRST;
        self.frames.iter().filter(is_missing).map(|(_, _, frame)| frame)
    }

    fn expire(&mut self, now: Duration) {
        while self.frames.front().is_some_and(|(_, at, _)| now.saturating_sub(*at) > AGE) {
            self.frames.pop_front();
        }
    }
}

/// The numbers of the disconnects of one node that have arrived here.
#[derive(Debug, Default)]
pub struct Received {
    up_to: u64,
    beyond: BTreeSet<u64>,
    has_met: bool,
}

impl Received {
    /// Whether this number has arrived.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        seq <= self.up_to || self.beyond.contains(&seq)
    }

    /// Notes that a number has arrived. Returns whether it had not before.
    pub fn is_new(&mut self, seq: u64) -> bool {
        let is_new = seq > self.up_to && self.beyond.insert(seq);
        if self.beyond.len() > KEPT
            && let Some(oldest) = self.beyond.pop_first()
        {
            // its sender keeps none before it
            self.up_to = oldest;
        }
        self.advance();
        is_new
    }

    /// A heartbeat of the sender: its last number, and the oldest that it keeps. `is_younger` says whether it has started
    /// after this node. What it had sent before this node was there concerns none of its clients.
    pub fn announced(&mut self, last: u64, kept_from: u64, is_younger: bool) {
        let met = std::mem::replace(&mut self.has_met, true);
        let next = last.saturating_add(1);
        let from = if met || is_younger { kept_from.min(next) } else { next };
        self.up_to = self.up_to.max(from.saturating_sub(1));
        self.advance();
    }

    /// All up to this number have arrived. `None` until the sender was heard.
    #[must_use]
    pub fn up_to(&self) -> Option<u64> {
        self.has_met.then_some(self.up_to)
    }

    fn advance(&mut self) {
        while let Some(first) = self.beyond.first().copied()
            && first <= self.up_to.saturating_add(1)
        {
            self.beyond.pop_first();
            self.up_to = self.up_to.max(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_newest_are_kept_for_ten_minutes_and_repeated_to_those_that_lack_them() {
        let mut kept = Kept::default();
        assert_eq!(kept.from(secs(0)), 1);
        for seq in 1..=2_000 {
            kept.keep(secs(0), seq, Bytes::new());
        }
        assert_eq!(kept.from(secs(0)), 977);
        assert_eq!(kept.missing(secs(1), 1_990).count(), 0, "they are under way");
        assert_eq!(kept.missing(secs(2), 1_990).count(), 10);
        assert_eq!((kept.from(secs(600)), kept.from(secs(601))), (977, 2_001));
    }

    #[test]
    fn a_node_that_comes_later_wants_none_of_what_was_sent_before_and_one_that_was_there_wants_all() {
        let (mut younger, mut older) = (Received::default(), Received::default());
        younger.announced(5, 2, false);
        older.announced(5, 2, true);
        assert_eq!((younger.up_to(), older.up_to()), (Some(5), Some(1)));
        assert!(!younger.is_new(4) && older.is_new(4) && !older.is_new(4));
        assert!(older.is_new(2) && older.is_new(3));
        assert_eq!(older.up_to(), Some(4));
    }

    #[test]
    fn the_largest_numbers_do_no_harm() {
        let mut received = Received::default();
        received.announced(u64::MAX, u64::MAX, false);
        received.announced(u64::MAX, u64::MAX, true);
        assert!(received.is_new(u64::MAX) && !received.is_new(u64::MAX) && received.has(1));
        assert_eq!(received.up_to(), Some(u64::MAX));
    }

    proptest! {
        /// Frames are lost and doubled, and the sender repeats what is not acknowledged.
        #[test]
        fn each_is_carried_out_exactly_once(lost in prop::collection::vec(any::<bool>(), 1..400), count in 1u64..60) {
            let (mut kept, mut received, mut done) = (Kept::default(), Received::default(), vec![]);
            received.announced(0, 1, true);
            let mut lost = lost.into_iter().chain(std::iter::repeat(false));
            for seq in 1..=count {
                let frame = Bytes::from(seq.to_le_bytes().to_vec());
                kept.keep(secs(0), seq, frame.clone());
                if !lost.next().unwrap() && received.is_new(seq) {
                    done.push(seq);
                }
            }
            for second in 2..500 {
                received.announced(count, kept.from(secs(second)), true);
                let missing: Vec<Bytes> = kept.missing(secs(second), received.up_to().unwrap()).cloned().collect();
                for frame in missing {
                    let seq = u64::from_le_bytes(frame[..].try_into().unwrap());
                    if !lost.next().unwrap() && received.is_new(seq) {
                        done.push(seq);
                    }
                }
            }
            done.sort_unstable();
            prop_assert_eq!(done, (1..=count).collect::<Vec<_>>());
            prop_assert_eq!(received.up_to(), Some(count));
        }
    }
}
