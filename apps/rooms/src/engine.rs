//! What connects the nodes of a cluster: the value of `--cluster`.

use std::{fmt, str::FromStr};

use hinotori::EndpointBuilder;
use hinotori_postgres::{Dsn, Postgres};
use hinotori_redis::Redis;

use crate::store::Address;

/// A service that carries broadcasts and presences between nodes.
#[derive(Clone, PartialEq, Eq)]
pub enum Engine {
    /// The database of the store.
    Store,
    /// PostgreSQL by an address of its own.
    Postgres(Dsn),
    /// Redis, by its address, which may have a password in it.
    Redis(String),
}

/// Without the password.
impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "Store",
            Self::Postgres(_) => "Postgres(…)",
            Self::Redis(_) => "Redis(…)",
        })
    }
}

/// A text that is no [`Engine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidEngine;

impl fmt::Display for InvalidEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected `postgres` for the database of the store, an address of Redis such as `redis://host:6379`, or one \
             of PostgreSQL such as `postgres://user:password@host/rooms`",
        )
    }
}

impl std::error::Error for InvalidEngine {}

impl FromStr for Engine {
    type Err = InvalidEngine;

    fn from_str(text: &str) -> Result<Self, InvalidEngine> {
        // what is wrong with an address is said later: an error here would show the password
        match text {
            "postgres" => Ok(Self::Store),
            _ if text.starts_with("postgres") => Ok(Self::Postgres(Dsn::new(text))),
            _ if text.starts_with("redis") => Ok(Self::Redis(text.to_owned())),
            _ => Err(InvalidEngine),
        }
    }
}

impl Engine {
    /// Makes an endpoint a node.
    ///
    /// # Errors
    /// If the address is wrong. The engine itself may be away.
    pub fn connect(&self, endpoint: EndpointBuilder, store: &Address) -> Result<EndpointBuilder, String> {
        let failed = |error: &dyn fmt::Display| format!("cannot connect the nodes (--cluster): {error}");
        Ok(match (self, store) {
            (Self::Redis(address), _) => {
                endpoint.adapter(Redis::new(address).map_err(|error| failed(&error))?)
            }
            (Self::Postgres(dsn), _) | (Self::Store, Address::Postgres(dsn)) => {
                endpoint.adapter(Postgres::at(dsn).map_err(|error| failed(&error))?)
            }
            (Self::Store, Address::Sqlite(_)) => {
                return Err(failed(&"the store is not a PostgreSQL database"));
            }
        })
    }
}
