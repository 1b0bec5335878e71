//! Why the database did not do what it was asked.

use std::{error::Error, fmt, io};

use hinotori_postgres::{Dsn, DsnError, Target};
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::super::OpenError;

/// Why the database did not do what it was asked. Its text has no password.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The address is wrong.
    Dsn(DsnError),
    /// The database, or the connection to it, failed.
    Postgres(tokio_postgres::Error),
    /// It did not answer in time.
    TimedOut,
    /// Another server has the messages open.
    InUse,
    /// There are tables of these names, of something else.
    Foreign,
    /// A newer version of the program made the tables.
    Newer {
        /// The version of the tables.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },
    /// No schema of the search path exists.
    NoSchema,
    /// There are no tables.
    Missing,
    /// An older version of the program made the tables, and what only reads them cannot change them.
    Older,
    /// The messages are not what this server left.
    Replaced,
    /// Too much waits to be read.
    Busy,
    /// The thread of the store ended before it answered: it has panicked.
    Ended,
    /// The thread of the store could not be started.
    Thread(io::Error),
}

impl Failure {
    /// Whether the same may succeed later without anyone doing anything about it.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Postgres(error) => match (error.as_db_error(), io_error(error)) {
                (Some(error), _) => {
                    ["08", "40", "53", "57"].iter().any(|class| error.code().code().starts_with(class))
                }
                (None, Some(error)) => !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::PermissionDenied
                ),
                (None, None) => error.is_closed(),
            },
            _ => false,
        }
    }

    /// Whether a statement failed for a reason of its own: the connection is as good as before, the transaction is not.
    pub(super) fn is_of_statement(&self) -> bool {
        match self {
            Self::Postgres(error) => error.as_db_error().is_some_and(is_own),
            Self::Replaced => true,
            _ => false,
        }
    }
}

fn is_own(error: &DbError) -> bool {
    error.parsed_severity() == Some(Severity::Error)
        && ![SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(error.code())
}

fn io_error(error: &tokio_postgres::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dsn(why) => why.fmt(f),
            Self::Postgres(error) => match error.as_db_error() {
                // its details may have data in them
                Some(error) => write!(f, "{} (SQLSTATE {})", error.message(), error.code().code()),
                None => chain(f, error),
            },
            Self::TimedOut => f.write_str("the database did not answer in time"),
            Self::InUse => f.write_str(
                "another server has these messages open, or the database has not noticed yet that it is gone; stop it, \
                 give this one a database of its own, or make both nodes of one cluster with --cluster",
            ),
            Self::Foreign => f.write_str("it has tables named topics or messages, but not those of this program"),
            Self::Newer { found, known } => write!(
                f,
                "its tables have version {found}, which a newer realtime-chat wrote; this one knows versions up to {known}"
            ),
            Self::NoSchema => f.write_str("no schema of the search path exists; create one first"),
            Self::Missing => f.write_str("it has no messages of this program"),
            Self::Older => f.write_str(
                "an older realtime-chat wrote its tables; start the server with it once, which migrates them",
            ),
            Self::Replaced => f.write_str(
                "the messages are not those that this server left: the database was restored, or another server wrote to \
                 it; restart this one",
            ),
            Self::Busy => f.write_str("too much waits to be read"),
            Self::Ended => f.write_str("its thread has ended"),
            Self::Thread(error) => write!(f, "cannot start its thread: {error}"),
        }
    }
}

/// The database of an address.
pub(super) fn target(dsn: &Dsn) -> Result<Target, OpenError> {
    dsn.target("realtime-chat").map_err(|error| OpenError::Postgres(String::new(), Failure::Dsn(error)))
}

/// An error and what caused it.
fn chain(f: &mut fmt::Formatter<'_>, error: &dyn Error) -> fmt::Result {
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Postgres(error) => Some(error),
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}
