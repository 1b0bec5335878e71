//! Which store a server has.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use super::{
    Keep, Memory, MessageLog, Meters, OpenError, Reader,
    postgres::{DatabaseReader, Dsn, Postgres},
    sqlite::{FileReader, Sqlite, Synchronous},
};

/// Where messages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the process alone.
    Memory,
    /// In a database of SQLite.
    Sqlite(PathBuf, Synchronous),
    /// In a database of PostgreSQL.
    Postgres(Dsn),
}

/// Who writes to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// One server.
    Alone,
    /// All nodes of a cluster.
    Nodes,
}

/// A text that is no [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidKind;

impl fmt::Display for InvalidKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected `memory`, `sqlite:` and the path of a file, such as `sqlite:chat.db` or \
             `sqlite:chat.db?synchronous=normal`, or a database such as `postgres://user:password@host/chat`",
        )
    }
}

impl std::error::Error for InvalidKind {}

impl FromStr for Kind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        // whatever is wrong with it: an error here would show the password
        if text.starts_with("postgres") {
            return Ok(Self::Postgres(Dsn::new(text)));
        }
        let Some(file) = text.strip_prefix("sqlite:") else {
            return if text == "memory" { Ok(Self::Memory) } else { Err(InvalidKind) };
        };
        let (path, synchronous) = match file.split_once('?') {
            None => (file, Synchronous::Full),
            Some((path, "synchronous=full")) => (path, Synchronous::Full),
            Some((path, "synchronous=normal")) => (path, Synchronous::Normal),
            Some(_) => return Err(InvalidKind),
        };
        if path.is_empty() { Err(InvalidKind) } else { Ok(Self::Sqlite(path.into(), synchronous)) }
    }
}

impl Kind {
    /// The database, if it is one of PostgreSQL.
    pub(crate) fn postgres(&self) -> Option<&Dsn> {
        match self {
            Self::Postgres(dsn) => Some(dsn),
            Self::Memory | Self::Sqlite(..) => None,
        }
    }

    /// The log of that kind. Only PostgreSQL can be shared.
    ///
    /// # Errors
    /// [`OpenError`] if its file is not there for it, or the address of its database is wrong.
    pub(crate) fn log(
        &self,
        sharing: Sharing,
        keep: Keep,
        meters: Meters,
    ) -> Result<Box<dyn MessageLog>, OpenError> {
        Ok(match self {
            Self::Memory => Box::new(Memory::default()),
            Self::Sqlite(file, synchronous) => Box::new(Sqlite::connect(file, *synchronous, keep, meters)?),
            Self::Postgres(dsn) => Box::new(Postgres::new(dsn, sharing, keep, meters)?),
        })
    }
}

impl Kind {
    /// Whether the store is in this file.
    pub(crate) fn is_file(&self, file: &Path) -> bool {
        let Self::Sqlite(store, _) = self else { return false };
        // one that does not exist is none
        store.canonicalize().is_ok_and(|store| file.canonicalize().is_ok_and(|file| file == store))
    }

    /// Reads what is stored, beside a server that may run.
    ///
    /// # Errors
    /// [`OpenError`] if there is no such store, or one of another version.
    pub(crate) fn reader(&self) -> Result<Arc<dyn Reader>, OpenError> {
        Ok(match self {
            Self::Memory => Memory::default().reader(),
            Self::Sqlite(file, _) => Arc::new(FileReader::open(file)?),
            Self::Postgres(dsn) => Arc::new(DatabaseReader::open(dsn)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_memory_a_file_of_sqlite_or_a_database_and_nothing_else() {
        assert_eq!("memory".parse(), Ok(Kind::Memory));
        for path in ["chat.db", "/var/lib/chat.db", "a:b"] {
            for (options, synchronous) in [
                ("", Synchronous::Full),
                ("?synchronous=full", Synchronous::Full),
                ("?synchronous=normal", Synchronous::Normal),
            ] {
                let parsed = format!("sqlite:{path}{options}").parse();
                assert_eq!(parsed, Ok(Kind::Sqlite(path.into(), synchronous)));
            }
        }
        for text in ["postgres://localhost/chat", "postgresql://ann:secret@db/chat", "postgres:oops"] {
            assert_eq!(text.parse(), Ok(Kind::Postgres(Dsn::new(text))));
        }
        for text in [
            "",
            "Memory",
            "sqlite",
            "sqlite:",
            "sqlite:?synchronous=full",
            "sqlite:a?synchronous=off",
            "sqlite:a?",
            "chat.db",
            "http://localhost",
        ] {
            assert_eq!(text.parse::<Kind>(), Err(InvalidKind), "{text}");
        }
    }
}
