//! Where messages are stored: a log that orders posts and likes.
//!
//! The log assigns ids and counts likes. It broadcasts nothing: [`MessageStore`](super::MessageStore) submits commands, and
//! applies and broadcasts what the log has committed. [`Memory`] stores nothing beyond the process,
//! [`Sqlite`](sqlite::Sqlite) stores a file. `suite.rs` tests what both must do.

mod error;
mod keep;
mod kind;
mod memory;
mod meters;
mod sqlite;
#[cfg(test)]
pub(super) mod suite;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    history::Limit,
    message::{Draft, Message},
    store_error::StoreError,
};
use tokio::sync::oneshot;

pub(crate) use error::{LogError, OpenError};
pub(crate) use keep::Keep;
pub(crate) use kind::Kind;
pub(crate) use memory::Memory;
pub(crate) use meters::Meters;

/// Keeps messages and gives them their ids, which count from 1 without a gap.
pub(crate) trait MessageLog: fmt::Debug + Send + 'static {
    /// Returns the newest messages within the limit, the oldest first. Must be called once, before anything else.
    ///
    /// # Errors
    /// [`OpenError`] if what is stored cannot be read.
    fn open(&mut self, limit: Limit) -> Result<Vec<Message>, OpenError>;

    /// Submits a command. Never blocks. Commands are carried out in the order in which they are submitted. Returns the
    /// outcome if it is known at once; otherwise another thread passes it to `done`, once.
    ///
    /// # Errors
    /// [`Busy`] if too many commands wait, or the log is closed. The command is not carried out.
    fn submit(&mut self, command: Command, done: Done) -> Result<Option<Settled>, Busy>;

    /// Carries out the commands that wait, and closes the log. Later commands are refused.
    fn close(&mut self);
}

/// What a log can be asked to do.
///
/// It carries what the history has of the message that it refers to. [`Memory`] has no other source, and
/// [`Sqlite`](sqlite::Sqlite) need not read the file for it.
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
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// The message was added.
    Posted(Message),
    /// The message has a like more.
    Liked(Message),
    /// There is no such message.
    NotFound,
}

/// Too many commands wait, or the log is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// Receives the outcome of a command.
pub(crate) struct Done {
    claim: Claim,
    reply: Reply,
    sink: Sink,
}

/// Receives outcomes, in the order of the commits.
pub(crate) type Sink = Arc<dyn Fn(Settled) + Send + Sync>;

/// Answers the caller: whether the message exists.
pub(crate) type Reply = oneshot::Sender<Result<bool, StoreError>>;

/// A command with its outcome.
#[derive(Debug)]
pub(crate) struct Settled {
    /// What was done, or why not.
    pub(crate) outcome: Result<Committed, LogError>,
    /// The caller.
    pub(crate) reply: Reply,
}

/// Decides a race: either the log begins to carry a command out, or its caller gives up first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// True for the first who asks.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Done {
    pub(crate) fn new(claim: Claim, reply: Reply, sink: Sink) -> Self {
        Self { claim, reply, sink }
    }

    /// Whether the command must be carried out. If so, its caller can no longer give up.
    fn begin(&self) -> bool {
        self.claim.take()
    }

    fn at_once(self, outcome: Committed) -> Settled {
        Settled { outcome: Ok(outcome), reply: self.reply }
    }

    fn settle(self, outcome: Result<Committed, LogError>) {
        (self.sink)(Settled { outcome, reply: self.reply });
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl Command {
    /// Bytes that it takes while it waits.
    fn bytes(&self) -> usize {
        let content = match self {
            Self::Post { draft, quote } => draft.bytes() + quote.as_ref().map_or(0, Vec::len),
            Self::Like { known, .. } => known.as_ref().map_or(0, |message| message.head().len()),
        };
        content + size_of::<(Self, Done)>()
    }
}
