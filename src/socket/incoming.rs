//! What a client says on a WebSocket, frames put together.

use bytes::Bytes;

use crate::{telemetry::Closed, wire::CloseCode};

/// What a transport read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(Bytes),
    Binary(Bytes),
    Ping(Bytes),
    /// Says nothing.
    Pong,
    /// The client closes; an empty close frame has no code.
    Close(Option<CloseCode>),
    /// The client broke the rules of the transport; nothing that follows can be read.
    Broken(Closed),
}
