//! Several nodes as one server: broadcasts, presences and disconnects reach the clients of all of them.
//!
//! Nodes do not connect to each other. Each connects to an engine that is there already, such as Redis or Postgres, by
//! an [`Adapter`]; the crates `hinotori-redis` and `hinotori-postgres` have one each. An endpoint without an adapter is
//! a server of one node.
//!
//! ```no_run
//! # use hinotori::cluster::Adapter;
//! # fn adapter() -> impl Adapter { hinotori::testing::adapter::Hub::new(0).adapter() }
//! let endpoint = hinotori::Endpoint::builder().adapter(adapter()).node_name("web-1").build();
//! ```
//!
//! # What reaches other nodes
//! | what | how |
//! |---|---|
//! | broadcasts of an [`Endpoint`](crate::Endpoint), a [`PubSub`](crate::PubSub) or a channel | at most once, in the order of each sending node; [`local_broadcast`](crate::Endpoint::local_broadcast) stays here |
//! | [`Presence`](crate::Presence) | within milliseconds; what was lost is noticed by the next heartbeat and asked for |
//! | requests of [long polls](crate::SocketOptions::longpoll) that reach another node than their session's | passed on to it; their clients notice nothing |
//! | [`Endpoint::disconnect`](crate::Endpoint::disconnect), and any broadcast of `disconnect` | at least once; repeated until every node has it, for 10 minutes |
//!
//! Local delivery never waits for an engine. Without a connection, broadcasts to other nodes are dropped and counted.
//!
//! # When a node is gone
//! A node sends a heartbeat each second, and the presences of one that was not heard for 6 s leave. A node that ends
//! says so. A new start under the same [name](crate::EndpointBuilder::node_name) replaces the former one at once. A node
//! to which nothing of its own comes back for 3 s has no connection: it judges nobody, connects again, and keeps the
//! presences of others for 30 s. A connection that is too slow for all that its node broadcasts loses broadcasts and
//! nothing else; one that is too slow for all that the others broadcast is also made again.

mod adapter;
mod backoff;
mod frames;
mod others;
mod outward;
mod passing;
mod queue;
mod runner;
mod slices;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

pub use adapter::{Adapter, BoxFuture, Full, Me, NodeId, Sink, Why};
pub use backoff::Backoff;
use bytes::Bytes;
use bytestring::ByteString;
use hinotori_protocol::cluster::{Envelope, Event, Heartbeat, Kind, Leaving};
pub(crate) use passing::{Outcome, Serve};
pub use queue::{Queue, To};
pub(crate) use slices::Sliced;
use tokio::sync::{Notify, watch};

use self::{
    others::Others,
    outward::Outward,
    passing::Passing,
    slices::{Askers, Slices},
};
use crate::{
    pubsub::{Broadcast, Inflow, WeakPubSub},
    telemetry::{Hops, Quoted, Telemetry},
    wire::{DISCONNECT, Payload},
};

/// Bytes of other nodes' broadcasts that may wait in the queues of the workers.
const INFLOW: usize = 16 * 1024 * 1024;

/// The mean time between heartbeats, which differ by a quarter of it.
const BEAT: Duration = Duration::from_secs(1);

/// How soon a node answers one that it has not known, which has not heard of it either.
const HELLO: Duration = Duration::from_millis(50);

/// How long a drain waits until the other nodes can be told that this one ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// This node's place among the others.
pub(crate) struct Cluster {
    me: Me,
    adapter: Arc<dyn Adapter>,
    outward: Outward,
    others: Mutex<Others>,
    slices: Slices,
    askers: Askers,
    passing: Passing,
    /// Set before anything arrives.
    pubsub: OnceLock<WeakPubSub>,
    inflow: Arc<Inflow>,
    hops: Arc<Hops>,
    started: Instant,
    /// How much faster than the clock all times pass: 1, and more in tests.
    speed: u32,
    /// Something is due earlier than was thought.
    sooner: Notify,
    is_ending: watch::Sender<bool>,
    has_ended: watch::Sender<bool>,
}

impl Cluster {
    pub(crate) fn new(
        adapter: Arc<dyn Adapter>,
        id: NodeId,
        name: Arc<str>,
        telemetry: &Telemetry,
        speed: u32,
    ) -> Arc<Self> {
        let hops = Arc::new(telemetry.hops());
        Arc::new(Self {
            me: Me { id, name },
            outward: Outward::new(adapter.clone(), id.0, hops.clone()),
            adapter,
            others: Mutex::new(Others::new(Duration::ZERO)),
            slices: Slices::default(),
            askers: Askers::default(),
            passing: Passing::default(),
            pubsub: OnceLock::new(),
            inflow: Inflow::new(INFLOW),
            hops,
            started: Instant::now(),
            speed,
            sooner: Notify::new(),
            is_ending: watch::Sender::new(false),
            has_ended: watch::Sender::new(false),
        })
    }

    /// Starts the thread, which ends with the server.
    ///
    /// # Panics
    /// If the system has no thread.
    pub(crate) fn start(self: &Arc<Self>, pubsub: WeakPubSub) {
        // there is one call
        let _ = self.pubsub.set(pubsub);
        runner::start(self.clone());
    }

    /// Sends a broadcast to the other nodes.
    pub(crate) fn broadcast(&self, broadcast: &Broadcast) {
        let Broadcast { topic, event, payload, latest, position, .. } = broadcast;
        let kind = if event == DISCONNECT { Kind::Disconnect } else { Kind::Broadcast };
        let (latest, position) = (latest.as_deref(), *position);
        let envelope = Outward::envelope(kind, topic, payload.clone());
        let envelope = Envelope { event: event.as_str(), latest, position, ..envelope };
        self.outward.send(self.now(), envelope);
    }

