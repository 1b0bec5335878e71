//! Publish and subscribe: sends an event from anywhere in the process to every subscriber of a topic.
//!
//! Each worker thread keeps a registry of its own subscribers (`local.rs`). A broadcast costs one queued pointer per
//! other *worker*, then a plain loop there. It is encoded at most once per version of the wire format, whatever the
//! number of receivers, and bypasses the channels' callbacks (Phoenix's fastlane). The sender's own worker is served
//! before the call returns.
//!
//! # Source
//! Phoenix.PubSub `lib/phoenix/pubsub.ex`; Phoenix `lib/phoenix/channel/server.ex` (`dispatch/3`), 1.8.12.

mod broadcast;
mod disconnects;
mod inflow;
mod local;
mod scope;
mod spared;
mod subscription;

use std::{
    fmt,
    num::NonZeroU64,
    rc::Rc,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use hinotori_protocol::session::ChannelId;
use tokio::sync::mpsc;

pub use broadcast::Broadcast;
pub(crate) use disconnects::DisconnectsSince;
pub(crate) use inflow::{Inflow, Ticket};
use local::Queued;
pub(crate) use local::{Local, Subscriber, Writer};
pub(crate) use scope::is_scoped;
pub use scope::scoped_topic;
pub(crate) use spared::Keyed;
pub use spared::Spared;
use subscription::Listeners;
pub use subscription::{Lagged, Subscription};

use crate::{
    cluster::Cluster,
    per_thread::ServerId,
    telemetry::Telemetry,
    wire::{IntoPayload, PayloadError},
};

/// Identifies a subscriber across all workers, so that a broadcast can skip its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriberKey(u64);

impl SubscriberKey {
    /// A key that no other subscriber has.
    pub(crate) fn new() -> Self {
        ChannelId::new().into()
    }
}

/// A membership is subscribed by its own id.
impl From<ChannelId> for SubscriberKey {
    fn from(ChannelId(id): ChannelId) -> Self {
        Self(id)
    }
}

impl From<SubscriberKey> for u64 {
    fn from(SubscriberKey(id): SubscriberKey) -> Self {
        id
    }
}

impl fmt::Display for SubscriberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A handle to the topics of one server: see [`Endpoint::pubsub`](crate::Endpoint::pubsub). Cheap to clone, usable from
/// any thread.
#[derive(Debug, Clone)]
pub struct PubSub {
    topics: Arc<Topics>,
}

#[derive(Debug)]
struct Topics {
    /// Finds the threads' registries.
    id: ServerId,
    /// Written when a worker thread gets its first subscriber; read by each broadcast.
    workers: RwLock<Vec<Worker>>,
    /// Subscriptions of tasks and actors.
    listeners: Arc<Listeners>,
    telemetry: Arc<Telemetry>,
    /// The way to the other nodes, if there may be any.
    cluster: Option<Arc<Cluster>>,
}

/// The server is gone.
impl Drop for Topics {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.end();
        }
    }
}

#[derive(Debug)]
struct Worker {
    key: SubscriberKey,
    queue: mpsc::UnboundedSender<Queued>,
    /// How many broadcasts have been sent to this thread.
    sent: Arc<AtomicU64>,
}

