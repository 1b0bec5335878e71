//! The presences of this node that are told to others, and the requests for those of others.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytestring::ByteString;
use hinotori_protocol::{
    cluster::Announced,
    presence::{Delta, Part},
};

use tokio::sync::Notify;

use super::jitter;

/// The longest time until a slice is asked for: in the meantime, what is missing may arrive, and not all nodes ask at
/// once.
const PATIENCE: Duration = Duration::from_millis(20);

/// After this time, it is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// The presences of one name: its own slice, and replicas of the slices of others.
pub(crate) trait Sliced: Send + Sync {
    /// The version and digest of its own slice, of which everything has been sent.
    fn announce(&self) -> (u64, u64);
    /// All of its own slice.
    fn parts(&self) -> Vec<Part>;
    /// The version and digest of a node's slice.
    fn announced(self: Arc<Self>, of: u64, version: u64, digest: u64);
    /// Changes of a node's slice.
    fn delta(self: Arc<Self>, of: u64, delta: Delta);
    /// A part of a node's slice.
    fn part(self: Arc<Self>, of: u64, part: Part);
    /// Whether a node has to be asked for its slice.
    fn is_behind(&self, of: u64) -> bool;
    /// A node is gone.
    fn left(self: Arc<Self>, node: u64);
}

/// All presences of this node by name.
#[derive(Default)]
pub(super) struct Slices(Mutex<Vec<(ByteString, Weak<dyn Sliced>)>>);

impl Slices {
    /// Adds presences. Returns their name: that which is wanted, with a number if there are others of that name.
    pub(super) fn add(&self, wanted: &str, sliced: Weak<dyn Sliced>) -> ByteString {
        let mut all = self.all();
        all.retain(|(_, sliced)| sliced.strong_count() > 0);
        let numbered = (2..).map(|n| format!("{wanted}#{n}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        let is_free = |name: &String| all.iter().all(|(taken, _)| *taken != *name);
        let name = ByteString::from(names.find(is_free).unwrap_or_default());
        all.push((name.clone(), sliced));
        name
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<dyn Sliced>> {
        let all = self.all();
        all.iter().find(|(of, _)| *of == name).and_then(|(_, sliced)| sliced.upgrade())
    }

    pub(super) fn announce(&self) -> Vec<Announced> {
        let of = |(name, sliced): (ByteString, Arc<dyn Sliced>)| {
            let (version, digest) = sliced.announce();
            Announced { name, version, digest }
        };
        self.living().into_iter().map(of).collect()
    }

    pub(super) fn left(&self, node: u64) {
        self.living().into_iter().for_each(|(_, sliced)| sliced.left(node));
    }

    /// To be called without the lock.
    fn living(&self) -> Vec<(ByteString, Arc<dyn Sliced>)> {
        let living =
            |(name, sliced): &(ByteString, Weak<dyn Sliced>)| Some((name.clone(), sliced.upgrade()?));
        self.all().iter().filter_map(living).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<(ByteString, Weak<dyn Sliced>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slices that are asked for, and when.
#[derive(Default)]
pub(super) struct Requests(HashMap<(u64, ByteString), Duration>);

impl Requests {
    /// A slice has to be asked for soon. Returns whether that is new.
    pub(super) fn add(&mut self, now: Duration, node: u64, name: &ByteString) -> bool {
        let mut is_new = false;
        self.0.entry((node, name.clone())).or_insert_with(|| {
            is_new = true;
            now + jitter(PATIENCE)
        });
        is_new
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.values().min().copied()
    }

    /// Those that are due and still wanted. They are due again later.
    pub(super) fn due(
        &mut self,
        now: Duration,
        is_wanted: impl Fn(u64, &str) -> bool,
    ) -> Vec<(u64, ByteString)> {
        self.0.retain(|(node, name), at| *at > now || is_wanted(*node, name));
        let due = self.0.iter_mut().filter(|(_, at)| **at <= now);
        due.map(|(of, at)| {
            *at = now + AGAIN + jitter(AGAIN);
            of.clone()
        })
        .collect()
    }

    /// The slice is arriving.
    pub(super) fn postpone(&mut self, now: Duration, node: u64, name: &ByteString) {
        if let Some(at) = self.0.get_mut(&(node, name.clone())) {
            *at = now + AGAIN;
        }
    }

    pub(super) fn left(&mut self, node: u64) {
        self.0.retain(|(of, _), _| *of != node);
    }
}

/// The nodes that have asked for slices of this one, each once.
#[derive(Default)]
pub(super) struct Askers {
    waiting: Mutex<VecDeque<(u64, ByteString)>>,
    added: Notify,
}

impl Askers {
    pub(super) fn add(&self, node: u64, name: ByteString) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let asker = (node, name);
        if !waiting.contains(&asker) {
            waiting.push_back(asker);
        }
        self.added.notify_one();
    }

    pub(super) async fn next(&self) -> (u64, ByteString) {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(next) => return next,
                None => self.added.notified().await,
            }
        }
    }
}
