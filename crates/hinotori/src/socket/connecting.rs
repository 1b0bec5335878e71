//! A client whose socket is being connected.

use crate::{connections::Seat, node::Node, pubsub::DisconnectsSince};

/// What a socket has from before `connect` is called until it is open.
pub(crate) struct Connecting {
    /// Its place among the server's connections.
    pub(super) seat: Seat,
    /// The disconnects that must not miss it.
    pub(super) disconnects: DisconnectsSince,
}

impl Connecting {
    /// `None` if the server is full.
    pub(crate) fn begin(node: &Node) -> Option<Self> {
        let seat = node.connections.seat()?;
        Some(Self { seat, disconnects: node.pubsub.disconnects_since_now() })
    }
}
