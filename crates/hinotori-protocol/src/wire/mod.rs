//! The Phoenix Channels wire format: decodes and encodes one whole transport message.
//!
//! These are pure functions on whole frames: no I/O, no clock, no state. A transport passes in complete messages and
//! gets [`Frame`]s that are ready to be written. The version of the format is a property of the socket, chosen once
//! from the `vsn` parameter of its connect request ([`Serializer::negotiate`]).
//!
//! # Source
//! Phoenix `lib/phoenix/socket/serializers/`, `lib/phoenix/socket/message.ex`, 1.8.12.

mod binary;
pub mod compression;
mod error;
mod event;
mod frame;
mod json;
mod list;
pub mod longpoll;
mod message;
mod object;
#[cfg(any(test, fuzzing))]
pub mod oracle;
mod payload;
mod serializer;
mod share;
mod topic;
mod typed;
mod user_broadcast;
mod v1;
mod v2;

pub use error::{DecodeError, EncodeError};
pub use event::{
    DISCONNECT, HEARTBEAT, MAX_NAME, PHOENIX, PHX_CLOSE, PHX_ERROR, PHX_JOIN, PHX_LEAVE, PHX_REPLY,
    USER_BROADCAST,
};
pub use frame::{CloseCode, Frame, Opcode};
pub use json::{Fault, MAX_DEPTH};
pub use list::PayloadList;
pub use message::{Message, Outgoing, Ref, Status};
pub use object::PayloadObject;
pub use payload::{IntoPayload, InvalidPayload, Payload, PayloadError};
pub use serializer::Serializer;
pub use topic::{InvalidPattern, Pattern};
pub use typed::EventError;
pub use user_broadcast::UserBroadcast;
