//! The file: opened for one server at a time, with the tables of this version.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, FileControl, MAIN_DB, OpenFlags, TransactionBehavior};

use super::{OpenError, Synchronous, file_system::is_remote};

/// What leads from each version of the tables to the next: `PRAGMA user_version` is how many of them have been run.
const VERSIONS: [&str; 2] = [include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// How long one try to begin a transaction waits for another process that holds the database locked.
const LOCKED: Duration = Duration::from_millis(100);

/// An open database, which no other server has.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    /// After the connection, which is closed first.
    _lock: Lock,
}

/// A locked file, until it is dropped, however the process ends.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // a process that is being started has the file as well for a moment: closing it would not unlock it until then
        let _ = self.0.unlock();
    }
}

impl Database {
    /// Opens a file, or makes it, and its tables those of this version.
    pub(super) fn open(file: &Path, synchronous: Synchronous) -> Result<Self, OpenError> {
        let lock = lock(file)?;
        let failed = |error| OpenError::Sqlite(file.to_owned(), error);
        // one thread has it at a time
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(file, flags).map_err(failed)?;
        connection.busy_timeout(LOCKED).map_err(failed)?;
        migrate(&mut connection, file)?;
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
            .map_err(failed)?;
        if mode != "wal" {
            return Err(OpenError::NoWal(file.to_owned()));
        }
        set_up(&connection, synchronous).map_err(failed)?;
        Ok(Self { connection, _lock: lock })
    }
}

/// Locks a file beside the database: SQLite has locks of its own on the database, and leaves it open to those who read,
/// such as a backup.
fn lock(file: &Path) -> Result<Lock, OpenError> {
    let failed = |error| OpenError::Io(file.to_owned(), error);
    let real = real(file).map_err(failed)?;
    if is_remote(real.parent().unwrap_or(&real)).map_err(failed)? {
        return Err(OpenError::Remote(file.to_owned()));
    }
    let mut name = real.into_os_string();
    name.push("-lock");
    let name = PathBuf::from(name);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let lock = opened.map_err(|error| OpenError::Io(name.clone(), error))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(file.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(name, error)),
    }
}

/// The path without links, so that a file has one lock whatever name leads to it. Makes the file, as a link may lead to none.
fn real(file: &Path) -> io::Result<PathBuf> {
    if !file.exists() {
        OpenOptions::new().create(true).truncate(false).write(true).open(file)?;
    }
    file.canonicalize()
}

/// Refuses tables of another version.
pub(super) fn is_current(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    match version(connection, file)? {
        found if found < VERSIONS.len() as i64 => Err(OpenError::Older(file.to_owned())),
        _ => Ok(()),
    }
}

/// The version of this program's tables, or 0 if there is nothing in the database.
fn version(connection: &Connection, file: &Path) -> Result<i64, OpenError> {
    let failed = |error| OpenError::Sqlite(file.to_owned(), error);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let known = VERSIONS.len() as i64;
    // databases of other programs have versions too, but not these tables
    let is_ours = if found == 0 { tables == 0 } else { has_tables(connection).map_err(failed)? };
    if !is_ours {
        return Err(OpenError::Foreign(file.to_owned()));
    }
    if found > known {
        return Err(OpenError::Newer { file: file.to_owned(), found, known });
    }
    Ok(found)
}

fn migrate(connection: &mut Connection, file: &Path) -> Result<(), OpenError> {
    let found = version(connection, file)?;
    for (version, sql) in (1..).zip(VERSIONS).skip_while(|(version, _)| *version <= found) {
        step(connection, version, sql).map_err(|error| OpenError::Sqlite(file.to_owned(), error))?;
    }
    Ok(())
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(connection.table_exists(None, "topics")? && connection.table_exists(None, "messages")?)
}

/// Leads the tables to the next version, or leaves them as they were.
fn step(connection: &mut Connection, version: i64, sql: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

fn set_up(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    let synchronous = match synchronous {
        Synchronous::Full => "full",
        Synchronous::Normal => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // the only writable folder may be that of the file
    connection.pragma_update(None, "temp_store", "memory")?;
    // the writer does it when those who wait have been answered
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // overwriting the log costs half as much as growing it anew after each start
    connection.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut 1))
}
