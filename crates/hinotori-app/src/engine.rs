//! What connects the nodes of a cluster, by its address.

use std::{error::Error, fmt, str::FromStr};

use hinotori::EndpointBuilder;
use hinotori_postgres::{Dsn, Postgres};
use hinotori_redis::Redis;

/// A service that carries frames between nodes.
#[derive(Clone, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL.
    Postgres(Dsn),
    /// Redis, by its address, which may have a password in it.
    Redis(String),
}

/// Without the password.
impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
            "expected an address of Redis such as `redis://host:6379`, or one of PostgreSQL such as \
             `postgres://user:password@host/name`",
        )
    }
}

impl Error for InvalidEngine {}

impl FromStr for Engine {
    type Err = InvalidEngine;

    fn from_str(text: &str) -> Result<Self, InvalidEngine> {
        // what is wrong with an address is said later: an error here would show the password
        match text {
            _ if text.starts_with("postgres") => Ok(Self::Postgres(Dsn::new(text))),
            _ if text.starts_with("redis") => Ok(Self::Redis(text.to_owned())),
            _ => Err(InvalidEngine),
        }
    }
}

/// The name of a cluster: the engine may have several.
#[derive(Debug, Clone)]
pub struct ClusterName(String);

/// The longest one: PostgreSQL's identifiers are short.
const LONGEST: usize = 46;

impl FromStr for ClusterName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected 1 to {LONGEST} letters, digits, - and _"))
        }
    }
}

impl Engine {
    /// Makes an endpoint a node of a cluster.
    ///
    /// # Errors
    /// If the address is wrong. The engine itself may be away.
    pub fn connect(
        &self,
        endpoint: EndpointBuilder,
        ClusterName(name): &ClusterName,
    ) -> Result<EndpointBuilder, Box<dyn Error>> {
        let failed = |error: &dyn fmt::Display| format!("cannot connect the nodes (--cluster): {error}");
        Ok(match self {
            Self::Redis(address) => {
                endpoint.adapter(Redis::new(address).map_err(|error| failed(&error))?.prefix(name))
            }
            Self::Postgres(dsn) => {
                endpoint.adapter(Postgres::at(dsn).map_err(|error| failed(&error))?.prefix(name))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_a_short_and_plain_name() {
        for text in ["a", "Chat_2-b", &"x".repeat(46)] {
            assert!(text.parse::<ClusterName>().is_ok(), "{text}");
        }
        for text in ["", "a b", "ü", "a:b", &"x".repeat(47)] {
            assert!(text.parse::<ClusterName>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_an_address_and_nothing_else() {
        for text in ["postgres://db/chat", "postgresql://ann:secret@db/chat", "postgres:oops"] {
            assert_eq!(text.parse(), Ok(Engine::Postgres(Dsn::new(text))));
        }
        for text in ["redis://localhost", "rediss://ann:secret@cache:6380", "redis:oops"] {
            let engine: Engine = text.parse().unwrap();
            assert_eq!(engine, Engine::Redis(text.to_owned()));
            assert!(!format!("{engine:?}").contains("secret"));
        }
        for text in ["", "Postgres", "sqlite:chat.db", "http://localhost", "nats://localhost"] {
            assert_eq!(text.parse::<Engine>(), Err(InvalidEngine), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_wrong_is_refused_without_its_password() {
        for text in
            ["redis:ann:secret@cache", "postgres:ann:secret@db", "postgres://ann:secret@db/chat?sslmode=on"]
        {
            let engine: Engine = text.parse().unwrap();
            let why = engine
                .connect(hinotori::Endpoint::builder(), &"hinotori".parse().unwrap())
                .unwrap_err()
                .to_string();
            assert!(why.contains("--cluster") && !why.contains("secret"), "{why}");
        }
    }
}
