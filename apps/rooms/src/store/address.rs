//! Where the database is: the value of `--store`.

use std::{fmt, path::PathBuf, str::FromStr};

use hinotori_postgres::Dsn;

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A database of PostgreSQL. Its address may have a password, which is not shown.
    Postgres(Dsn),
}

/// A text that is no [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidAddress;

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected `sqlite:` and the path of a file, such as `sqlite:rooms.db`, or a database such as \
             `postgres://user:password@host/rooms`",
        )
    }
}

impl std::error::Error for InvalidAddress {}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        match text.strip_prefix("sqlite:") {
            Some("") => Err(InvalidAddress),
            Some(file) => Ok(Self::Sqlite(file.into())),
            // what is wrong with it is said when it is opened: an error here would show the password
            None if text.starts_with("postgres") => Ok(Self::Postgres(Dsn::new(text))),
            None => Err(InvalidAddress),
        }
    }
}
