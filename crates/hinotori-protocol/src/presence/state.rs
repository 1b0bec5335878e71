//! Who is present, as a data type that converges: replicas may be merged in any order, any number of times, and agree.
//!
//! An add-wins set of presences (an ORSWOT). Each presence is tagged with the replica that added it and that replica's
//! clock, and each replica remembers which tags it has seen. A tag that one has seen and does not hold was removed; one
//! that it has not seen is new. There is one replica today; more nodes only add [`State::merge`] calls.
//!
//! # Source
//! phoenix_pubsub `lib/phoenix/tracker/state.ex`; Bieniusa et al., "An optimized conflict-free replicated set", 2012.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

/// What a presence says of itself.
pub type Meta = Map<String, Value>;

/// One presence, in all replicas. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    clock: u64,
    replica: u64,
}

impl Tag {
    /// The `phx_ref` by which clients tell presences of one key apart.
    pub fn phx_ref(self) -> String {
        format!("{:x}.{:x}", self.replica, self.clock)
    }
}

/// Somebody on a topic; `O` is whoever takes the presence along when it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<O> {
    /// Whatever the presence ends with, such as a channel.
    pub owner: O,
    /// The topic that it is on.
    pub topic: String,
    /// The key under which it is tracked, such as the id of a user. Presences may share a key.
    pub key: String,
    /// What it says of itself.
    pub meta: Meta,
}

/// The tags that a replica has seen: all up to a clock for each replica, and some beyond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    clocks: BTreeMap<u64, u64>,
    cloud: BTreeSet<Tag>,
}

impl Seen {
    fn has(&self, tag: Tag) -> bool {
        tag.clock <= self.clock(tag.replica) || self.cloud.contains(&tag)
    }

    fn clock(&self, replica: u64) -> u64 {
        self.clocks.get(&replica).copied().unwrap_or_default()
    }

    fn merge(&mut self, other: &Self) {
        for (replica, clock) in &other.clocks {
            let own = self.clocks.entry(*replica).or_default();
            *own = (*own).max(*clock);
        }
        self.cloud.extend(&other.cloud);
        self.compact();
    }

    /// Takes tags out of the cloud that the clocks have reached.
    fn compact(&mut self) {
        for tag in std::mem::take(&mut self.cloud) {
            let clock = self.clocks.entry(tag.replica).or_default();
            match tag.clock {
                reached if reached <= *clock => {}
                next if next == *clock + 1 => *clock = next,
                _ => _ = self.cloud.insert(tag),
            }
        }
    }
}

/// One replica's view.
#[derive(Debug, Clone)]
pub struct State<O> {
    replica: u64,
    seen: Seen,
    entries: HashMap<Tag, Entry<O>>,
    /// The presences of each topic, oldest first.
    topics: HashMap<String, BTreeSet<Tag>>,
}

impl<O: Clone> State<O> {
    /// An empty view. `replica` identifies it: no other replica that it is merged with, at present or in the past, may have
    /// the same number.
    pub fn new(replica: u64) -> Self {
        Self { replica, seen: Seen::default(), entries: HashMap::new(), topics: HashMap::new() }
    }

    /// Adds a presence of this replica.
    pub fn join(&mut self, entry: Entry<O>) -> Tag {
        let clock = self.seen.clock(self.replica) + 1;
        self.seen.clocks.insert(self.replica, clock);
        let tag = Tag { clock, replica: self.replica };
        self.insert(tag, entry);
        tag
    }

    /// Removes a presence.
    pub fn leave(&mut self, tag: Tag) -> Option<Entry<O>> {
        let entry = self.entries.remove(&tag)?;
        if let Some(tags) = self.topics.get_mut(&entry.topic) {
            tags.remove(&tag);
            if tags.is_empty() {
                self.topics.remove(&entry.topic);
            }
        }
        Some(entry)
    }

    /// A presence.
    pub fn get(&self, tag: Tag) -> Option<&Entry<O>> {
        self.entries.get(&tag)
    }

    fn insert(&mut self, tag: Tag, entry: Entry<O>) {
        self.topics.entry(entry.topic.clone()).or_default().insert(tag);
        self.entries.insert(tag, entry);
    }

    /// The presences of a topic, oldest first.
    pub fn on(&self, topic: &str) -> impl Iterator<Item = (Tag, &Entry<O>)> {
        let tags = self.topics.get(topic).into_iter().flatten();
        tags.filter_map(|tag| Some((*tag, self.entries.get(tag)?)))
    }

