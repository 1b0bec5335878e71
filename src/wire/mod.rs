//! The Phoenix Channels wire format: what one whole transport message says, and back.
//!
//! Pure functions on whole frames: no I/O, no clock, no state. A transport hands in complete messages and gets
//! [`Frame`]s that are ready to be written. The version of the format is a property of the socket, chosen once from the
//! `vsn` parameter of its connect request ([`Serializer::negotiate`]).
//!
//! # Source
//! Phoenix `lib/phoenix/socket/serializers/`, `lib/phoenix/socket/message.ex`, 1.8.12.

mod binary;
#[cfg(test)]
mod compression;
mod event;
mod frame;
mod json;
mod longpoll;
mod message;
mod payload;
mod serializer;
mod share;
mod topic;
mod v1;
mod v2;

pub(crate) use event::{DISCONNECT, HEARTBEAT, PHOENIX, PHX_CLOSE, PHX_ERROR, PHX_JOIN, PHX_LEAVE};
pub(crate) use frame::{CloseCode, Frame, Opcode};
pub(crate) use json::MAX_DEPTH;
pub(crate) use longpoll::{lines, part};
pub use message::Status;
pub(crate) use message::{MAX_NAME, Message, Outgoing, Ref};
pub use payload::{IntoPayload, InvalidPayload, Payload, PayloadError};
pub(crate) use serializer::Serializer;
pub(crate) use share::is_small_part;
pub use topic::{InvalidPattern, Pattern};
