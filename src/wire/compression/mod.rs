//! Compressed messages (`permessage-deflate`, RFC 7692).
//!
//! An [`Agreement`] is made in the handshake. From then on [`deflate`] compresses messages for a client, and an
//! [`Inflate`] reads the client's.
//!
//! No message that the server sends refers to one before it (`server_no_context_takeover`, in every answer): a broadcast
//! is compressed once, and the same bytes go to all receivers whose window is of the same size.
//!
//! # Memory
//! | what | bytes |
//! |---|---|
//! | a connection, idle or not, whose client offers `client_no_context_takeover` | 32 |
//! | any other connection | 32, and what its client has sent compressed, up to the client's window: 32 KiB at most |
//! | a thread, for each [`Window`] to which it has compressed | 194 to 320 KiB |
//! | a thread that has inflated | 42 KiB |
//!
//! # Source
//! RFC 7692; Bandit `lib/bandit/websocket/permessage_deflate.ex`, 1.12.5, for the answers to offers.

mod agreement;
mod deflate;
mod inflate;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod tests;

pub(crate) use agreement::Agreement;
pub(crate) use deflate::{Incompressible, Window, deflate};
pub(crate) use inflate::{Inflate, InflateError};
