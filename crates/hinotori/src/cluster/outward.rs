//! What this node sends: numbers frames and gives them to the adapter.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hinotori_protocol::cluster::{Envelope, Kept, Kind, set_seq};

use super::{Adapter, NodeId};
use crate::{
    telemetry::{Hops, Unsent},
    wire::Payload,
};

/// See the module.
pub(super) struct Outward {
    adapter: Arc<dyn Adapter>,
    incarnation: u64,
    /// Without a connection, frames are refused at once: what would wait would be old when it is sent.
    is_up: AtomicBool,
    lanes: Mutex<Lanes>,
    hops: Arc<Hops>,
}

/// Locked while a frame gets its number and its place in the queue, which have the same order.
#[derive(Default)]
struct Lanes {
    /// The last number of each kind.
    last: [u64; 1 + Kind::Answer as usize],
    kept: Kept,
}

/// What a heartbeat says about the lanes.
pub(super) struct Counts {
    pub(super) broadcasts: u64,
    pub(super) disconnects: u64,
    pub(super) kept_from: u64,
}

impl Outward {
    pub(super) fn new(adapter: Arc<dyn Adapter>, incarnation: u64, hops: Arc<Hops>) -> Self {
        Self { adapter, incarnation, is_up: AtomicBool::new(false), lanes: Mutex::default(), hops }
    }

    pub(super) fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// A frame with nothing in it that is not filled in when it is sent.
    pub(super) fn envelope(kind: Kind, topic: &str, payload: Payload) -> Envelope<&str> {
        Envelope {
            kind,
            incarnation: 0,
            seq: 0,
            sent_at: 0,
            topic,
            event: "",
            payload,
            to: None,
            position: None,
            latest: None,
        }
    }

    /// Sends a frame to all nodes, or to the one that it is for. `now` is only needed for what is kept. Returns whether it
    /// is queued.
    pub(super) fn send(&self, now: Duration, envelope: Envelope<&str>) -> bool {
        let (kind, to) = (envelope.kind, envelope.to.map(NodeId));
        let envelope = Envelope { incarnation: self.incarnation, sent_at: micros(), ..envelope };
        let Ok(mut frame) = envelope.encode() else {
            self.hops.dropped(Unsent::TooLong);
            return false;
        };
        let mut lanes = self.lanes();
        let seq = &mut lanes.last[kind as usize];
        // counted even if it is refused, so that the others notice that it is missing
        *seq += 1;
        set_seq(&mut frame, *seq);
        let (seq, frame) = (*seq, frame.freeze());
        if kind == Kind::Disconnect {
            lanes.kept.keep(now, seq, frame.clone());
        }
        self.publish(to, frame)
    }

    /// Sends disconnects again to a node that has them up to a number.
    pub(super) fn repeat(&self, now: Duration, to: NodeId, up_to: u64) {
        let missing: Vec<Bytes> = self.lanes().kept.missing(now, up_to).cloned().collect();
        for frame in missing {
            self.publish(Some(to), frame);
        }
    }

    pub(super) fn counts(&self, now: Duration) -> Counts {
        let mut lanes = self.lanes();
        Counts {
            broadcasts: lanes.last[Kind::Broadcast as usize],
            disconnects: lanes.last[Kind::Disconnect as usize],
            kept_from: lanes.kept.from(now),
        }
    }

    fn publish(&self, to: Option<NodeId>, frame: Bytes) -> bool {
        if !self.is_up() {
            self.hops.dropped(Unsent::Down);
            return false;
        }
        let published = match to {
            None => self.adapter.publish(frame),
            Some(node) => self.adapter.publish_to(node, frame),
        };
        match published {
            Ok(()) => self.hops.sent(),
            Err(super::Full) => self.hops.dropped(Unsent::Full),
        }
        published.is_ok()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // an adapter that panics leaves the numbers as they are
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system's time in microseconds since 1970.
pub(super) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
