//! What an engine between nodes has to do: carry frames.

use std::{fmt, sync::Arc};

use bytes::Bytes;
pub use futures_util::future::BoxFuture;

/// Identifies one start of one node: a random number, called its *incarnation*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// 16 hexadecimal digits, as in the log and in the names of an engine's channels.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The node that an adapter runs for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Me {
    /// This start of the node. Frames for it alone are published with it.
    pub id: NodeId,
    /// The name from [`EndpointBuilder::node_name`](crate::EndpointBuilder::node_name), for the log and the engine's list of clients.
    pub name: Arc<str>,
}

impl Me {
    /// A node, as an endpoint has it. Useful in tests of an adapter.
    #[must_use]
    pub fn new(id: NodeId, name: &str) -> Self {
        Self { id, name: name.into() }
    }
}

/// An engine that connects nodes, such as Redis or Postgres: see [`cluster`](super).
///
/// A frame is any number of bytes, up to several MiB, that the engine carries unread. An adapter may lose frames,
/// deliver them twice or out of order: the cluster notices. But it must never mix up the bytes of frames, and frames of
/// one node should usually arrive in the order in which they were published: late ones are dropped.
///
/// `hinotori::testing::adapter::conformance` and `nodes`, with the feature `testing`, check an adapter.
pub trait Adapter: Send + Sync + 'static {
    /// Queues a frame for all nodes, this one included: a node recognizes a dead connection by frames of its own that
    /// do not come back.
    ///
    /// It is called on whatever thread broadcasts, under a lock, so it must neither wait nor broadcast. Use a
    /// [`Queue`](super::Queue).
    ///
    /// # Errors
    /// [`Full`] if the queue has reached its limit. The frame is dropped and counted.
    fn publish(&self, frame: Bytes) -> Result<(), Full>;

    /// Queues a frame for one node. By default it is published to all, and the others ignore it.
    ///
    /// # Errors
    /// Same as [`publish`](Self::publish).
    fn publish_to(&self, node: NodeId, frame: Bytes) -> Result<(), Full> {
        let _ = node;
        self.publish(frame)
    }

    /// Connects to the engine, sends what is queued, and passes every frame that arrives to `sink`. If the connection is
    /// lost, connects again, for as long as it takes. Called once, on a thread with a tokio runtime of its own that also does the
    /// cluster's periodic work, so the future must not block. It is dropped when the endpoint ends.
    fn run(self: Arc<Self>, me: Me, sink: Arc<dyn Sink>) -> BoxFuture<'static, ()>;

    /// Drops the connection and connects again: nothing comes back through it, whatever the engine's client thinks.
    fn reconnect(&self);

    /// Completes when everything that has been queued so far is given to the engine. Called at the end, with a time
    /// limit, so that other nodes hear of it.
    fn flush(&self) -> BoxFuture<'_, ()>;
}

/// Where an adapter delivers. Its methods never wait.
pub trait Sink: Send + Sync {
    /// A frame has arrived, of this node or another.
    fn frame(&self, frame: Bytes);

    /// The connection is there: from now on, every frame that any node publishes arrives, and what is queued is sent. To be
    /// called after the engine has confirmed the subscription.
    fn up(&self);

    /// The connection is gone, or there is none yet. May be called again for each attempt.
    fn down(&self, why: Why);
}

/// The queue of an adapter is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue to other nodes is full")
    }
}

impl std::error::Error for Full {}

/// Why there is no connection to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It could not be made: the error.
    Connect(String),
    /// It was there and is lost: the error.
    Lost(String),
    /// This node's own frames did not come back through it.
    Silent,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Lost(error) => write!(f, "connection lost: {error}"),
            Self::Silent => f.write_str("nothing comes back through the connection"),
        }
    }
}
