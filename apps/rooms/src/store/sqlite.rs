//! SQLite: a file that one server has open.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    Row, Value, schema,
    session::{Access, DbError, Dialect, Session},
};

/// How long a statement waits for another connection, such as that of a backup.
const BUSY: Duration = Duration::from_secs(5);

/// Statements that stay prepared; there are fewer.
const PREPARED: usize = 128;

/// A connection to the file.
pub(super) struct Sqlite {
    connection: Connection,
    /// Only the writer has it. After the connection, which is closed first.
    _lock: Option<File>,
}

impl Sqlite {
    /// Opens the file to write, or creates it, and brings its tables to this version.
    pub(super) fn writer(file: &Path) -> Result<Self, String> {
        let failed = |why: String| format!("cannot open {}: {why}", file.display());
        let lock = lock(file).map_err(failed)?;
        let mut writer = Self::connect(file, Some(lock)).map_err(|error| failed(error.to_string()))?;
        writer.migrate().map_err(failed)?;
        Ok(writer)
    }

    /// Opens the file to read, beside the writer.
    pub(super) fn reader(file: &Path) -> Result<Self, String> {
        let reader = Self::connect(file, None).and_then(|reader| {
            reader.connection.pragma_update(None, "query_only", true)?;
            Ok(reader)
        });
        reader.map_err(|error| format!("cannot open {}: {error}", file.display()))
    }

    fn connect(file: &Path, lock: Option<File>) -> rusqlite::Result<Self> {
        // one thread has it at a time
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.pragma_update(None, "journal_mode", "wal")?;
        // what is acknowledged survives a power failure
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        Ok(Self { connection, _lock: lock })
    }

    /// `PRAGMA user_version` is the version of the tables.
    fn migrate(&mut self) -> Result<(), String> {
        let text = |error: rusqlite::Error| error.to_string();
        let found: i64 =
            self.connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(text)?;
        for (version, script) in schema::since(found, Dialect::Sqlite)? {
            let transaction = self.connection.transaction().map_err(text)?;
            transaction.execute_batch(&script).map_err(text)?;
            transaction.pragma_update(None, "user_version", version).map_err(text)?;
            transaction.commit().map_err(text)?;
        }
        Ok(())
    }
}

/// Locks a file beside the database, until it is closed, however the process ends: SQLite's own locks would let a second
/// server in.
fn lock(file: &Path) -> Result<File, String> {
    private().open(file).map_err(|error| error.to_string())?;
    let mut name = file.canonicalize().map_err(|error| error.to_string())?.into_os_string();
    name.push("-lock");
    let lock = private().open(PathBuf::from(name)).map_err(|error| error.to_string())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err("another server has it open".to_owned()),
        Err(TryLockError::Error(error)) => Err(error.to_string()),
    }
}

/// Creates files that only their owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl Session for Sqlite {
    fn begin(&mut self, access: Access) -> Result<(), DbError> {
        let sql = match access {
            Access::Read => "BEGIN",
            Access::Write => "BEGIN IMMEDIATE",
        };
        Ok(self.connection.execute_batch(sql)?)
    }

    fn commit(&mut self) -> Result<(), DbError> {
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    fn rollback(&mut self) {
        // some errors have rolled it back already
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            log::error!("event=rollback_failed why={:?}", error.to_string());
        }
    }

    fn query(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        // SQLite takes `$1` for a name and numbers names as they come; `?1` is a number
        let mut statement = self.connection.prepare_cached(&sql.replace('$', "?"))?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        let mut found = vec![];
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|column| Ok(value(row.get_ref(column)?)));
            found.push(Row(values.collect::<rusqlite::Result<_>>()?));
        }
        Ok(found)
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        // no table has one
        ValueRef::Real(real) => Value::Integer(real as i64),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        let passing = [
            ErrorCode::DatabaseBusy,
            ErrorCode::DatabaseLocked,
            ErrorCode::DiskFull,
            ErrorCode::SystemIoFailure,
            ErrorCode::CannotOpen,
            ErrorCode::ReadOnly,
        ];
        match error.sqlite_error_code() {
            Some(code) if passing.contains(&code) => Self::Unavailable(error.to_string()),
            _ => Self::Statement(error.to_string()),
        }
    }
}
