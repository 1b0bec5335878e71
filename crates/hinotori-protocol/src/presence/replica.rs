//! What a node knows of another one's slice.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use super::{
    delta::{Delta, Join, Part, Step},
    slice::mixed,
    state::{Entry, Id, Tag},
};

/// Deltas that are kept until what lies before them has arrived.
const LATER: usize = 1_024;

/// Bytes of these, beside which parts of any number wait.
const LATER_BYTES: usize = 4 * 1024 * 1024;

/// See the module. It is at some version of the slice, or behind.
#[derive(Debug)]
pub struct Replica {
    incarnation: u64,
    version: u64,
    digest: u64,
    present: HashMap<u64, (Arc<str>, Join)>,
    /// The highest version of which it was heard.
    known: u64,
    /// Whether something is wrong at the version that it is at.
    is_wrong: bool,
    /// By the version before them: deltas that came too early.
    later: BTreeMap<u64, Delta>,
    parts: Parts,
    /// Of `later` and `parts`.
    bytes: usize,
}

/// The parts of a slice that have arrived.
#[derive(Debug, Default)]
struct Parts {
    version: u64,
    arrived: BTreeMap<u32, Part>,
}

/// What a topic's clients have to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Where.
    pub topic: Arc<str>,
    /// Who has left, in the same diff as those that join.
    pub left: Vec<Entry>,
    /// Who has joined.
    pub joined: Vec<Entry>,
}

impl Replica {
    /// Of a node that has no presences, which is how each begins.
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            version: 0,
            digest: 0,
            present: HashMap::new(),
            known: 0,
            is_wrong: false,
            later: BTreeMap::new(),
            parts: Parts::default(),
            bytes: 0,
        }
    }

    /// Whether the owner has to be asked for its slice.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.version < self.known || self.is_wrong
    }

    /// The owner says what it has. If that is something else, it has to be asked.
    pub fn announced(&mut self, version: u64, digest: u64) {
        self.known = self.known.max(version);
        self.is_wrong |= version == self.version && digest != self.digest;
    }

    /// Changes have arrived.
    pub fn delta(&mut self, delta: Delta) -> Vec<Changed> {
        self.known = self.known.max(delta.to());
        if delta.from > self.version {
            self.keep(delta);
            return vec![];
        }
        let mut changed = self.apply(delta);
        changed.extend(self.apply_later());
        changed
    }

    /// A part of the slice has arrived. With the last one, the slice replaces what is known.
    pub fn part(&mut self, part: Part) -> Vec<Changed> {
        if part.version < self.version.max(self.parts.version) {
            return vec![];
        }
        if part.version > self.parts.version {
            self.forget_parts();
            self.parts.version = part.version;
        }
        let count = part.count as usize;
        let bytes = cost_of(&part);
        if self.parts.arrived.insert(part.index, part).is_none() {
            self.bytes += bytes;
        }
        if self.parts.arrived.len() < count {
            return vec![];
        }
        let version = self.parts.version;
        let parts = self.forget_parts();
        let mut changed = self.replace(version, parts);
        self.is_wrong = false;
        changed.extend(self.apply_later());
        changed
    }

    /// The node is gone: everyone leaves.
    #[must_use]
    pub fn end(mut self) -> Vec<Changed> {
        self.replace(u64::MAX, BTreeMap::new())
    }

    /// Applies the steps that are new. Their first one is not after the next version.
    fn apply(&mut self, delta: Delta) -> Vec<Changed> {
        let known = usize::try_from(self.version - delta.from).unwrap_or(usize::MAX);
        self.version = self.version.max(delta.to());
        delta.steps.into_iter().skip(known).map(|step| self.step(step)).collect()
    }

    fn step(&mut self, Step { topic, left, joined }: Step) -> Changed {
        let left = left.into_iter().filter_map(|clock| self.remove(clock)).map(|(_, entry)| entry).collect();
        let joined = joined.and_then(|join| self.insert(topic.clone(), join)).into_iter().collect();
        Changed { topic, left, joined }
    }

    fn apply_later(&mut self) -> Vec<Changed> {
        let mut changed = vec![];
        while let Some((from, delta)) = self.later.pop_first() {
            if from > self.version {
                self.later.insert(from, delta);
                break;
            }
            self.bytes = self.bytes.saturating_sub(cost(&delta));
            changed.extend(self.apply(delta));
        }
        changed
    }

    /// Makes the slice that of the parts, and tells the difference.
    fn replace(&mut self, version: u64, parts: BTreeMap<u32, Part>) -> Vec<Changed> {
        let mut new: HashMap<u64, (Arc<str>, Join)> = parts
            .into_values()
            .flat_map(|part| part.joins)
            .map(|(topic, join)| (join.clock, (topic, join)))
            .collect();
        let mut changed: BTreeMap<Arc<str>, Changed> = BTreeMap::new();
        let of = |topic: Arc<str>| Changed { topic, left: vec![], joined: vec![] };
        let over: Vec<u64> = self.present.keys().filter(|clock| !new.contains_key(clock)).copied().collect();
        for (topic, entry) in over.into_iter().filter_map(|clock| self.remove(clock)) {
            changed.entry(topic.clone()).or_insert_with(|| of(topic)).left.push(entry);
        }
        new.retain(|clock, _| !self.present.contains_key(clock));
        let mut new: Vec<_> = new.into_values().collect();
        new.sort_unstable_by_key(|(_, join)| join.clock);
        for (topic, join) in new {
            let joined = self.insert(topic.clone(), join);
            changed.entry(topic.clone()).or_insert_with(|| of(topic)).joined.extend(joined);
        }
        self.version = version;
        changed.into_values().collect()
    }

    fn insert(&mut self, topic: Arc<str>, join: Join) -> Option<Entry> {
        let (clock, entry) = (join.clock, self.entry(&join));
        let is_new = !self.present.contains_key(&clock);
        if is_new {
            self.present.insert(clock, (topic, join));
            self.digest = self.digest.wrapping_add(mixed(clock));
        }
        is_new.then_some(entry)
    }

    fn remove(&mut self, clock: u64) -> Option<(Arc<str>, Entry)> {
        let (topic, join) = self.present.remove(&clock)?;
        self.digest = self.digest.wrapping_sub(mixed(clock));
        Some((topic, self.entry(&join)))
    }

    fn entry(&self, join: &Join) -> Entry {
        let tag = Tag::new(self.incarnation, join.clock);
        (Id { key: join.key.clone(), tag }, join.meta.clone())
    }

    fn keep(&mut self, delta: Delta) {
        let bytes = cost(&delta);
        if self.later.len() >= LATER || self.bytes + bytes > LATER_BYTES {
            self.later.clear();
            self.forget_parts();
            self.bytes = 0;
            return;
        }
        self.bytes += bytes;
        if let Some(double) = self.later.insert(delta.from, delta) {
            self.bytes = self.bytes.saturating_sub(cost(&double));
        }
    }

    fn forget_parts(&mut self) -> BTreeMap<u32, Part> {
        let parts = mem::take(&mut self.parts).arrived;
        self.bytes = self.bytes.saturating_sub(parts.values().map(cost_of).sum());
        parts
    }
}

fn cost(delta: &Delta) -> usize {
    delta.steps.iter().map(Step::cost).sum()
}

fn cost_of(part: &Part) -> usize {
    part.joins.iter().map(|(topic, join)| topic.len() + join.cost()).sum()
}

#[cfg(test)]
mod tests;
