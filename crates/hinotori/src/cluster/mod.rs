//! Several nodes as one server: broadcasts, presences and disconnects reach the clients of all of them.
//!
//! Nodes do not connect to each other. Each connects to an engine that is there already, such as Redis or Postgres, by
//! an [`Adapter`]; the crates `hinotori-redis` and `hinotori-postgres` have one each. An endpoint without an adapter is
//! a server of one node.

mod adapter;
mod queue;

pub use adapter::{Adapter, BoxFuture, Full, Me, NodeId, Sink, Why};
pub use queue::{Queue, To};
