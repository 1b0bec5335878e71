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

/// A connection that cannot write. One reads at a time.
pub(in super::super) struct FileReader {
    connection: Arc<Mutex<Connection>>,
}

impl FileReader {
    /// Opens a file that is there, with the tables of this version.
    pub(in super::super) fn open(file: &Path) -> std::result::Result<Self, OpenError> {
        let failed = |error| OpenError::Sqlite(file.to_owned(), error);
        let connection =
            Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
        database::is_current(&connection, file)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Runs a query on a thread that may block.
    fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, std::result::Result<T, LogError>> {
        let connection = Arc::clone(&self.connection);
        let read = move || query(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        async move {
            match spawn_blocking(read).await {
                Ok(result) => result.map_err(|error| LogError::Sqlite(Arc::new(error))),
                Err(_) => Err(LogError::Panicked),
            }
        }
        .boxed()
    }
}

impl Reader for FileReader {
    fn before(
        &self,
        id: u64,
        limit: Limit,
    ) -> BoxFuture<'static, std::result::Result<Vec<Message>, LogError>> {
        self.read(move |connection| tables::before(connection, Some(id), limit))
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
