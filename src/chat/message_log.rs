//! Where messages are kept: a log of posts and likes that says in which order they came, and what became of each.
//!
//! The log decides ids and counts; it tells nobody. [`MessageStore`](super::MessageStore) hands it commands, and applies
//! and broadcasts what it has committed. [`Memory`] keeps nothing beyond the process, [`Sqlite`] keeps a file. `suite.rs` is
//! what both must do.

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
    /// Gives the newest messages within the limit, the oldest first, and is ready for commands. To be called once, before
    /// anything else.
    ///
    /// # Errors
    /// [`OpenError`] if what is stored cannot be read.
    fn open(&mut self, limit: Limit) -> Result<Vec<Message>, OpenError>;

    /// Takes a command, without waiting for anything: commands are carried out in the order in which they come. If what
    /// became of it is known at once, it is returned; else `done` is told, once, by another thread.
    ///
    /// # Errors
    /// [`Busy`] if too many commands wait, or the log is closed. It is not carried out then.
    fn submit(&mut self, command: Command, done: Done) -> Result<Option<Settled>, Busy>;

    /// Carries out what waits and closes what is open. It takes no more commands.
    fn close(&mut self);
}

/// What a log can be asked to do.
///
/// It comes with what the history has of the message that it refers to. That is all that [`Memory`] knows of it, and
/// saves [`Sqlite`] a look into the file.
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

/// Whom to tell what became of a command.
pub(crate) struct Done {
    claim: Claim,
    reply: Reply,
    sink: Sink,
}

/// Takes what became of commands, in the order in which they were committed.
pub(crate) type Sink = Arc<dyn Fn(Settled) + Send + Sync>;

/// Where whoever asked waits. True if there was such a message.
pub(crate) type Reply = oneshot::Sender<Result<bool, StoreError>>;

/// A command of which it is known what became.
#[derive(Debug)]
pub(crate) struct Settled {
    /// What was done, or why not.
    pub(crate) outcome: Result<Committed, LogError>,
    /// Whoever asked for it.
    pub(crate) reply: Reply,
}

/// Decides who is first: the log, which begins to carry the command out, or whoever asked, who gives up.
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

    /// Whether the command is still to be carried out. If so, whoever asked waits for the outcome from now on.
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
