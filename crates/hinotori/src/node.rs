//! What all sockets of one server share: four parts, each of which owns its state.
//!
//! | field | is |
//! |---|---|
//! | `pubsub` | topics: who gets what |
//! | `connections` | the clients: how many there may be, which are silent, which must close |
//! | `tasks` | what must end before the server does |
//! | `telemetry` | what is counted |
//!
//! Sockets, channels and presences know the node, but not how an [`Endpoint`](crate::Endpoint) mounts and serves them.

use std::sync::Arc;

use crate::{connections::Connections, pubsub::PubSub, tasks::Tasks, telemetry::Telemetry};

/// See the module.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pubsub: PubSub,
    pub(crate) connections: Arc<Connections>,
    pub(crate) tasks: Tasks,
    pub(crate) telemetry: Arc<Telemetry>,
}

impl Node {
    /// A node without clients, which takes at most this many at a time.
    pub(crate) fn new(max_connections: usize) -> Arc<Self> {
        let telemetry = Arc::new(Telemetry::new());
        Arc::new(Self {
            pubsub: PubSub::new(telemetry.clone()),
            connections: Arc::new(Connections::new(max_connections)),
            tasks: Tasks::default(),
            telemetry,
        })
    }

    /// A node that takes any number of clients.
    #[cfg(test)]
    pub(crate) fn unbounded() -> Arc<Self> {
        Self::new(usize::MAX)
    }
}
