//! Presences of several nodes: this node's slice, which only it changes and sends, and replicas of the others' slices.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use bytestring::ByteString;
use hinotori_protocol::presence::{Changed, Delta, Entry, Part, Replica, Slice};

use super::tracker::{Tracker, lock};
use crate::cluster::{Cluster, Sliced};

/// See the module. Lock order: `replicas`, then a topic, then `slice`.
pub(super) struct Shared {
    cluster: Arc<Cluster>,
    name: ByteString,
    slice: Mutex<Slice>,
    /// By incarnation. Locked until the changes are on their topics, whose order they keep.
    replicas: Mutex<HashMap<u64, Replica>>,
}

impl Shared {
    pub(super) fn new(cluster: &Arc<Cluster>, wanted: &str, tracker: Weak<Tracker>) -> Self {
        let name = cluster.add(wanted, tracker);
        Self { cluster: cluster.clone(), name, slice: Mutex::default(), replicas: Mutex::default() }
    }

    /// Records what has changed on a topic of this node.
    pub(super) fn changed(&self, topic: &Arc<str>, left: &[Entry], joined: Option<&Entry>) {
        if !left.is_empty() || joined.is_some() {
            lock(&self.slice).change(topic, left, joined);
        }
    }

    /// Sends what has changed. If two threads do so at once, the other nodes put it in order.
    pub(super) fn send(&self) {
        let deltas = lock(&self.slice).take();
        deltas.iter().for_each(|delta| self.cluster.send_delta(&self.name, delta.encode()));
    }
}

impl Tracker {
    fn replicate(self: &Arc<Self>, of: u64, change: impl FnOnce(&mut Replica) -> Vec<Changed>) {
        if let Some(shared) = self.shared() {
            let mut replicas = lock(&shared.replicas);
            let changed = change(replicas.entry(of).or_insert_with(|| Replica::new(of)));
            changed.into_iter().for_each(|changed| self.changed_elsewhere(changed));
        }
    }
}

impl Sliced for Tracker {
    fn announce(&self) -> (u64, u64) {
        let Some(shared) = self.shared() else { return (0, 0) };
        shared.send();
        let slice = lock(&shared.slice);
        (slice.version(), slice.digest())
    }

    fn parts(&self) -> Vec<Part> {
        self.shared().map(|shared| lock(&shared.slice).parts()).unwrap_or_default()
    }

    fn announced(self: Arc<Self>, of: u64, version: u64, digest: u64) {
        self.replicate(of, |replica| {
            replica.announced(version, digest);
            vec![]
        });
    }

    fn delta(self: Arc<Self>, of: u64, delta: Delta) {
        self.replicate(of, |replica| replica.delta(delta));
    }

    fn part(self: Arc<Self>, of: u64, part: Part) {
        self.replicate(of, |replica| replica.part(part));
    }

    fn is_behind(&self, of: u64) -> bool {
        self.shared().is_some_and(|shared| lock(&shared.replicas).get(&of).is_some_and(Replica::is_behind))
    }

    fn left(self: Arc<Self>, node: u64) {
        if let Some(shared) = self.shared() {
            let mut replicas = lock(&shared.replicas);
            let changed = replicas.remove(&node).map(Replica::end).unwrap_or_default();
            changed.into_iter().for_each(|changed| self.changed_elsewhere(changed));
        }
    }
}
