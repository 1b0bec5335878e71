//! The presences of one topic as a data type: tags, metas, owners.
//!
//! It has no lock and does not broadcast. A server keeps one [`State`] per topic behind a lock. Readers take a
//! [`Present`], an immutable map that they share with the state until its next change.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// What clients see of a presence, its `phx_ref` included.
pub type Meta = Map<String, Value>;

/// Identifies one presence across all servers and all restarts. Ordered by age within a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    clock: u64,
    replica: u64,
}

impl Tag {
    const FIRST: Self = Self { clock: 0, replica: 0 };
    const LAST: Self = Self { clock: u64::MAX, replica: u64::MAX };

    /// The `clock`th tag of a replica.
    #[must_use]
    pub fn new(replica: u64, clock: u64) -> Self {
        Self { clock, replica }
    }

    /// Which of its replica's tags it is, counted from 1.
    #[must_use]
    pub fn clock(self) -> u64 {
        self.clock
    }

    /// The tag as clients get it: base64 of the replica's 8 bytes and the significant bytes of the clock. 12 characters
    /// for a replica's first 255 presences, 15 for its first 16 million.
    pub fn phx_ref(self) -> String {
        let clock = self.clock.to_be_bytes();
        let zeros = self.clock.leading_zeros() as usize / 8;
        URL_SAFE_NO_PAD.encode([&self.replica.to_be_bytes(), &clock[zeros..]].concat())
    }
}

/// Makes the tags of one replica.
#[derive(Debug)]
pub struct Clock {
    replica: u64,
    ticks: AtomicU64,
}

impl Clock {
    /// `replica` must be new at every start and on every server: phoenix.js keeps the old meta if a new one has the
    /// same `phx_ref`.
    pub fn new(replica: u64) -> Self {
        Self { replica, ticks: AtomicU64::new(0) }
    }

    /// The next tag.
    pub fn tick(&self) -> Tag {
        Tag { clock: self.ticks.fetch_add(1, Ordering::Relaxed) + 1, replica: self.replica }
    }
}

/// The position of a presence in a [`Present`]: by key, then by age.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The key under which it was tracked.
    pub key: Arc<str>,
    /// Which of the presences under this key it is.
    pub tag: Tag,
}

/// One presence.
pub type Entry = (Id, Arc<Meta>);

/// Presences, grouped by key, oldest first.
pub type Present = BTreeMap<Id, Arc<Meta>>;

/// The presences under one key.
pub fn of_key<'a>(present: &'a Present, key: &str) -> impl Iterator<Item = (&'a Id, &'a Arc<Meta>)> {
    let key: Arc<str> = key.into();
    present.range(Id { key: key.clone(), tag: Tag::FIRST }..=Id { key, tag: Tag::LAST })
}

/// The presences of a topic; `O` identifies their owners.
#[derive(Debug)]
pub struct State<O> {
    /// Copied on change while a reader holds it; the metas are shared.
    present: Arc<Present>,
    /// The presences of each owner. An owner stays until it ends, even without presences.
    owned: HashMap<O, HashMap<Arc<str>, Tag>>,
}

impl<O> Default for State<O> {
    fn default() -> Self {
        Self { present: Arc::default(), owned: HashMap::new() }
    }
}

impl<O: Eq + Hash> State<O> {
    /// All presences, as of now.
    pub fn present(&self) -> Arc<Present> {
        self.present.clone()
    }

    /// Whether every owner has ended and nobody is present.
    pub fn is_over(&self) -> bool {
        self.owned.is_empty() && self.present.is_empty()
    }

    /// Whether an owner is known and has not ended.
    pub fn knows(&self, owner: &O) -> bool {
        self.owned.contains_key(owner)
    }

    /// The presence of an owner under a key.
    pub fn get(&self, owner: &O, key: &str) -> Option<Entry> {
        let (key, tag) = self.owned.get(owner)?.get_key_value(key)?;
        let id = Id { key: key.clone(), tag: *tag };
        let meta = self.present.get(&id)?.clone();
        Some((id, meta))
    }

    /// Adds a presence of an owner, which must have none under this key.
    pub fn join(&mut self, owner: O, key: &str, tag: Tag, mut meta: Meta) -> Entry {
        meta.insert("phx_ref".to_owned(), Value::String(tag.phx_ref()));
        let (id, meta) = (Id { key: key.into(), tag }, Arc::new(meta));
        self.owned.entry(owner).or_default().insert(id.key.clone(), tag);
        Arc::make_mut(&mut self.present).insert(id.clone(), meta.clone());
        (id, meta)
    }

    /// Removes the presence of an owner under a key.
    pub fn leave(&mut self, owner: &O, key: &str) -> Option<Entry> {
        let (key, tag) = self.owned.get_mut(owner)?.remove_entry(key)?;
        Arc::make_mut(&mut self.present).remove_entry(&Id { key, tag })
    }

