//! The newest likes, for clients that missed some.

use std::collections::{BTreeMap, HashMap};

use super::super::message_log::Liked;

/// Messages whose last like is kept.
const MOST: usize = 4_096;

/// The last like of each message, in the order of the likes, as far back as there is room.
#[derive(Debug, Default)]
pub(super) struct LikeLog {
    by_rev: BTreeMap<u64, Liked>,
    /// The key of each message in it.
    revs: HashMap<u64, u64>,
    /// All likes after this revision are known.
    floor: u64,
}

impl LikeLog {
    /// Of the newest likes of a log, the oldest of them first. If they are as many as there is room for, there may be others.
    pub(super) fn new(liked: &[Liked]) -> Self {
        let is_whole = liked.len() < MOST;
        let floor = liked.first().filter(|_| !is_whole).map_or(0, |oldest| oldest.rev - 1);
        let mut log = Self { floor, ..Self::default() };
        liked.iter().for_each(|liked| log.add(*liked));
        log
    }

    /// Adds a like, unless a newer one of the same message is there.
    pub(super) fn add(&mut self, liked: Liked) {
        let is_old = |former: &u64| *former >= liked.rev;
        if liked.rev <= self.floor || self.revs.get(&liked.id).is_some_and(is_old) {
            return;
        }
        if let Some(former) = self.revs.insert(liked.id, liked.rev) {
            self.by_rev.remove(&former);
        }
        self.by_rev.insert(liked.rev, liked);
        if self.by_rev.len() > MOST
            && let Some((rev, oldest)) = self.by_rev.pop_first()
        {
            self.revs.remove(&oldest.id);
            self.floor = rev;
        }
    }

    /// The last like of each message that was liked after a revision. None if some may no longer be known.
    pub(super) fn since(&self, rev: u64) -> Option<impl Iterator<Item = &Liked>> {
        (rev >= self.floor).then(|| self.by_rev.range(rev + 1..).map(|(_, liked)| liked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn liked(id: u64, count: u64, rev: u64) -> Liked {
        Liked { id, count, rev }
    }

    fn since(log: &LikeLog, rev: u64) -> Option<Vec<Liked>> {
        log.since(rev).map(|liked| liked.copied().collect())
    }

    #[test]
    fn each_message_has_its_last_like() {
        let mut log = LikeLog::new(&[liked(7, 1, 1)]);
        for like in [liked(3, 1, 2), liked(7, 2, 3), liked(3, 2, 4)] {
            log.add(like);
        }
        assert_eq!(since(&log, 0), Some(vec![liked(7, 2, 3), liked(3, 2, 4)]));
        assert_eq!(since(&log, 3), Some(vec![liked(3, 2, 4)]));
        assert_eq!(since(&log, 4), Some(vec![]));
        assert_eq!(since(&log, 99), Some(vec![]));
    }

    #[test]
    fn an_older_like_changes_nothing_and_raises_no_doubt() {
        let all: Vec<Liked> = (1..=MOST as u64).map(|n| liked(n, 2, n + 10)).collect();
        let mut log = LikeLog::new(&all);
        log.add(liked(5, 1, 12));
        log.add(liked(9_999, 1, 10));
        assert_eq!(since(&log, 10), Some(all));
    }

    #[test]
    fn what_there_was_no_room_for_is_not_passed_over_in_silence() {
        let all: Vec<Liked> = (1..=MOST as u64).map(|n| liked(n, 1, n + 10)).collect();
        let mut log = LikeLog::new(&all);
        assert_eq!(since(&log, 9), None, "those before the snapshot's oldest");
        assert_eq!(since(&log, 10).map(|liked| liked.len()), Some(MOST));
        log.add(liked(MOST as u64 + 1, 1, MOST as u64 + 11));
        assert_eq!(since(&log, 10), None);
        assert_eq!(since(&log, 11).map(|liked| liked.len()), Some(MOST));
        assert_eq!(log.revs.len(), MOST);
    }
}