    /// Adopts what another replica knows. Returns the presences that are new here and those that are gone.
    pub fn merge(&mut self, other: &Self) -> (Vec<Tag>, Vec<(Tag, Entry<O>)>) {
        let mut joined: Vec<Tag> = other.entries.keys().copied().filter(|tag| !self.seen.has(*tag)).collect();
        let gone = |tag: &&Tag| other.seen.has(**tag) && !other.entries.contains_key(tag);
        let gone: Vec<Tag> = self.entries.keys().filter(gone).copied().collect();
        let left = gone.into_iter().filter_map(|tag| Some((tag, self.leave(tag)?))).collect();
        joined.sort();
        for tag in &joined {
            self.insert(*tag, other.entries[tag].clone());
        }
        self.seen.merge(&other.seen);
        (joined, left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Replicas = Vec<State<u8>>;

    #[derive(Debug, Clone)]
    enum Step {
        Join { at: usize, key: u8 },
        Leave { at: usize, which: usize },
        Merge { from: usize, to: usize },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0usize..3, 0u8..3).prop_map(|(at, key)| Step::Join { at, key }),
            (0usize..3, any::<usize>()).prop_map(|(at, which)| Step::Leave { at, which }),
            (0usize..3, 0usize..3).prop_map(|(from, to)| Step::Merge { from, to }),
        ];
        proptest::collection::vec(step, 0..60)
    }

    fn entry(key: u8) -> Entry<u8> {
        Entry { owner: key, topic: "t".into(), key: key.to_string(), meta: Meta::new() }
    }

    fn play(steps: &[Step]) -> (Replicas, BTreeSet<Tag>, BTreeSet<Tag>) {
        let mut replicas: Replicas = (1..=3).map(State::new).collect();
        let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match *step {
                Step::Join { at, key } => _ = added.insert(replicas[at].join(entry(key))),
                Step::Leave { at, which } => {
                    let held: Vec<Tag> = replicas[at].on("t").map(|(tag, _)| tag).collect();
                    if let Some(tag) = held.get(which % held.len().max(1)) {
                        replicas[at].leave(*tag);
                        removed.insert(*tag);
                    }
                }
                Step::Merge { from, to } => {
                    let from = replicas[from].clone();
                    replicas[to].merge(&from);
                }
            }
        }
        (replicas, added, removed)
    }

    fn held(state: &State<u8>) -> BTreeSet<Tag> {
        state.on("t").map(|(tag, _)| tag).collect()
    }

    fn merged(a: &State<u8>, b: &State<u8>) -> State<u8> {
        let mut a = a.clone();
        a.merge(b);
        a
    }

    proptest! {
        #[test]
        fn merged_replicas_agree_on_all_that_was_added_and_not_removed(steps in steps()) {
            let (mut replicas, added, removed) = play(&steps);
            for _ in 0..2 {
                for from in 0..3 {
                    for to in 0..3 {
                        let from = replicas[from].clone();
                        replicas[to].merge(&from);
                    }
                }
            }
            let expected: BTreeSet<Tag> = added.difference(&removed).copied().collect();
            for replica in &replicas {
                prop_assert_eq!(held(replica), expected.clone());
                prop_assert!(replica.seen.cloud.is_empty(), "what is seen is kept as one clock a replica");
            }
        }

        #[test]
        fn merging_is_commutative_associative_and_idempotent(steps in steps()) {
            let (replicas, ..) = play(&steps);
            let [a, b, c] = &replicas[..] else { unreachable!() };
            prop_assert_eq!(held(&merged(a, b)), held(&merged(b, a)));
            prop_assert_eq!(held(&merged(&merged(a, b), c)), held(&merged(a, &merged(b, c))));
            prop_assert_eq!(held(&merged(&merged(a, b), b)), held(&merged(a, b)));
        }

        #[test]
        fn a_merge_tells_exactly_what_changed(steps in steps()) {
            let (replicas, ..) = play(&steps);
            let mut state = replicas[0].clone();
            let mut expected = held(&state);
            let (joined, left) = state.merge(&replicas[1]);
            for (tag, _) in left {
                prop_assert!(expected.remove(&tag));
            }
            for tag in joined {
                prop_assert!(expected.insert(tag));
            }
            prop_assert_eq!(held(&state), expected);
        }
    }

    #[test]
    fn a_topic_lists_its_presences_oldest_first_and_is_forgotten_when_empty() {
        let mut state = State::new(1);
        let tags = [3, 1, 2].map(|key| state.join(entry(key)));
        assert_eq!(state.on("t").map(|(_, entry)| &*entry.key).collect::<Vec<_>>(), ["3", "1", "2"]);
        for tag in tags {
            state.leave(tag);
        }
        assert_eq!(state.leave(tags[0]), None);
        assert!(state.topics.is_empty() && state.entries.is_empty());
    }
}
