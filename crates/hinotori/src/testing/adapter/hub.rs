//! The engine: knows all nodes and what is wrong with their connections.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::{Engine, Memory};
use crate::cluster::{BoxFuture, Me, Sink, To};

/// What happens to frames on their way, each on its own and to each receiver by itself. All 0 by default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// The part that is lost, from 0 to 1.
    pub loss: f64,
    /// The part that arrives twice.
    pub duplicates: f64,
    /// The longest delay. Each frame is delayed for a random time up to it, so frames overtake each other.
    pub delay: Duration,
}

/// An engine within the process. Clones are the same engine.
///
/// Nodes are addressed by their names.
#[derive(Clone)]
pub struct Hub {
    state: Arc<Mutex<State>>,
    /// Changes when nodes have to look at the state again.
    changed: watch::Sender<()>,
}

struct State {
    nodes: HashMap<u64, Connected>,
    faults: Faults,
    random: u64,
    /// By name: who has no connection.
    cut: HashSet<String>,
    /// By names: whose frames do not reach whom.
    parted: HashSet<(String, String)>,
    hangs: bool,
}

struct Connected {
    me: Me,
    sink: Arc<dyn Sink>,
    cutting: Arc<Notify>,
    /// Dead without anyone noticing; a new connection is not.
    is_dead: bool,
}

/// A frame for one receiver.
pub(super) struct Passage {
    pub(super) delay: Duration,
    pub(super) to: u64,
    pub(super) frame: Bytes,
}

impl Hub {
    /// An engine without faults. The same seed decides the same about the same frames.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            nodes: HashMap::new(),
            faults: Faults::default(),
            random: seed,
            cut: HashSet::new(),
            parted: HashSet::new(),
            hangs: false,
        };
        Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::default() }
    }

    /// An adapter for one more node.
    #[must_use]
    pub fn adapter(&self) -> Memory {
        Memory::new(self.clone())
    }

    /// What happens to frames from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Ends the connection of a node, which cannot connect again until it is [restored](Self::restore).
    pub fn cut(&self, name: &str) {
        self.state().cut.insert(name.to_owned());
        self.changed.send_replace(());
    }

    /// Makes the connection of a node dead without it or the engine noticing. Nothing passes until the node
    /// reconnects by itself.
    pub fn blackhole(&self, name: &str) {
        for node in self.state().nodes.values_mut().filter(|node| &*node.me.name == name) {
            node.is_dead = true;
        }
    }

    /// Lets no frame of one node reach another, which is not so in the other direction.
    pub fn part(&self, from: &str, to: &str) {
        self.state().parted.insert((from.to_owned(), to.to_owned()));
    }

    /// Lets a node connect again, and makes all frames pass between it and the others.
    pub fn restore(&self, name: &str) {
        let mut state = self.state();
        state.cut.remove(name);
        state.parted.retain(|(from, to)| from != name && to != name);
        drop(state);
        self.changed.send_replace(());
    }

    /// Makes the engine take no more frames, while all connections stay.
    pub fn hang(&self) {
        self.set_hangs(true);
    }

    /// Makes it take frames again.
    pub fn resume(&self) {
        self.set_hangs(false);
    }

    fn set_hangs(&self, hangs: bool) {
        self.state().hangs = hangs;
        self.changed.send_replace(());
    }

    /// Ends all connections, which are made again.
    pub fn cut_all(&self) {
        let nodes: Vec<_> = self.state().nodes.values().map(|node| node.cutting.clone()).collect();
        nodes.iter().for_each(|node| node.notify_one());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn hangs(&self) -> bool {
        self.state().hangs
    }

    pub(super) fn is_cut(&self, name: &str) -> bool {
        self.state().cut.contains(name)
    }

    /// Returns what is notified when the connection is cut.
    pub(super) fn connect(&self, me: &Me, sink: &Arc<dyn Sink>) -> Arc<Notify> {
        let cutting = Arc::new(Notify::new());
        let connected =
            Connected { me: me.clone(), sink: sink.clone(), cutting: cutting.clone(), is_dead: false };
        self.state().nodes.insert(me.id.0, connected);
        cutting
    }

    pub(super) fn disconnect(&self, me: &Me) {
        self.state().nodes.remove(&me.id.0);
    }

    /// The ways of a frame, one for each time that it arrives anywhere.
    pub(super) fn ways(&self, from: &Me, to: To, frame: &Bytes) -> Vec<Passage> {
        let mut state = self.state();
        if state.nodes.get(&from.id.0).is_none_or(|node| node.is_dead) {
            return vec![];
        }
        let receivers: Vec<u64> = state.receivers(from, to);
        let mut ways = vec![];
        for to in receivers {
            let Faults { loss, duplicates, delay } = state.faults;
            let copies = if state.happens(loss) { 0 } else { 1 + usize::from(state.happens(duplicates)) };
            for _ in 0..copies {
                let delay = delay.mul_f64(state.random());
                ways.push(Passage { delay, to, frame: frame.clone() });
            }
        }
        ways
    }

    /// Delivers, unless the receiver is gone.
    pub(super) fn arrive(&self, Passage { to, frame, .. }: Passage) {
        let sink = self.state().nodes.get(&to).filter(|node| !node.is_dead).map(|node| node.sink.clone());
        if let Some(sink) = sink {
            sink.frame(frame);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Hub {
    type Adapter = Memory;

    fn adapter(&self) -> Memory {
        Self::adapter(self)
    }

    fn cut(&self) -> BoxFuture<'_, ()> {
        self.cut_all();
        Box::pin(async {})
    }

    fn hang(&self) -> BoxFuture<'_, ()> {
        self.set_hangs(true);
        Box::pin(async {})
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        self.set_hangs(false);
        Box::pin(async {})
    }
}

impl State {
    fn receivers(&self, from: &Me, to: To) -> Vec<u64> {
        let is_for = |node: &&Connected| match to {
            To::All => true,
            To::One(id) => node.me.id == id,
        };
        let passes =
            |node: &&Connected| !self.parted.contains(&(from.name.to_string(), node.me.name.to_string()));
        let mut ids: Vec<_> =
            self.nodes.values().filter(is_for).filter(passes).map(|node| node.me.id.0).collect();
        ids.sort_unstable();
        ids
    }

    fn happens(&mut self, part: f64) -> bool {
        part > 0.0 && self.random() < part
    }

    /// From 0 to 1, by SplitMix64.
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("nodes", &self.state().nodes.len()).finish_non_exhaustive()
    }
}