    /// Adds a presence without an owner: one that belongs to another server.
    pub fn add(&mut self, (id, meta): Entry) {
        Arc::make_mut(&mut self.present).insert(id, meta);
    }

    /// Removes a presence without an owner.
    pub fn remove(&mut self, id: &Id) -> Option<Entry> {
        Arc::make_mut(&mut self.present).remove_entry(id)
    }

    /// Removes an owner with all its presences.
    pub fn end(&mut self, owner: &O) -> Vec<Entry> {
        let owned = self.owned.remove(owner).unwrap_or_default();
        if owned.is_empty() {
            return vec![];
        }
        let present = Arc::make_mut(&mut self.present);
        owned.into_iter().filter_map(|(key, tag)| present.remove_entry(&Id { key, tag })).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_phx_ref_is_short_and_is_that_of_one_tag() {
        let replicas = [0, 1, 0xff, 0x100, u64::MAX];
        let clocks = [1, 2, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, u64::MAX];
        let tags = replicas.into_iter().flat_map(|replica| clocks.map(|clock| Tag { clock, replica }));
        let refs: HashSet<String> = tags.map(Tag::phx_ref).collect();
        assert_eq!(refs.len(), replicas.len() * clocks.len());
        let clock = Clock::new(u64::MAX);
        assert_eq!((clock.tick().phx_ref().len(), clock.tick().phx_ref().len()), (12, 12));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join(u8, u8),
        Leave(u8, u8),
        End(u8),
        Read,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u8..3, 0u8..3).prop_map(|(owner, key)| Step::Join(owner, key)),
            2 => (0u8..3, 0u8..3).prop_map(|(owner, key)| Step::Leave(owner, key)),
            1 => (0u8..3).prop_map(Step::End),
            1 => Just(Step::Read),
        ];
        proptest::collection::vec(step, 0..60)
    }

    /// As `(key, owner)`, in order.
    fn seen(present: &Present) -> Vec<(String, Value)> {
        present.iter().map(|(id, meta)| (id.key.to_string(), meta["owner"].clone())).collect()
    }

    proptest! {
        #[test]
        fn a_state_is_a_list_of_who_came_and_has_not_left(steps in steps()) {
            let (mut state, clock) = (State::default(), Clock::new(1));
            let mut model: Vec<(u8, u8)> = vec![];
            let mut read = vec![];
            let listed = |model: &[(u8, u8)]| {
                let mut listed: Vec<_> = model.iter().map(|(owner, key)| (key.to_string(), Value::from(*owner))).collect();
                listed.sort_by(|(a, _), (b, _)| a.cmp(b));
                listed
            };
            for step in steps {
                match step {
                    Step::Join(owner, key) => {
                        let is_new = state.get(&owner, &key.to_string()).is_none();
                        prop_assert_eq!(is_new, !model.contains(&(owner, key)));
                        if is_new {
                            let meta = Meta::from_iter([("owner".to_owned(), owner.into())]);
                            state.join(owner, &key.to_string(), clock.tick(), meta);
                            model.push((owner, key));
                        }
                    }
                    Step::Leave(owner, key) => {
                        let is_there = state.leave(&owner, &key.to_string()).is_some();
                        prop_assert_eq!(is_there, model.contains(&(owner, key)));
                        model.retain(|one| *one != (owner, key));
                    }
                    Step::End(owner) => {
                        let left = state.end(&owner).len();
                        prop_assert_eq!(left, model.iter().filter(|(of, _)| *of == owner).count());
                        prop_assert!(!state.knows(&owner));
                        model.retain(|(of, _)| *of != owner);
                    }
                    Step::Read => read.push((state.present(), listed(&model))),
                }
                prop_assert_eq!(seen(&state.present()), listed(&model));
                for key in 0..3u8 {
                    let present = state.present();
                    let of_key: Vec<_> = of_key(&present, &key.to_string()).map(|(_, meta)| meta["owner"].clone()).collect();
                    let wanted: Vec<_> = model.iter().filter(|(_, of)| *of == key).map(|(owner, _)| Value::from(*owner)).collect();
                    prop_assert_eq!(of_key, wanted, "the oldest first");
                }
            }
            for (present, then) in read {
                prop_assert_eq!(seen(&present), then, "what was read does not change");
            }
        }
    }

    #[test]
    fn a_state_is_over_when_all_who_were_present_have_ended() {
        let (mut state, clock) = (State::default(), Clock::new(1));
        assert!(state.is_over());
        state.join(1, "a", clock.tick(), Meta::new());
        state.leave(&1, "a");
        assert!(!state.is_over() && state.knows(&1), "it may be present again");
        state.end(&1);
        assert!(state.is_over() && state.present().is_empty());
    }
}
