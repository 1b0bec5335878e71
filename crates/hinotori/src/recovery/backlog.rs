//! A source of messages in memory, for applications without a store.

use std::{
    fmt,
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Cursor, Recovery};
use crate::{
    pubsub::PubSub,
    wire::{IntoPayload, Payload, PayloadError, PayloadList, PayloadObject},
};

/// Epochs are below 2^53, so JavaScript reads each exactly.
const EPOCH_BITS: u32 = 53;

/// The newest messages of one topic, kept in memory for clients that [recover](crate::recovery).
///
/// It numbers the messages from 1, keeps the newest, and broadcasts them as one event. Each has a random epoch: after a
/// restart of the server, all clients load the history once. Every server has its own, so use it with a single node.
///
/// ```
/// use hinotori::{Endpoint, recovery::Backlog};
/// use serde_json::{Value, json};
///
/// let endpoint = Endpoint::new();
/// let scores = Backlog::new(endpoint.pubsub(), "scores", "score").limit(100, 64 * 1024);
/// let id = scores.publish(|id| json!({ "id": id, "home": 1, "away": 0 }))?;
/// assert_eq!(id, 1);
/// assert_eq!(scores.history().parse::<Value>()?["messages"], json!([{ "id": 1, "home": 1, "away": 0 }]));
/// # Ok::<_, hinotori::BoxError>(())
/// ```
pub struct Backlog {
    pubsub: PubSub,
    topic: String,
    event: String,
    epoch: u64,
    messages: usize,
    bytes: usize,
    /// Locked while a message is broadcast, so that broadcasts have the order of their positions.
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// The newest messages; the last one has the position `last_id`.
    messages: PayloadList,
    last_id: u64,
}

impl Backlog {
    /// A backlog without messages, for the topic's broadcasts of one event. It keeps 1,000 messages or 1 MiB, as much as a
    /// [reply](super::MAX_MESSAGES) may have.
    ///
    /// # Panics
    /// If the system cannot supply random bytes for the epoch.
    #[must_use]
    pub fn new(pubsub: &PubSub, topic: &str, event: &str) -> Self {
        let random =
            getrandom::u64().unwrap_or_else(|error| panic!("the system has no random bytes: {error}"));
        Self {
            pubsub: pubsub.clone(),
            topic: topic.to_owned(),
            event: event.to_owned(),
            epoch: (random >> (u64::BITS - EPOCH_BITS)).max(1),
            messages: super::MAX_MESSAGES,
            bytes: super::MAX_BYTES,
            log: Mutex::default(),
        }
    }

    /// Sets how many messages and bytes of messages are kept. The oldest are dropped first. Lower it to save memory;
    /// raise it if [`history`](Self::history) should have more than a reply may.
    #[must_use]
    pub fn limit(self, messages: usize, bytes: usize) -> Self {
        Self { messages, bytes, ..self }
    }

    /// Adds a message at the next position, broadcasts it, and returns the position. `message` gets the position and
    /// returns a JSON object that has it, such as `{"id": 7, …}`, so that the client knows it. All subscribers get the
    /// messages in the order of their positions, whichever threads publish.
    ///
    /// The closure must not use this backlog.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the message does not serialize, [`PayloadError::NotJson`] if it is a binary payload,
    /// [`PayloadError::NotAnObject`] if it is JSON other than an object. Nothing is sent then, and the position is given
    /// to the next message.
    pub fn publish<M: IntoPayload>(&self, message: impl FnOnce(u64) -> M) -> Result<u64, PayloadError> {
        let mut log = self.log();
        let position = NonZeroU64::MIN.saturating_add(log.last_id);
        let message = message(position.get()).into_payload()?;
        if message.is_json() && !message.is_object() {
            return Err(PayloadError::NotAnObject);
        }
        // kept before it is broadcast: see `channel/membership/hold.rs`
        log.messages.push(&message)?;
        log.last_id = position.get();
        while log.messages.len() > self.messages || log.messages.bytes() > self.bytes {
            log.messages.pop_front();
        }
        self.pubsub.broadcast_at(position, &self.topic, &self.event, message)?;
        Ok(position.get())
    }

    /// Answers a client that recovers. If it missed too much, [`history`](Self::history) is pushed as the event
    /// `history` after the reply.
    #[must_use]
    pub fn since(&self, cursor: Cursor, history: &str) -> Recovery {
        let log = self.log();
        let kept = log.messages.len() as u64;
        // fewer than are missing if the oldest of them are no longer kept
        let missing = log.last_id.saturating_sub(cursor.last_seen_id()).min(kept);
        let messages =
            (kept - missing..kept).filter_map(|index| log.messages.element(usize::try_from(index).ok()?));
        Recovery::new(cursor, self.epoch, log.last_id, messages)
            .and_then(|recovery| recovery.or_push(history, log.history(self.epoch)?))
            .unwrap_or_else(|error| unreachable!("the messages are JSON, but {error}"))
    }

    /// All messages that are kept, from the oldest to the newest, with the epoch and the position of the newest one:
    /// `{"epoch": 81985529, "last_id": 7, "messages": […]}`. Clients share its bytes, as with a [`PayloadList`].
    #[must_use]
    pub fn history(&self) -> Payload {
        self.log().history(self.epoch).unwrap_or_else(|error| unreachable!("integers are JSON, but {error}"))
    }

    /// The number that names this history: not 0, and below 2^53.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The position of the newest message; 0 if none has been published.
    #[must_use]
    pub fn last_id(&self) -> u64 {
        self.log().last_id
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // the application's code that runs under the lock runs before anything is changed
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn history(&self, epoch: u64) -> Result<Payload, PayloadError> {
        let mut object = PayloadObject::new();
        object.field("epoch", epoch)?;
        object.field("last_id", self.last_id)?;
        Ok(self.messages.payload_in(object, "messages"))
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog")
            .field("topic", &self.topic)
            .field("event", &self.event)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
