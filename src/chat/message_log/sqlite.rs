//! Messages in an SQLite database, which belongs to one server.
//!
//! One thread writes. It takes the commands that wait, up to 256, and commits them as one transaction, so they share one
//! `fsync`. Nothing is acknowledged before its commit. Every command is settled once: by the writer, or by its caller,
//! which may give up until the writer begins.
//!
//! | what happens | what was acknowledged | what waits |
//! |---|---|---|
//! | the process is killed | is there | may be there |
//! | the power fails | is there (`synchronous=FULL`) | may be there |
//! | the disk is full | is there | is answered with an error; the next batch is tried again |
//! | another process locks the database | is there | waits, and is answered with an error after 5 s |
//!
//! # Source
//! <https://sqlite.org/wal.html>, <https://sqlite.org/pragma.html#pragma_synchronous>

mod batch;
mod database;
mod file_system;
mod forget;
mod import;
mod reader;
mod tables;
mod writer;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::{
    super::history::Limit, Busy, Command, Done, Keep, MessageLog, Messages, Meters, OpenError, Reader,
    Settled, Sink, Snapshot, queue::Queue,
};
use database::Database;
use hinotori::BoxError;
pub(super) use reader::FileReader;
use writer::Writer;

/// When a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synchronous {
    /// When it would survive a power failure.
    Full,
    /// When it would survive the end of the process. A power failure may take the last commits, and leaves the rest whole.
    Normal,
}

/// A log in a file, and the thread that writes it.
pub(crate) struct Sqlite {
    file: PathBuf,
    keep: Keep,
    meters: Meters,
    /// Until the writer has it.
    database: Option<Database>,
    reader: Arc<FileReader>,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("file", &self.file).field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// [`OpenError`] if it is in use, not of this program or version, or cannot be read and written.
    pub(super) fn connect(
        file: &Path,
        synchronous: Synchronous,
        keep: Keep,
        meters: Meters,
    ) -> Result<Self, OpenError> {
        let (database, queue) =
            (Database::open(file, synchronous)?, Arc::new(Queue::new(meters.queue.clone())));
        let (reader, file) = (Arc::new(FileReader::open(file)?), file.to_owned());
        Ok(Self { file, keep, meters, database: Some(database), reader, queue, writer: None })
    }
}

impl MessageLog for Sqlite {
    fn open(&mut self, limit: Limit, sink: Sink) -> Result<Snapshot, OpenError> {
        let Some(database) = self.database.take() else { return Err(OpenError::InUse(self.file.clone())) };
        let limit = self.keep.within(limit);
        let failed = |error| OpenError::Sqlite(self.file.clone(), error);
        let (head, snapshot) =
            tables::open(&database.connection, self.keep.since(), limit).map_err(failed)?;
        let (id, file) = (snapshot.last_id, self.file.display().to_string());
        log::info!("event=store_opened file={file:?} messages={} last_id={id}", snapshot.newest.len());
        let writer =
            Writer::new(database, head, Arc::clone(&self.queue), self.keep, self.meters.clone(), sink);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        self.writer = Some(thread.map_err(|error| OpenError::Io(self.file.clone(), error))?);
        Ok(snapshot)
    }

    fn submit(&mut self, command: Command, done: Done) -> Result<Option<Settled>, Busy> {
        self.queue.push(command, done).map(|()| None)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.reader) as _
    }

    fn import(&mut self, messages: &mut Messages<'_>) -> Result<u64, BoxError> {
        // whoever reads would keep the log from being moved
        self.reader.close();
        match &mut self.database {
            Some(database) => import::run(&mut database.connection, &self.file, messages),
            None => Err(OpenError::InUse(self.file.clone()).into()),
        }
    }

    fn close(&mut self) {
        self.reader.close();
        self.queue.close();
        // a panic of its own it has logged
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
