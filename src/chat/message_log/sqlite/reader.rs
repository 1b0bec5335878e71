//! Reads the file beside the writer.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt};
use rusqlite::{Connection, OpenFlags, Result};
use tokio::task::spawn_blocking;

use super::{
    super::{
        super::{history::Limit, message::Message},
        LogError, OpenError, Page, Reader,
    },
    database, tables,
};

/// A connection that cannot write, until it is closed. One reads at a time.
pub(in super::super) struct FileReader {
    connection: Arc<Mutex<Option<Connection>>>,
}

impl FileReader {
    /// Opens a file that is there, with the tables of this version.
    pub(in super::super) fn open(file: &Path) -> std::result::Result<Self, OpenError> {
        let failed = |error| OpenError::Sqlite(file.to_owned(), error);
        let connection =
            Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
        database::is_current(&connection, file)?;
        Ok(Self { connection: Arc::new(Mutex::new(Some(connection))) })
    }

    /// Closes the connection. Whoever closes the last one of a file leaves its log empty.
    pub(super) fn close(&self) {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Runs a query on a thread that may block.
    fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, std::result::Result<T, LogError>> {
        let connection = Arc::clone(&self.connection);
        let read = move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = connection.as_mut().ok_or(LogError::Closed)?;
            query(connection).map_err(|error| LogError::Sqlite(Arc::new(error)))
        };
        async move { spawn_blocking(read).await.unwrap_or(Err(LogError::Panicked)) }.boxed()
    }
}

impl Reader for FileReader {
    fn before(
        &self,
        id: u64,
        limit: Limit,
    ) -> BoxFuture<'static, std::result::Result<Vec<Message>, LogError>> {
        self.read(move |connection| tables::before(connection, Some(id), i64::MIN, limit))
    }

    fn after(
        &self,
        id: u64,
        rev: u64,
        limit: Limit,
    ) -> BoxFuture<'static, std::result::Result<Page, LogError>> {
        self.read(move |connection| tables::after(connection, id, rev, limit))
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").finish_non_exhaustive()
    }
}