impl PubSub {
    /// Topics without subscribers; their broadcasts are counted in `telemetry`, and reach the other nodes by `cluster`.
    pub(crate) fn new(telemetry: Arc<Telemetry>, cluster: Option<Arc<Cluster>>) -> Self {
        Self {
            topics: Arc::new(Topics {
                id: ServerId::new(),
                workers: RwLock::default(),
                listeners: Arc::default(),
                telemetry,
                cluster,
            }),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakPubSub {
        WeakPubSub(Arc::downgrade(&self.topics))
    }

    /// Sends an event to every subscriber of a topic.
    ///
    /// Broadcasts made by one thread arrive in the order in which that thread made them.
    ///
    /// ```
    /// let endpoint = hinotori::Endpoint::new();
    /// let pubsub = endpoint.pubsub();
    /// pubsub.broadcast("room:1", "news", serde_json::json!({ "n": 1 }))?;
    /// assert!(pubsub.broadcast("room:1", "news", 1).is_err());
    /// # Ok::<_, hinotori::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the payload does not serialize, [`PayloadError::NotAnObject`] if it is JSON other
    /// than an object. Nothing is sent then.
    pub fn broadcast(&self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<(), PayloadError> {
        self.publish(None, None, topic, event, payload)
    }

    /// Sends an event that supersedes earlier ones, such as a price or a cursor position, to every subscriber of a
    /// topic. A client that does not keep up with reading gets only the newest event per `key`, once it has read
    /// everything queued before; the order relative to other messages is then unspecified. These events never cause a
    /// client to be disconnected. All other subscribers get every event.
    ///
    /// ```
    /// let endpoint = hinotori::Endpoint::new();
    /// let price = serde_json::json!({ "of": "tea", "price": 3 });
    /// endpoint.pubsub().broadcast_latest("tea", "prices", "price", price)?;
    /// # Ok::<_, hinotori::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn broadcast_latest(
        &self,
        key: &str,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.publish(None, Some(key), topic, event, payload)
    }

    /// The same to every subscriber except one.
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn broadcast_latest_from(
        &self,
        from: &impl Spared,
        key: &str,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.publish(Some(from.key()), Some(key), topic, event, payload)
    }

    /// Sends an event to every subscriber of a topic except one, which is skipped even if it is subscribed several
    /// times: see [`Endpoint::broadcast_from`](crate::Endpoint::broadcast_from).
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn broadcast_from(
        &self,
        from: &impl Spared,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.publish(Some(from.key()), None, topic, event, payload)
    }

    /// Sends a message that has a position among those of its topic to every subscriber. It is delivered like any other
    /// broadcast; a client that [recovers](crate::recovery) does not get it again if its reply has it. Broadcast a
    /// message after its source has it, and all of a topic in the order of their positions.
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn broadcast_at(
        &self,
        position: NonZeroU64,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        let broadcast = Self::broadcast_of(None, topic, event, payload)?;
        self.announce(broadcast.at(Some(position)));
        Ok(())
    }

    /// Sends an event to the subscribers of a topic on this node alone. Use it for what every node learns by itself. On a
    /// server of one node, it is the same as [`broadcast`](Self::broadcast).
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn local_broadcast(
        &self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.announce_here(Self::broadcast_of(None, topic, event, payload)?);
        Ok(())
    }

    /// The same to every subscriber except one.
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn local_broadcast_from(
        &self,
        from: &impl Spared,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.announce_here(Self::broadcast_of(Some(from.key()), topic, event, payload)?);
        Ok(())
    }

    /// The same for a message that has a position: see [`broadcast_at`](Self::broadcast_at). Use it if every node reads
    /// the messages of a topic from their source.
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn local_broadcast_at(
        &self,
        position: NonZeroU64,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        let broadcast = Self::broadcast_of(None, topic, event, payload)?;
        self.announce_here(broadcast.at(Some(position)));
        Ok(())
    }

    /// Subscribes a task or an actor on any thread to a topic: see [`Endpoint::subscribe`](crate::Endpoint::subscribe).
    pub fn subscribe(&self, topic: &str) -> Subscription {
        self.topics.listeners.subscribe(topic)
    }

    fn publish(
        &self,
        from: Option<SubscriberKey>,
        latest: Option<&str>,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        let broadcast = Self::broadcast_of(from, topic, event, payload)?;
        self.announce(broadcast.latest_of(latest));
        Ok(())
    }

    fn broadcast_of(
        from: Option<SubscriberKey>,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<Broadcast, PayloadError> {
        let payload = payload.into_payload()?;
        if payload.is_json() && !payload.is_object() {
            return Err(PayloadError::NotAnObject);
        }
        Ok(Broadcast::new(topic, event, payload, from))
    }

    fn announce(&self, broadcast: Broadcast) {
        if let Some(cluster) = &self.topics.cluster {
            cluster.broadcast(&broadcast);
        }
        self.announce_here(broadcast);
    }

    fn announce_here(&self, broadcast: Broadcast) {
        self.topics.telemetry.broadcast();
        self.send(Arc::new(broadcast), None);
    }

    /// Sends to all other workers through their queues and to tasks and actors, then immediately to this thread's own
    /// subscribers. The ticket of a broadcast of another node is held by all queues in which it waits.
    fn send(&self, broadcast: Arc<Broadcast>, ticket: Option<Arc<Ticket>>) {
        let own = local::find(self.topics.id);
        let own_key = own.as_ref().map(|local| local.key());
        for worker in self.workers().iter().filter(|worker| Some(worker.key) != own_key) {
            // counted first, so that anyone who learns of this broadcast finds it counted
            worker.sent.fetch_add(1, Ordering::AcqRel);
            // a worker whose thread has ended has no subscribers left to miss this
            let _ = worker.queue.send(Queued { broadcast: broadcast.clone(), ticket: ticket.clone() });
        }
        self.topics.listeners.tell(&broadcast);
        if let Some(own) = own {
            own.in_order(move |own| own.deliver(&broadcast));
        }
    }

    /// This thread's registry, created when it is first needed.
    pub(crate) fn local(&self) -> Rc<Local> {
        let Topics { id, workers, telemetry, .. } = &*self.topics;
        local::find(*id).unwrap_or_else(|| {
            let (queue, inbox) = mpsc::unbounded_channel();
            let sent = Arc::new(AtomicU64::new(0));
            let local = Local::start(*id, inbox, sent.clone(), telemetry.of_worker());
            let worker = Worker { key: local.key(), queue, sent };
            let mut workers = workers.write().unwrap_or_else(PoisonError::into_inner);
            workers.retain(|worker| !worker.queue.is_closed());
            workers.push(worker);
            drop(workers);
            local
        })
    }

    /// The disconnects that this thread delivers from now on.
    pub(crate) fn disconnects_since_now(&self) -> DisconnectsSince {
        DisconnectsSince::now(self.local())
    }

    fn workers(&self) -> RwLockReadGuard<'_, Vec<Worker>> {
        // no code that holds the lock can panic halfway, so poisoned data is still consistent
        self.topics.workers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The topics of a server, for whom it does not wait to end.
#[derive(Debug, Clone)]
pub(crate) struct WeakPubSub(Weak<Topics>);

impl WeakPubSub {
    /// Delivers a broadcast of another node, unless the server is gone.
    pub(crate) fn receive(&self, broadcast: Broadcast, ticket: Arc<Ticket>) {
        if let Some(topics) = self.0.upgrade() {
            PubSub { topics }.send(Arc::new(broadcast), Some(ticket));
        }
    }
}

#[cfg(test)]
mod tests;
