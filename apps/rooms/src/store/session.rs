//! What the two databases have in common.

use std::fmt;

use super::{Row, Value};

/// A connection to a database, on a thread of its own.
///
/// Statements have placeholders `$1`, `$2`, … and are the same for both databases, except for the search.
pub(crate) trait Session {
    /// Begins a transaction. One that reads sees the database as it is at one moment.
    fn begin(&mut self, access: Access) -> Result<(), DbError>;

    /// Commits it.
    ///
    /// # Errors
    /// It may have been committed all the same, if the connection was lost.
    fn commit(&mut self) -> Result<(), DbError>;

    /// Takes it back.
    fn rollback(&mut self);

    /// Runs a statement, and returns its rows.
    fn query(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DbError>;

    /// Which database it is.
    fn dialect(&self) -> Dialect;
}

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A database, for the statements that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// Why a statement was not carried out. No text of a client is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbError {
    /// The database cannot be reached or is too busy: the same may succeed later.
    Unavailable(String),
    /// The statement is wrong, or the database is damaged.
    Statement(String),
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the database is not available: {why}"),
            Self::Statement(why) => write!(f, "a statement failed: {why}"),
        }
    }
}

impl std::error::Error for DbError {}
