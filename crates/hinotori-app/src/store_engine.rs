//! What connects the nodes of a program that has a store, which may do it too.

use std::{error::Error, fmt, str::FromStr};

use hinotori::EndpointBuilder;
use hinotori_postgres::Dsn;

use crate::{ClusterName, Engine, InvalidEngine};

/// A service that carries frames between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEngine {
    /// The database of the store.
    Store,
    /// By an address of its own.
    Other(Engine),
}

/// A text that is no [`StoreEngine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidStoreEngine;

impl fmt::Display for InvalidStoreEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected `postgres` for the database of the store, an address of Redis such as `redis://host:6379`, or one \
             of PostgreSQL such as `postgres://user:password@host/name`",
        )
    }
}

impl Error for InvalidStoreEngine {}

impl FromStr for StoreEngine {
    type Err = InvalidStoreEngine;

    fn from_str(text: &str) -> Result<Self, InvalidStoreEngine> {
        match text {
            "postgres" => Ok(Self::Store),
            _ => text.parse().map(Self::Other).map_err(|InvalidEngine| InvalidStoreEngine),
        }
    }
}

impl StoreEngine {
    /// Makes an endpoint a node of a cluster. `store` is the store's database, if it is one of PostgreSQL.
    ///
    /// # Errors
    /// If the address is wrong, or the store has none. The engine itself may be away.
    pub fn connect(
        &self,
        endpoint: EndpointBuilder,
        store: Option<&Dsn>,
        name: &ClusterName,
    ) -> Result<EndpointBuilder, Box<dyn Error>> {
        match (self, store) {
            (Self::Other(engine), _) => engine.connect(endpoint, name),
            (Self::Store, Some(dsn)) => Engine::Postgres(dsn.clone()).connect(endpoint, name),
            (Self::Store, None) => {
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
        assert_eq!("postgres".parse(), Ok(StoreEngine::Store));
        for text in ["postgres://db/chat", "rediss://ann:secret@cache:6380"] {
            let engine: StoreEngine = text.parse().unwrap();
            assert_eq!(engine, StoreEngine::Other(text.parse().unwrap()));
            assert!(!format!("{engine:?}").contains("secret"));
        }
        for text in ["", "Postgres", "sqlite:chat.db"] {
            assert_eq!(text.parse::<StoreEngine>(), Err(InvalidStoreEngine), "{text}");
        }
        let (endpoint, name) = (hinotori::Endpoint::builder(), "hinotori".parse().unwrap());
        assert!(StoreEngine::Store.connect(endpoint, None, &name).is_err());
    }
}
