//! The adapter of one node.

use std::{cmp::Reverse, collections::BinaryHeap, future::pending, sync::Arc};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::hub::{Hub, Passage};
use crate::cluster::{Adapter, BoxFuture, Full, Me, NodeId, Queue, Sink, To, Why};

/// Bytes that are taken from the queue at a time.
const BATCH: usize = 64 * 1024;

/// The connection of one node to a [`Hub`].
#[derive(Debug)]
pub struct Memory {
    hub: Hub,
    queue: Queue,
    reconnect: Notify,
}

impl Memory {
    pub(super) fn new(hub: Hub) -> Self {
        Self { hub, queue: Queue::new(Queue::LIMIT), reconnect: Notify::new() }
    }

    /// Bytes that wait to be sent.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.queue.bytes()
    }

    /// While there is a connection. Returns why there is none.
    async fn serve(
        &self,
        me: &Me,
        cutting: &Notify,
        changes: &mut watch::Receiver<()>,
        under_way: &mut UnderWay,
    ) -> Why {
        loop {
            if self.hub.is_cut(&me.name) {
                return Why::Lost("cut".to_owned());
            }
            let hangs = self.hub.hangs();
            let due = under_way.due();
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = cutting.notified() => return Why::Lost("cut".to_owned()),
                () = self.reconnect.notified() => return Why::Silent,
                () = async {
                    match due {
                        Some(due) => sleep_until(due).await,
                        None => pending().await,
                    }
                } => {}
                taken = self.queue.take(BATCH), if !hangs => {
                    for (to, frame) in taken {
                        under_way.add(self.hub.ways(me, to, &frame));
                    }
                }
            }
            under_way.arrived().for_each(|passage| self.hub.arrive(passage));
        }
    }
}

impl Adapter for Memory {
    fn publish(&self, frame: Bytes) -> Result<(), Full> {
        self.queue.push(To::All, frame)
    }

    fn publish_to(&self, node: NodeId, frame: Bytes) -> Result<(), Full> {
        self.queue.push(To::One(node), frame)
    }

    fn run(self: Arc<Self>, me: Me, sink: Arc<dyn Sink>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _gone = Gone(&self.hub, &me);
            let mut changes = self.hub.changes();
            let mut under_way = UnderWay::default();
            loop {
                while self.hub.is_cut(&me.name) {
                    sink.down(Why::Connect("cut".to_owned()));
                    // an error means that the hub, of which this is a clone, is gone
                    let _ = changes.changed().await;
                }
                let cutting = self.hub.connect(&me, &sink);
                sink.up();
                let why = self.serve(&me, &cutting, &mut changes, &mut under_way).await;
                self.hub.disconnect(&me);
                sink.down(why);
            }
        })
    }

    fn reconnect(&self) {
        self.reconnect.notify_one();
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.queue.flush())
    }
}

/// A node that ends is no longer connected.
struct Gone<'a>(&'a Hub, &'a Me);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.disconnect(self.1);
    }
}

/// Frames that are delayed, by the time at which they arrive.
#[derive(Default)]
struct UnderWay {
    count: u64,
    frames: BinaryHeap<Reverse<Delayed>>,
}

struct Delayed {
    at: Instant,
    nth: u64,
    passage: Passage,
}

impl UnderWay {
    fn add(&mut self, ways: Vec<Passage>) {
        let now = Instant::now();
        for passage in ways {
            self.count += 1;
            self.frames.push(Reverse(Delayed { at: now + passage.delay, nth: self.count, passage }));
        }
    }

    fn due(&self) -> Option<Instant> {
        self.frames.peek().map(|Reverse(first)| first.at)
    }

    fn arrived(&mut self) -> impl Iterator<Item = Passage> {
        let now = Instant::now();
        std::iter::from_fn(move || {
            let is_due = self.due().is_some_and(|due| due <= now);
            if is_due { self.frames.pop().map(|Reverse(delayed)| delayed.passage) } else { None }
        })
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.nth).cmp(&(other.at, other.nth))
    }
}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Delayed {}
