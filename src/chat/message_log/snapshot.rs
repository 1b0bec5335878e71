//! What a log has at one moment.

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
    /// The newest messages, the oldest of them first.
    pub(crate) newest: Vec<Message>,
    /// The newest likes, one for each message, the oldest of them first.
    pub(crate) liked: Vec<Liked>,
}

/// What came after a cursor.
#[derive(Debug)]
#[allow(dead_code, reason = "nodes that follow each other, which are to come, read all of it")]
pub(crate) struct Page {
    /// The id of the newest message that there is, or 0.
    pub(crate) last_id: u64,
    /// How many likes there have been.
    pub(crate) last_rev: u64,
    /// Messages, the oldest first.
    pub(crate) posted: Vec<Message>,
    /// Likes of messages that the cursor is beyond, one for each message, the oldest first.
    pub(crate) liked: Vec<Liked>,
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
