//! Compressed messages (`permessage-deflate`, RFC 7692).
//!
//! An [`Agreement`] is made in the handshake. From then on [`Frame::deflated`](super::Frame::deflated) compresses
//! messages for the client, and an [`Inflate`], in [`Frames`](crate::frames::Frames), reads the client's.
//!
//! No message of the server refers to an earlier one (`server_no_context_takeover` is in every answer). So a broadcast
//! is compressed once, and the same bytes go to all receivers whose [`Window`] has the same size.
//!
//! # Memory
//! | what | bytes |
//! |---|---|
//! | a connection, idle or not, whose client offers `client_no_context_takeover` | 32 |
//! | any other connection | 32, and what its client has sent compressed, up to the client's window: at most 32 KiB |
//! | a thread, per [`Window`] that it has compressed for | 194 to 320 KiB |
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

pub use agreement::Agreement;
pub use deflate::Window;
pub(super) use deflate::deflate;
pub use inflate::{Inflate, InflateError};
