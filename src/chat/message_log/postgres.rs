//! Messages in a PostgreSQL database, which belongs to one server or to all nodes of a cluster.
//!
//! One thread has two connections: one writes, one reads. The writer takes the commands that wait, up to 1,024, and commits
//! them as one transaction of two round trips. Nothing is acknowledged before its commit. The row of the topic is locked
//! from the beginning of the transaction to its end: ids are given in the order of the commits.
//!
//! | what happens | what was acknowledged | what waits |
//! |---|---|---|
//! | the process is killed | is there | may be there |
//! | the database is killed, or its power fails | is there (`synchronous_commit`) | is tried again, or answered with an error after 5 s |
//! | the connection is lost during the commit | | is settled when the database says what became of it |
//! | the database is away, or hangs | is there | is answered with an error after 5 s |
//! | the database refuses a statement, as its disk is full | is there | is answered with an error; the next batch is tried |
//!
//! **A commit without an answer.** Each batch has a number, which its transaction writes into `writers`. The writer connects
//! again, locks the topic (which a connection that still commits has locked) and looks: either the number is there, or the batch
//! was not committed and never will be.
//!
//! **One server.** The connection that writes has an advisory lock. After an outage it may take a while until the database
//! notices that the former one is gone. Nodes of a cluster share that lock: none of them starts beside a server that is alone.
//!
//! **Several writers.** Each batch locks the topic's row and begins where the batch before it ended, whoever wrote that. A topic
//! that has another epoch than before, or has come less far, was wiped or restored: a server that is alone refuses to write to it,
//! and a node reads all of it again.
//!
//! # Source
//! <https://www.postgresql.org/docs/current/wal-async-commit.html>,
//! <https://www.postgresql.org/docs/current/explicit-locking.html>

mod batch;
mod failure;
mod forget;
mod import;
mod link;
mod opening;
mod reader;
mod schema;
mod statements;
mod transaction;
mod writer;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use hinotori::BoxError;
pub(crate) use hinotori_postgres::Dsn;
use hinotori_postgres::Target;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};

use super::{
    super::history::Limit,
    Busy, Command, Done, Keep, MessageLog, Messages, Meters, OpenError, Reader, Settled, Sharing, Sink,
    Snapshot,
    queue::{Closes, Queue},
};
pub(crate) use failure::Failure;
use opening::Opened;
pub(super) use reader::DatabaseReader;
use reader::Reads;
use writer::Writer;

/// A log in a database, and the thread that talks with it.
pub(crate) struct Postgres {
    target: Target,
    sharing: Sharing,
    keep: Keep,
    meters: Meters,
    reader: Arc<DatabaseReader>,
    /// Until the thread has it.
    reads: Option<Reads>,
    queue: Arc<Queue>,
    /// Asks the writer to read all of it again.
    reload: Arc<Notify>,
    reached: Arc<Mutex<Reached>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = &self.target.name;
        f.debug_struct("Postgres")
            .field("database", database)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// A log in a database, which is not connected to yet.
    ///
    /// # Errors
    /// [`OpenError`] if the address is wrong.
    pub(super) fn new(dsn: &Dsn, sharing: Sharing, keep: Keep, meters: Meters) -> Result<Self, OpenError> {
        let target = failure::target(dsn)?;
        let (queue, (reader, reads)) = (Arc::new(Queue::new(meters.queue.clone())), reader::pair());
        let (reader, reads, reload, reached) =
            (Arc::new(reader), Some(reads), Arc::default(), Arc::default());
        Ok(Self { target, sharing, keep, meters, reader, reads, queue, reload, reached, thread: None })
    }

    fn failed(&self, failure: Failure) -> OpenError {
        OpenError::Postgres(self.target.name.clone(), failure)
    }
}

impl MessageLog for Postgres {
    fn open(&mut self, limit: Limit, sink: Sink) -> Result<Snapshot, OpenError> {
        let Some(reads) = self.reads.take() else { return Err(self.failed(Failure::InUse)) };
        let limit = self.keep.within(limit);
        let work = Work {
            target: self.target.clone(),
            sharing: self.sharing,
            queue: Arc::clone(&self.queue),
            reload: Arc::clone(&self.reload),
            reached: Arc::clone(&self.reached),
            keep: self.keep,
            limit,
            meters: self.meters.clone(),
            sink,
        };
        let runtime = runtime().map_err(|failure| self.failed(failure))?;
        let failed = |error| self.failed(Failure::Thread(error));
        let (sender, opened) = mpsc::channel();
        let run = move || {
            runtime.block_on(work.run(reads, sender));
            // a look-up of a name may still be under way
            runtime.shutdown_background();
        };
        self.thread = Some(thread::Builder::new().name("store".to_owned()).spawn(run).map_err(failed)?);
        let snapshot =
            opened.recv().unwrap_or(Err(Failure::Ended)).map_err(|failure| self.failed(failure))?;
        let (database, messages, id) = (&self.target.name, snapshot.newest.len(), snapshot.last_id);
        log::info!("event=store_opened database={database:?} messages={messages} last_id={id}");
        Ok(snapshot)
    }

    fn submit(&mut self, command: Command, done: Done) -> Result<Option<Settled>, Busy> {
        self.queue.push(command, done).map(|()| None)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.reader) as _
    }

    fn reload(&mut self) {
        if self.sharing == Sharing::Nodes {
            self.reload.notify_one();
        }
    }

    fn reached(&mut self, replaced: u64, id: u64, rev: u64) {
        // nothing that is done under the lock can panic
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Reached { replaced, id, rev };
    }

    fn import(&mut self, messages: &mut Messages<'_>) -> Result<u64, BoxError> {
        import::run(&self.target, messages)
    }

    fn close(&mut self) {
        self.queue.close();
        // a panic of its own it has logged
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.close();
    }
}

/// How far the messages are known to have come, by whoever wrote them.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    /// How often they were replaced before.
    replaced: u64,
    id: u64,
    rev: u64,
}

/// Of the thread that it is made for.
fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(Failure::Thread)
}

/// What the thread works with.
struct Work {
    target: Target,
    sharing: Sharing,
    queue: Arc<Queue>,
    reload: Arc<Notify>,
    reached: Arc<Mutex<Reached>>,
    keep: Keep,
    /// What a history begins with.
    limit: Limit,
    meters: Meters,
    sink: Sink,
}

impl Work {
    /// Opens the database and says so, then writes and reads until the queue is closed.
    async fn run(self, reads: Reads, opened: mpsc::Sender<Result<Snapshot, Failure>>) {
        let _closes = Closes(Arc::clone(&self.queue));
        let opening = opening::open(&self.target, self.sharing, self.keep, self.limit);
        let Opened { on, head, snapshot } = match opening.await {
            Ok(opened) => opened,
            Err(failure) => {
                let _ = opened.send(Err(failure));
                return;
            }
        };
        let _reading = tokio::spawn(reads.run(self.target.clone()));
        let writer = Writer::new(self, on, head);
        // whoever opened it waits for that
        let _ = opened.send(Ok(snapshot));
        writer.run().await;
    }
}

#[cfg(test)]
mod tests;
