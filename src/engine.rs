//! What connects the nodes of a cluster: the value of `--cluster`.

use std::{error::Error, fmt, str::FromStr};

use hinotori::EndpointBuilder;
use hinotori_app::ClusterName;

use crate::chat::Kind;

/// A service that carries frames between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The database of the store.
    Store,
    /// By an address of its own.
    Other(hinotori_app::Engine),
}

/// A text that is no [`Engine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidEngine;

impl fmt::Display for InvalidEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected `postgres` for the database of the store, an address of Redis such as `redis://host:6379`, or one \
             of PostgreSQL such as `postgres://user:password@host/chat`",
        )
    }
}

impl Error for InvalidEngine {}

impl FromStr for Engine {
    type Err = InvalidEngine;

    fn from_str(text: &str) -> Result<Self, InvalidEngine> {
        match text {
            "postgres" => Ok(Self::Store),
            _ => text.parse().map(Self::Other).map_err(|hinotori_app::InvalidEngine| InvalidEngine),
        }
    }
}

impl Engine {
    /// Makes an endpoint a node.
    ///
    /// # Errors
    /// If the address is wrong. The engine itself may be away.
    pub(crate) fn connect(
        &self,
        endpoint: EndpointBuilder,
        store: &Kind,
        name: &ClusterName,
    ) -> Result<EndpointBuilder, Box<dyn Error>> {
        match (self, store) {
            (Self::Other(engine), _) => engine.connect(endpoint, name),
            (Self::Store, Kind::Postgres(dsn)) => {
                hinotori_app::Engine::Postgres(dsn.clone()).connect(endpoint, name)
            }
            (Self::Store, Kind::Memory | Kind::Sqlite(..)) => {
                Err("cannot connect the nodes (--cluster): the store is not a PostgreSQL database".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_stores_database_or_an_address_and_nothing_else() {
        assert_eq!("postgres".parse(), Ok(Engine::Store));
        for text in ["postgres://db/chat", "rediss://ann:secret@cache:6380"] {
            let engine: Engine = text.parse().unwrap();
            assert_eq!(engine, Engine::Other(text.parse().unwrap()));
            assert!(!format!("{engine:?}").contains("secret"));
        }
        for text in ["", "Postgres", "sqlite:chat.db"] {
            assert_eq!(text.parse::<Engine>(), Err(InvalidEngine), "{text}");
        }
        let (endpoint, name) = (hinotori::Endpoint::builder(), "hinotori".parse().unwrap());
        assert!(Engine::Store.connect(endpoint, &Kind::Memory, &name).is_err());
    }
}
