//! What a log has at one moment.

use std::hash::{BuildHasher, RandomState};

use hinotori::{IntoPayload, Payload};
use serde_json::json;

use super::Message;

/// What a history begins with.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Tells one life of the log from another: ids of one mean nothing in the other. From 1 to 2⁵³ − 1, which JavaScript
    /// can count to.
    pub(crate) epoch: u64,
    /// The id of the newest message, or 0.
    pub(crate) last_id: u64,
    /// How many likes there have been.
    pub(crate) last_rev: u64,
    /// The newest messages, the oldest of them first.
    pub(crate) newest: Vec<Message>,
    /// The newest likes, one for each message, the oldest of them first.
    pub(crate) liked: Vec<Liked>,
}

/// A new [`Snapshot::epoch`].
pub(super) fn new_epoch() -> u64 {
    // hashers of the standard library have random keys
    (RandomState::new().hash_one(()) >> 11).max(1)
}

/// What came after a cursor.
#[derive(Debug)]
pub(crate) struct Page {
    /// See [`Snapshot::epoch`].
    pub(crate) epoch: u64,
    /// The id of the oldest message that there is; one after `last_id` if there is none.
    pub(crate) first_id: u64,
    /// The id of the newest message that there has been, or 0.
    pub(crate) last_id: u64,
    /// How many likes there have been.
    pub(crate) last_rev: u64,
    /// Messages, the oldest first.
    pub(crate) posted: Vec<Message>,
    /// Messages that the cursor is beyond and that were liked after it, in the order of their last likes.
    pub(crate) liked: Vec<Message>,
    /// The ids of messages that should be in `posted`, but are damaged.
    pub(crate) damaged: Vec<u64>,
}

/// How often a message has been liked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Liked {
    /// The message.
    pub(crate) id: u64,
    /// The number of its likes.
    pub(crate) count: u64,
    /// The topic's revision since the last of them.
    pub(crate) rev: u64,
}

impl Liked {
    /// `{"id", "likes"}`, as clients get it.
    pub(crate) fn payload(&self) -> Payload {
        json!({ "id": self.id, "likes": self.count }).into_payload().unwrap_or_default()
    }
}

impl From<&Message> for Liked {
    fn from(message: &Message) -> Self {
        Self { id: message.id(), count: message.likes().count, rev: message.likes().rev }
    }
}