    /// Sends changes of presences.
    pub(crate) fn send_delta(&self, name: &str, delta: Bytes) {
        self.outward.send(self.now(), Outward::envelope(Kind::Delta, name, Payload::binary(delta)));
    }

    /// Presences that are told to the other nodes from now on. Returns their name.
    pub(crate) fn add(&self, wanted: &str, sliced: std::sync::Weak<dyn Sliced>) -> ByteString {
        self.slices.add(wanted, sliced)
    }

    /// This start of this node.
    pub(crate) fn id(&self) -> NodeId {
        self.me.id
    }

    /// One line for operators.
    pub(crate) fn status(&self) -> String {
        let others = self.others();
        let (name, count) = (&self.me.name, others.nodes.others().count() + 1);
        if others.nodes.is_hearing() {
            format!("cluster up: {count} nodes, this one is {name}")
        } else {
            format!("cluster down: {}; {count} nodes, this one is {name}", others.why)
        }
    }

    /// Whether frames of this node reach the others and theirs reach it, as far as it knows.
    pub(crate) fn is_up(&self) -> bool {
        self.outward.is_up() && self.others().nodes.is_hearing()
    }

    /// The server ends, and nobody waits for it.
    pub(crate) fn end(&self) {
        self.is_ending.send_replace(true);
    }

    /// Tells the other nodes that this one ends, and waits until they can know it.
    pub(crate) async fn leave(&self) {
        self.end();
        let mut has_ended = self.has_ended.subscribe();
        // an error means that there is no connection by which they could be told
        let _ = tokio::time::timeout(FAREWELL, has_ended.wait_for(|has_ended| *has_ended)).await;
    }

    /// Judges the others, and sends what is due. Returns when something is due again.
    fn work(&self) -> Duration {
        let mut others = self.others();
        let now = self.now();
        let events = others.nodes.tick(now);
        self.handle(&mut others, events);
        self.passing.expire(now);
        if others.next_beat <= now {
            others.next_beat = now + BEAT * 3 / 4 + jitter(BEAT / 2);
            // without a connection it could not come back
            if self.outward.is_up() {
                self.beat(&mut others, now);
            }
        }
        let Others { requests, nodes, .. } = &mut *others;
        let is_wanted = |node, name: &str| {
            nodes.knows(node) && self.slices.get(name).is_some_and(|sliced| sliced.is_behind(node))
        };
        for (node, name) in requests.due(now, is_wanted) {
            let request = Outward::envelope(Kind::Request, &name, Payload::binary(Bytes::new()));
            self.outward.send(now, Envelope { to: Some(node), ..request });
        }
        others.requests.next().map_or(others.next_beat, |next| next.min(others.next_beat))
    }

    fn beat(&self, others: &mut Others, now: Duration) {
        // what is announced has been sent
        let slices = self.slices.announce();
        let outward::Counts { broadcasts, disconnects, kept_from } = self.outward.counts(now);
        let heartbeat = Heartbeat { broadcasts, disconnects, kept_from, slices, acks: others.acks() };
        let payload = Payload::binary(heartbeat.encode());
        self.outward.send(now, Outward::envelope(Kind::Heartbeat, &self.me.name, payload));
        others.beats += 1;
        others.nodes.sent(now);
    }

    fn handle(&self, others: &mut Others, events: impl IntoIterator<Item = Event>) {
        for event in events {
            match event {
                Event::Joined(node) => {
                    let name = others.nodes.name(node).unwrap_or_default();
                    log::info!("event=node step=joined node={} id={}", Quoted(name), NodeId(node));
                    others.next_beat = others.next_beat.min(self.now() + jitter(HELLO));
                    self.sooner.notify_one();
                }
                Event::Left(node, leaving) => self.left(others, node, leaving),
                Event::Hearing => {
                    log::info!("event=cluster step=up node={} id={}", Quoted(&self.me.name), self.me.id);
                    others.hearing_since = self.now();
                    self.hops.is_up(true);
                }
                Event::Deaf => {
                    log::warn!("event=cluster step=down why={}", Quoted(&others.why));
                    self.hops.is_up(false);
                }
                Event::Reconnect => {
                    others.why = Why::Silent.to_string();
                    log::warn!("event=cluster step=reconnect why={}", Quoted(&others.why));
                    self.adapter.reconnect();
                }
            }
        }
        self.hops.nodes(others.nodes.others().count() + 1);
        self.passing.changed();
    }

    fn left(&self, others: &mut Others, node: u64, leaving: Leaving) {
        let (level, why) = match leaving {
            Leaving::Bye => (log::Level::Info, "it has ended"),
            Leaving::Replaced => (log::Level::Info, "it was started again"),
            Leaving::Silent => (log::Level::Warn, "it is silent"),
            Leaving::Deaf => (log::Level::Warn, "there is no connection"),
        };
        log::log!(level, "event=node step=left id={} why={}", NodeId(node), Quoted(why));
        others.requests.left(node);
        self.slices.left(node);
        self.passing.left(node);
    }

    /// Time since the start, as heartbeats count it.
    fn now(&self) -> Duration {
        self.started.elapsed() * self.speed
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("me", &self.me).finish_non_exhaustive()
    }
}

/// A random part of a time.
fn jitter(most: Duration) -> Duration {
    // without random bytes, nodes only do things at the same time
    let random = getrandom::u32().unwrap_or(u32::MAX);
    most.mul_f64(f64::from(random) / f64::from(u32::MAX))
}
