//! Publish and subscribe: from anywhere in the process to every subscriber of a topic.
//!
//! Each worker thread keeps a registry of its own subscribers (`local.rs`). A broadcast costs one queued pointer for each
//! other *worker*, then a plain loop there; it is encoded at most once for each version of the wire format, whatever the
//! number of receivers, and goes past the channels' callbacks (Phoenix's fastlane). The sender's own worker is served
//! before the call returns.
//!
//! # Source
//! Phoenix.PubSub `lib/phoenix/pubsub.ex`; Phoenix `lib/phoenix/channel/server.ex` (`dispatch/3`), 1.8.12.

mod broadcast;
mod local;

use std::{
    fmt,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use hinotori_protocol::session::ChannelId;
use tokio::sync::mpsc;

pub(crate) use broadcast::Broadcast;
pub(crate) use local::{Batch, Local, Member, Subscriber};

use crate::{
    telemetry::Telemetry,
    wire::{IntoPayload, PayloadError},
};

/// Names one subscriber in all workers, so that a broadcast can spare its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubscriberKey(u64);

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

impl fmt::Display for SubscriberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What travels between workers.
#[derive(Debug, Clone)]
enum ToWorker {
    Broadcast(Arc<Broadcast>),
    /// The server goes down: some connections are to close themselves.
    Drain(Batch),
}

impl ToWorker {
    /// Bytes that each receiver is sent, nearly.
    fn size(&self) -> usize {
        match self {
            Self::Broadcast(broadcast) => broadcast.payload.len(),
            Self::Drain(_) => 0,
        }
    }
}

/// A handle to the publish and subscribe of one server. Cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct PubSub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    /// Names this server among those of the process, for the threads' registries.
    id: u64,
    /// Written when a worker thread gets its first subscriber; read by each broadcast.
    workers: RwLock<Vec<Worker>>,
    /// Connections that are open or being opened, in all workers.
    connections: AtomicUsize,
    /// How many of them there may be.
    max_connections: AtomicUsize,
    /// Has one more owner for each [`Work`].
    work: Arc<()>,
    telemetry: Telemetry,
    /// Clients should go elsewhere.
    is_leaving: AtomicBool,
    is_draining: AtomicBool,
}

#[derive(Debug)]
struct Worker {
    key: SubscriberKey,
    queue: mpsc::UnboundedSender<ToWorker>,
    /// How many messages have been sent to it.
    sent: Arc<AtomicU64>,
}

impl PubSub {
    /// A server without subscribers.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::new(Shared {
                id,
                workers: RwLock::default(),
                connections: AtomicUsize::new(0),
                max_connections: AtomicUsize::new(usize::MAX),
                work: Arc::default(),
                telemetry: Telemetry::new(),
                is_leaving: AtomicBool::new(false),
                is_draining: AtomicBool::new(false),
            }),
        }
    }

    /// Sends an event to every subscriber of a topic.
    ///
    /// Subscribers get the broadcasts of one thread in the order in which it sent them.
    ///
    /// ```
    /// let pubsub = hinotori::PubSub::new();
    /// pubsub.broadcast("room:1", "news", serde_json::json!({ "n": 1 }))?;
    /// assert!(pubsub.broadcast("room:1", "news", 1).is_err());
    /// # Ok::<_, hinotori::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the payload does not serialize, [`PayloadError::NotAnObject`] if it is JSON other
    /// than an object. Nothing is sent then.
    pub fn broadcast(&self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<(), PayloadError> {
        self.publish(None, topic, event, payload)
    }

    /// The same to all but one.
    pub(crate) fn broadcast_from(
        &self,
        from: SubscriberKey,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.publish(Some(from), topic, event, payload)
    }

    fn publish(
        &self,
        from: Option<SubscriberKey>,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        let payload = payload.into_payload()?;
        if payload.is_json() && !payload.is_object() {
            return Err(PayloadError::NotAnObject);
        }
        self.telemetry().broadcast();
        self.send(&ToWorker::Broadcast(Arc::new(Broadcast::new(topic, event, payload, from))));
        Ok(())
    }

    /// From now on, the server says that it is not ready.
    pub(crate) fn leave(&self) {
        self.shared.is_leaving.store(true, Ordering::SeqCst);
    }

    /// Whether clients should come here.
    pub(crate) fn is_ready(&self) -> bool {
        !self.shared.is_leaving.load(Ordering::SeqCst)
    }

    /// From now on no connection opens, and one that is being opened is closed at once.
    pub(crate) fn begin_drain(&self) {
        self.leave();
        self.shared.is_draining.store(true, Ordering::SeqCst);
    }

    /// Tells so many of the open connections of all workers to close themselves.
    pub(crate) fn drain(&self, size: usize) -> Batch {
        let batch = Batch::new(size);
        self.send(&ToWorker::Drain(batch.clone()));
        batch
    }

    /// To all other workers by their queues, then to this thread's own at once.
    fn send(&self, message: &ToWorker) {
        let own = local::find(self.shared.id);
        let own_key = own.as_ref().map(|local| local.key());
        for worker in self.workers().iter().filter(|worker| Some(worker.key) != own_key) {
            // counted first: whoever learns of this finds it counted
            worker.sent.fetch_add(1, Ordering::AcqRel);
            // a worker whose thread has ended has no subscribers left to miss this
            let _ = worker.queue.send(message.clone());
        }
        if let Some(own) = own {
            let message = message.clone();
            own.in_order(move |own| own.deliver(&message));
        }
    }

    /// This thread's registry, made when it is first asked for.
    pub(crate) fn local(&self) -> std::rc::Rc<Local> {
        local::find(self.shared.id).unwrap_or_else(|| {
            let (queue, inbox) = mpsc::unbounded_channel();
            let sent = Arc::new(AtomicU64::new(0));
            let local = Local::start(self.shared.id, inbox, sent.clone(), self.telemetry().of_worker());
            let worker = Worker { key: local.key(), queue, sent };
            let mut workers = self.shared.workers.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            workers.retain(|worker| !worker.queue.is_closed());
            workers.push(worker);
            drop(workers);
            local
        })
    }

    fn workers(&self) -> std::sync::RwLockReadGuard<'_, Vec<Worker>> {
        // nothing that holds the lock can panic half way, so what a poisoned one guards is whole
        self.shared.workers.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether connections are being sent away; one that opens now missed being told.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.is_draining.load(Ordering::SeqCst)
    }

    /// Takes no more than so many connections at a time.
    pub(crate) fn set_max_connections(&self, max: usize) {
        self.shared.max_connections.store(max, Ordering::Relaxed);
    }

    /// A place for a connection, taken until it is dropped; none if all are taken.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let Shared { connections, max_connections, .. } = &*self.shared;
        let max = max_connections.load(Ordering::Relaxed);
        // one step of one number: two workers cannot both take the last place
        let taken = connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1));
        taken.ok().map(|_| Seat(self.shared.clone()))
    }

    /// Connections that are open or being opened.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Notes that something is under way which is to be done before the server stops.
    pub(crate) fn work(&self) -> Work {
        Work(self.shared.work.clone())
    }

    /// How many such things there are.
    pub(crate) fn works(&self) -> usize {
        Arc::strong_count(&self.shared.work) - 1
    }

    /// The metrics of this server.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }
}

impl Default for PubSub {
    fn default() -> Self {
        Self::new()
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Shared>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something that is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Work(#[expect(dead_code, reason = "it is counted by its owners")] Arc<()>);

#[cfg(test)]
mod tests;
