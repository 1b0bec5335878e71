//! Why a log cannot be opened, and why it did not carry out a command.

use std::{fmt, io, path::PathBuf, sync::Arc};

use super::postgres::Failure;

/// The log cannot be opened: the server does not start.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Another server has it open.
    InUse(PathBuf),
    /// It is an SQLite database, of something else.
    Foreign(PathBuf),
    /// A newer version of the program wrote it.
    Newer {
        /// The file.
        file: PathBuf,
        /// The version of its tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// An older version of the program wrote it, and what only reads it cannot migrate it.
    Older(PathBuf),
    /// It has messages, and what is imported would not go with them.
    NotEmpty(String),
    /// The file, or the one that locks it, cannot be opened.
    Io(PathBuf, io::Error),
    /// SQLite cannot read or write it.
    Sqlite(PathBuf, rusqlite::Error),
    /// The file is on a file system of another machine.
    Remote(PathBuf),
    /// SQLite keeps no write-ahead log there.
    NoWal(PathBuf),
    /// The database, by its hosts and its name, cannot be opened.
    Postgres(String, Failure),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot open the store ")?;
        match self {
            Self::InUse(file) => {
                write!(
                    f,
                    "{}: another server has it open; stop it, or give this one a file of its own",
                    file.display()
                )
            }
            Self::Foreign(file) => {
                write!(f, "{}: it is a database, but not one of this program", file.display())
            }
            Self::Newer { file, found, known } => write!(
                f,
                "{}: its tables have version {found}, which a newer realtime-chat wrote; this one knows versions up to \
                 {known}",
                file.display()
            ),
            Self::Older(file) => write!(
                f,
                "{}: an older realtime-chat wrote its tables; start the server with it once, which migrates them",
                file.display()
            ),
            Self::NotEmpty(name) => write!(f, "{name} for the import: there are messages in it"),
            Self::Io(file, error) => write!(f, "{}: {error}", file.display()),
            Self::Sqlite(file, error) => write!(f, "{}: {error}", file.display()),
            Self::Remote(file) => write!(
                f,
                "{}: it is on a network file system, where SQLite cannot share its write-ahead log; use a file system of \
                 this machine",
                file.display()
            ),
            Self::NoWal(file) => write!(
                f,
                "{}: SQLite cannot keep a write-ahead log there; use a file system of this machine",
                file.display()
            ),
            Self::Postgres(database, failure) => write!(f, "{database}: {failure}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::Sqlite(_, error) => Some(error),
            Self::Postgres(_, failure) => Some(failure),
            Self::InUse(_)
            | Self::Foreign(_)
            | Self::Newer { .. }
            | Self::Older(_)
            | Self::NotEmpty(_)
            | Self::Remote(_)
            | Self::NoWal(_) => None,
        }
    }
}

/// The log did not carry out a command: nothing of it is kept.
#[derive(Debug, Clone)]
pub(crate) enum LogError {
    /// SQLite failed over the batch that it was part of.
    Sqlite(Arc<rusqlite::Error>),
    /// The database failed over that batch, or that query.
    Postgres(Arc<Failure>),
    /// The writer panicked over that batch, or the reader over its query.
    Panicked,
    /// The messages are not those that this server left.
    Replaced,
    /// The log is closed.
    Closed,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => write!(f, "{error}"),
            Self::Postgres(failure) => write!(f, "{failure}"),
            Self::Panicked => f.write_str("the store panicked over it"),
            Self::Replaced => f.write_str(
                "the messages are not those that this server left: the file was restored, or another server wrote to it; \
                 restart this one",
            ),
            Self::Closed => f.write_str("the store is closed"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sqlite(error) => Some(&**error),
            Self::Postgres(failure) => Some(&**failure),
            Self::Panicked | Self::Replaced | Self::Closed => None,
        }
    }
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> Self {
        Self::Postgres(Arc::new(failure))
    }
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}
