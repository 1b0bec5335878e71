//! What a log can be asked to do, and what it then did.

use super::{Done, Draft, Message};

/// What a log can be asked to do.
///
/// It carries what the history has of the message that it refers to. [`Memory`](super::Memory) has no other source, and the
/// others need not read it for that.
#[derive(Debug)]
pub(crate) enum Command {
    /// Adds a message.
    Post {
        /// The message.
        draft: Draft,
        /// The content, as JSON, of the message that it answers, if the history has it.
        quote: Option<Vec<u8>>,
    },
    /// Adds a like to a message.
    Like {
        /// The id of the message.
        id: i128,
        /// The message as it is, if the history has it.
        known: Option<Message>,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Committed {
    /// The message was added.
    Posted(Message),
    /// The message has a like more.
    Liked(Message),
    /// Nothing: a message with this id was added before under the same nonce.
    Repeated(u64),
    /// Nothing: there is no such message.
    NotFound,
}

/// Too many commands wait, or the log is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

impl Command {
    /// Bytes that it takes while it waits.
    pub(super) fn bytes(&self) -> usize {
        let content = match self {
            Self::Post { draft, quote } => draft.bytes() + quote.as_ref().map_or(0, Vec::len),
            Self::Like { known, .. } => known.as_ref().map_or(0, |message| message.head().len()),
        };
        content + size_of::<(Self, Done)>()
    }
}
