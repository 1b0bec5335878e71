//! A message, as all members of its room see it.

use serde::{Deserialize, Serialize};

/// A message as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Its id, which ascends in its room.
    pub id: i64,
    /// Who wrote it.
    pub author: String,
    /// Its Markdown; none if it is deleted.
    pub text: Option<String>,
    /// When it was posted.
    pub at: String,
    /// When it was last edited.
    pub edited_at: Option<String>,
    /// Whether it is deleted.
    pub deleted: bool,
    /// The message to which it replies.
    pub reply_to: Option<Quote>,
    /// Its picture.
    pub picture: Option<Picture>,
    /// What others think of it.
    pub reactions: Vec<Reaction>,
    /// The text by which its author recognizes it.
    pub nonce: String,
}

/// The beginning of another message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// Its id.
    pub id: i64,
    /// Who wrote it.
    pub author: String,
    /// Its first characters; none if it is deleted.
    pub text: Option<String>,
}

/// A picture without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Picture {
    /// Its id.
    pub id: String,
    /// In pixels.
    pub width: i64,
    /// In pixels.
    pub height: i64,
}

/// An emoji and who chose it, in that order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// The ids of users.
    pub users: Vec<String>,
}

/// A message that is new, or has changed, at its position in the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The position: 1, 2, 3 without a gap.
    pub id: i64,
    /// The message as it is now.
    pub message: Message,
}
