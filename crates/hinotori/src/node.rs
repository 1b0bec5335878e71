//! What all sockets of one server share: parts, each of which owns its state.
//!
//! | field | is |
//! |---|---|
//! | `pubsub` | topics: who gets what |
//! | `connections` | the clients: how many there may be, which are silent, which must close |
//! | `tasks` | what must end before the server does |
//! | `telemetry` | what is counted |
//! | `cluster` | the other nodes, if there may be any |
//! | `clock` | the tags of presences |
//!
//! Sockets, channels and presences know the node, but not how an [`Endpoint`](crate::Endpoint) mounts and serves them.

use std::sync::Arc;

use hinotori_protocol::presence::Clock;

use crate::{
    cluster::{Adapter, Cluster, NodeId},
    connections::Connections,
    pubsub::PubSub,
    tasks::Tasks,
    telemetry::Telemetry,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pubsub: PubSub,
    pub(crate) connections: Arc<Connections>,
    pub(crate) tasks: Tasks,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// All presences of the node have it, so that no two of its tags are equal.
    pub(crate) clock: Clock,
}

/// How a node reaches the others.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) adapter: Arc<dyn Adapter>,
    /// By which the others know it.
    pub(crate) name: Arc<str>,
    /// How much faster than the clock its times pass.
    pub(crate) speed: u32,
}

impl Node {
    /// A node without clients, which takes at most this many at a time.
    ///
    /// # Panics
    /// If the system has no random bytes, or no thread for a node that is linked.
    pub(crate) fn new(max_connections: usize, link: Option<Link>) -> Arc<Self> {
        let telemetry = Arc::new(Telemetry::new());
        let incarnation =
            getrandom::u64().unwrap_or_else(|error| panic!("the system has no random bytes: {error}"));
        let cluster = link.map(|Link { adapter, name, speed }| {
            Cluster::new(adapter, NodeId(incarnation), name, &telemetry, speed)
        });
        let pubsub = PubSub::new(telemetry.clone(), cluster.clone());
        if let Some(cluster) = &cluster {
            cluster.start(pubsub.downgrade());
        }
        Arc::new(Self {
            pubsub,
            connections: Arc::new(Connections::new(max_connections)),
            tasks: Tasks::default(),
            telemetry,
            cluster,
            clock: Clock::new(incarnation),
        })
    }

    /// A node that takes any number of clients.
    #[cfg(test)]
    pub(crate) fn unbounded() -> Arc<Self> {
        Self::new(usize::MAX, None)
    }
}
