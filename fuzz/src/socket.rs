//! What the transport reads, under the name by which it asks for it.

#[path = "../../src/socket/incoming.rs"]
mod incoming;

pub(crate) use incoming::Incoming;
