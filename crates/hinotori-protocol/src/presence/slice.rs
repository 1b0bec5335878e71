//! The presences of one node, which that node alone changes, numbers and sends.
//!
//! No node relays what another has said, so nothing that its owner has taken back can return by a detour.

use std::{collections::HashMap, sync::Arc};

use super::{
    delta::{Delta, Join, Part, Step},
    state::{Entry, Id},
};

/// Bytes that the parts of a slice, and deltas, should not exceed. One large meta may.
const PART: usize = 64 * 1024;

/// See the module. Its version is the number of its changes.
#[derive(Debug, Default)]
pub struct Slice {
    version: u64,
    digest: u64,
    present: HashMap<u64, (Arc<str>, Join)>,
    /// Changes that have not been sent, the latest of the version.
    unsent: Vec<Step>,
}

impl Slice {
    /// How many changes there were.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A sum over all presences, the same if and only if (with all but certainty) these are the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Records what one diff tells of a topic.
    pub fn change(&mut self, topic: &Arc<str>, left: &[Entry], joined: Option<&Entry>) {
        let clock = |(id, _): &Entry| id.tag.clock();
        let left: Vec<u64> = left.iter().map(clock).collect();
        for clock in &left {
            self.present.remove(clock);
            self.digest = self.digest.wrapping_sub(mixed(*clock));
        }
        let joined = joined.map(|(Id { key, tag }, meta)| {
            let join = Join { clock: tag.clock(), key: key.clone(), meta: meta.clone() };
            self.present.insert(join.clock, (topic.clone(), join.clone()));
            self.digest = self.digest.wrapping_add(mixed(join.clock));
            join
        });
        self.version += 1;
        self.unsent.push(Step { topic: topic.clone(), left, joined });
    }

    /// What has changed since this was last called, as deltas to be sent in this order.
    pub fn take(&mut self) -> Vec<Delta> {
        let mut from = self.version - self.unsent.len() as u64;
        let mut deltas = vec![];
        let mut steps = vec![];
        let mut cost = 0;
        for step in std::mem::take(&mut self.unsent) {
            if cost + step.cost() > PART && !steps.is_empty() {
                let delta = Delta { from, steps: std::mem::take(&mut steps) };
                (from, cost) = (delta.to(), 0);
                deltas.push(delta);
            }
            cost += step.cost();
            steps.push(step);
        }
        if !steps.is_empty() {
            deltas.push(Delta { from, steps });
        }
        deltas
    }

    /// All of it, for a node that has lost something.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![vec![]];
        let mut cost = 0;
        for (topic, join) in self.present.values() {
            let more = join.cost() + topic.len();
            if cost + more > PART && cost > 0 {
                parts.push(vec![]);
                cost = 0;
            }
            cost += more;
            if let Some(part) = parts.last_mut() {
                part.push((topic.clone(), join.clone()));
            }
        }
        let (version, count) = (self.version, parts.len() as u32);
        let part = |(index, joins)| Part { version, index, count, joins };
        (0..).zip(parts).map(part).collect()
    }
}

/// SplitMix64's finalizer: the sum of mixed clocks tells sets of clocks apart.
pub(super) fn mixed(clock: u64) -> u64 {
    let mut z = clock.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
