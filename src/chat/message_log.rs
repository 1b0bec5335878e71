//! Where messages are stored: a log that orders posts and likes.
//!
//! The log assigns ids and counts likes. It broadcasts nothing: [`MessageStore`](super::MessageStore) submits commands, and
//! applies and broadcasts what the log has committed. [`Memory`] stores nothing beyond the process,
//! [`Sqlite`](sqlite::Sqlite) stores a file, [`Postgres`](postgres::Postgres) a database. `suite.rs` tests what all must do.

mod command;
mod done;
mod error;
mod keep;
mod kind;
mod memory;
mod meters;
mod postgres;
mod queue;
mod snapshot;
mod sqlite;
#[cfg(test)]
pub(super) mod suite;

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use hinotori::BoxError;

use super::{
    history::Limit,
    message::{Draft, Imported, Message},
    store_error::StoreError,
};

pub(crate) use command::{Busy, Command, Committed};
pub(crate) use done::{Claim, Done, Reply, Report, Settled, Sink};
pub(crate) use error::{LogError, OpenError};
pub(crate) use keep::Keep;
pub(crate) use kind::{Kind, Sharing};
pub(crate) use memory::Memory;
pub(crate) use meters::Meters;
pub(crate) use snapshot::{Liked, Page, Snapshot};
#[cfg(test)]
pub(crate) use sqlite::Synchronous;

/// Keeps messages and gives them their ids, which count from 1 without a gap.
pub(crate) trait MessageLog: fmt::Debug + Send + 'static {
    /// Returns what a history begins with, within the limit, and reports to the sink from then on. Must be called once, before
    /// anything else.
    ///
    /// # Errors
    /// [`OpenError`] if what is stored cannot be read.
    fn open(&mut self, limit: Limit, sink: Sink) -> Result<Snapshot, OpenError>;

    /// Submits a command. Never blocks. Commands are carried out in the order in which they are submitted. Returns the
    /// outcome if it is known at once; otherwise another thread reports it to the sink, once.
    ///
    /// # Errors
    /// [`Busy`] if too many commands wait, or the log is closed. The command is not carried out.
    fn submit(&mut self, command: Command, done: Done) -> Result<Option<Settled>, Busy>;

    /// Reads what the history no longer has.
    fn reader(&self) -> Arc<dyn Reader>;

    /// Reads all of it again, as it is not what was read before, and reports that. Only a log that several servers share can
    /// be.
    fn reload(&mut self) {}

    /// Tells a log that several servers share how far it is known to have come, after so many [`Report::Replaced`]: if it has
    /// come less far, it is another one.
    fn reached(&mut self, replaced: u64, id: u64, rev: u64) {
        let _ = (replaced, id, rev);
    }

    /// Stores messages in a log that has none, instead of opening it: all of them, or nothing. Returns how many.
    ///
    /// # Errors
    /// The first error of the messages; [`OpenError`] if there are messages already, or the log cannot be written.
    fn import(&mut self, messages: &mut Messages<'_>) -> Result<u64, BoxError>;

    /// Carries out the commands that wait, and closes the log. Later commands are refused.
    fn close(&mut self);
}

/// Reports a stored message that this program did not write like this. It is as good as none: others must not fail because of
/// it.
fn damaged(id: u64) {
    log::error!("event=store_unreadable message={id} why=\"it has a body that this program did not write\"");
}

/// Messages that are imported, with ascending ids.
pub(crate) type Messages<'a> = dyn Iterator<Item = Result<Imported, BoxError>> + 'a;

/// Reads stored messages beside the log. Whatever it returns was committed. A damaged message is [reported](damaged) and passed
/// over.
pub(crate) trait Reader: fmt::Debug + Send + Sync + 'static {
    /// The newest messages with a smaller id, within the limit, the oldest first.
    fn before(&self, id: u64, limit: Limit) -> BoxFuture<'static, Result<Vec<Message>, LogError>>;

    /// What came after a cursor, in one snapshot: messages with a greater id, the oldest first, within the limit; and messages
    /// up to `id` that were liked after the revision `rev`, the first by their last likes, at most as many as the limit has
    /// messages. With a limit of no messages, it only tells where the log begins and how far it has come.
    fn after(&self, id: u64, rev: u64, limit: Limit) -> BoxFuture<'static, Result<Page, LogError>>;
}
