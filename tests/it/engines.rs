//! The engines that connect nodes, each private to a test, and the example `reference` as a node.

use std::{fs::OpenOptions, io::Write};

use crate::{
    instance::{self, Database, Frozen, Instance},
    redis_instance::{self, PASSWORD},
    server::{Launch, Server},
};

/// A server that carries frames between nodes.
pub(crate) enum Engine {
    Redis(redis_instance::Instance),
    Postgres(Instance),
    /// One that other tests use too: it is left alone.
    Shared(Database<'static>),
}

impl Engine {
    pub(crate) fn redis() -> Self {
        Self::Redis(redis_instance::Instance::new())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(Instance::new())
    }

    /// A database of a PostgreSQL that the test neither stops nor kills.
    pub(crate) fn database() -> Self {
        Self::Shared(Instance::shared().database())
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Redis(redis) => redis.port(),
            Self::Postgres(postgres) => postgres.port(),
            Self::Shared(database) => database.instance.port(),
        }
    }

    /// What `CLUSTER` is set to.
    pub(crate) fn address(&self) -> String {
        self.address_by("127.0.0.1", self.port())
    }

    /// The same for a node that connects to something else in front of it.
    pub(crate) fn address_by(&self, host: &str, port: u16) -> String {
        let database = match self {
            Self::Redis(_) => return format!("redis://:{PASSWORD}@{host}:{port}"),
            Self::Postgres(_) => "postgres",
            Self::Shared(database) => &database.name,
        };
        format!("postgres://postgres:{}@{host}:{port}/{database}", instance::PASSWORD)
    }

    /// Makes it listen at one more address, to which anyone with the password may connect.
    pub(crate) fn listen_at(&self, address: &str) {
        match self {
            Self::Redis(redis) => {
                let bound = redis.command(&format!("CONFIG SET bind \"127.0.0.1 {address}\""));
                assert_eq!(bound, "+OK\r\n");
            }
            Self::Postgres(postgres) => {
                let listen = format!("ALTER SYSTEM SET listen_addresses = '127.0.0.1, {address}'");
                postgres.sql("postgres", &listen);
                let mut rules =
                    OpenOptions::new().append(true).open(postgres.data().join("pg_hba.conf")).unwrap();
                rules.write_all(b"host all all 0.0.0.0/0 scram-sha-256\n").unwrap();
                self.restart();
            }
            Self::Shared(_) => panic!("other tests use it"),
        }
    }

    /// Stops it, as a machine does that hangs, until what this returns is dropped.
    pub(crate) fn freeze(&self) -> Hang<'_> {
        match self {
            Self::Redis(redis) => {
                redis.freeze();
                Hang::Redis(redis)
            }
            Self::Postgres(postgres) => Hang::Postgres(postgres.freeze()),
            Self::Shared(_) => panic!("other tests use it"),
        }
    }

    /// Kills it and starts it again.
    pub(crate) fn restart(&self) {
        match self {
            Self::Redis(redis) => redis.restart(),
            Self::Postgres(postgres) => {
                postgres.crash();
                postgres.start();
            }
            Self::Shared(_) => panic!("other tests use it"),
        }
    }
}

/// An engine that is stopped.
pub(crate) enum Hang<'a> {
    Redis(&'a redis_instance::Instance),
    Postgres(#[expect(dead_code, reason = "it goes on when this is dropped")] Frozen),
}

impl Drop for Hang<'_> {
    fn drop(&mut self) {
        if let Self::Redis(redis) = self {
            redis.thaw();
        }
    }
}

/// A node of the example `reference`, by the address of its engine. Its clients need no heartbeats.
pub(crate) fn launch(engine: &str, name: &str) -> Launch {
    Launch::reference().set("CLUSTER", engine).set("NODE_NAME", name).set("IDLE_TIMEOUT", 3_600_000)
}

/// The same, started.
pub(crate) fn node(engine: &str, name: &str) -> Server {
    launch(engine, name).start()
}
