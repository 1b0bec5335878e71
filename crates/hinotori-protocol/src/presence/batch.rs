//! What has changed on a topic since its last broadcast, as the diffs to broadcast next, in order.
//!
//! Every change is in one of them. A presence that joins and leaves within the batch is not dropped, because a list may
//! have shown it meanwhile: a client that never gets the leave would show it forever. Its join and its leave are in two
//! diffs, because clients differ in which half of a diff they apply first.

use std::{collections::HashMap, sync::Arc};

use super::state::{Entry, Id, Present};

/// The two halves of one `presence_diff`. No presence is in both.
#[derive(Debug, Default)]
pub struct Diff {
    /// Presences that have joined or have a new meta.
    pub joins: Present,
    /// Presences that have left or had their meta replaced.
    pub leaves: Present,
}

/// Changes, in as few diffs as the rules of this module allow.
#[derive(Debug, Default)]
pub struct Batch {
    diffs: Vec<Diff>,
    /// Index of the diff with the latest change of a key; absent for 0.
    latest: HashMap<Arc<str>, usize>,
}

impl Batch {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.diffs.is_empty()
    }

    /// The diffs, in the order in which they are to be broadcast.
    pub fn into_diffs(self) -> Vec<Diff> {
        self.diffs
    }

    /// Adds changes that belong in one diff: an update's leave and join, or all leaves of a channel that ends.
    pub fn add(&mut self, left: Vec<Entry>, joined: Option<Entry>) {
        let Some(at) = left.iter().chain(&joined).map(|(id, _)| self.earliest(id)).max() else { return };
        if at == self.diffs.len() {
            self.diffs.push(Diff::default());
        }
        if at > 0 {
            let keys = left.iter().chain(&joined).map(|(id, _)| id.key.clone());
            self.latest.extend(keys.map(|key| (key, at)));
        }
        self.diffs[at].leaves.extend(left);
        self.diffs[at].joins.extend(joined);
    }

    /// The first diff that may have the next change of a presence: not before the key's latest change, and not the one
    /// with the presence's own join.
    fn earliest(&self, id: &Id) -> usize {
        let at = self.latest.get(&id.key).copied().unwrap_or_default();
        let has_just_come = self.diffs.get(at).is_some_and(|diff| diff.joins.contains_key(id));
        at + usize::from(has_just_come)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::state::{Clock, Meta, State},
        *,
    };

    /// A topic whose changes are gathered.
    struct Topic {
        clock: Clock,
        state: State<u8>,
        batch: Batch,
    }

    impl Topic {
        fn new() -> Self {
            Self { clock: Clock::new(1), state: State::default(), batch: Batch::default() }
        }

        fn join(&mut self, owner: u8, key: &str) {
            let joined = self.state.join(owner, key, self.clock.tick(), Meta::new());
            self.batch.add(vec![], Some(joined));
        }

        fn leave(&mut self, owner: u8, key: &str) {
            let left = self.state.leave(&owner, key).unwrap();
            self.batch.add(vec![left], None);
        }

        fn update(&mut self, owner: u8, key: &str) {
            let left = self.state.leave(&owner, key).unwrap();
            let joined = self.state.join(owner, key, self.clock.tick(), Meta::new());
            self.batch.add(vec![left], Some(joined));
        }

        fn end(&mut self, owner: u8) {
            let left = self.state.end(&owner);
            self.batch.add(left, None);
        }

        /// The diffs so far, as `+key` and `-key`.
        fn told(&mut self) -> Vec<String> {
            let told =
                |half: &Present, sign| half.keys().map(|id| format!("{sign}{}", id.key)).collect::<Vec<_>>();
            let diffs = std::mem::take(&mut self.batch).into_diffs();
            diffs
                .iter()
                .map(|diff| [told(&diff.joins, '+'), told(&diff.leaves, '-')].concat().join(" "))
                .collect()
        }
    }

    #[test]
    fn any_number_who_come_or_go_are_one_diff() {
        let mut topic = Topic::new();
        for owner in 0..100 {
            topic.join(owner, "u");
        }
        assert_eq!(topic.told(), [["+u"; 100].join(" ")]);
        (0..100).for_each(|owner| topic.end(owner));
        assert_eq!(topic.told(), [["-u"; 100].join(" ")]);
        assert!(topic.told().is_empty() && topic.batch.is_empty());
    }

    #[test]
    fn whoever_comes_and_goes_is_told_in_two_diffs_beside_all_others() {
        let mut topic = Topic::new();
        topic.join(0, "old");
        topic.told();
        for owner in 1..=3 {
            topic.join(owner, &owner.to_string());
            topic.end(owner);
        }
        topic.end(0);
        topic.join(4, "new");
        assert_eq!(topic.told(), ["+1 +2 +3 +new -old", "-1 -2 -3"]);
    }

    #[test]
    fn each_update_is_one_diff_of_the_old_meta_and_the_new_one() {
        let mut topic = Topic::new();
        topic.join(1, "u");
        topic.told();
        for _ in 0..3 {
            topic.update(1, "u");
        }
        assert_eq!(topic.told(), ["+u -u", "+u -u", "+u -u"]);
        topic.leave(1, "u");
        topic.join(1, "u");
        topic.update(1, "u");
        assert_eq!(topic.told(), ["+u -u", "+u -u"]);
    }

    #[test]
    fn the_changes_of_a_key_are_told_in_their_order() {
        let mut topic = Topic::new();
        topic.join(1, "u");
        topic.leave(1, "u");
        topic.join(2, "u");
        topic.join(3, "v");
        topic.leave(2, "u");
        topic.join(4, "u");
        assert_eq!(topic.told(), ["+u +v", "+u -u", "+u -u"]);
    }

    #[test]
    fn a_channel_that_ends_takes_all_its_keys_along_in_one_diff() {
        let mut topic = Topic::new();
        topic.join(1, "a");
        topic.told();
        topic.join(1, "b");
        topic.end(1);
        topic.join(2, "a");
        assert_eq!(topic.told(), ["+b", "+a -a -b"]);
    }
}
