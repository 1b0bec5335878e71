//! One message of the protocol, in any version.

use std::borrow::Cow;

use bytestring::ByteString;
use serde::Serialize;

use super::{
    HEARTBEAT, PHOENIX, Payload,
    error::DecodeError,
    event::MAX_NAME,
    json::{self, Value},
    share::share,
};

/// A `ref` or `join_ref`: chosen by the client, kept and echoed unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ref {
    /// None was given.
    #[default]
    Null,
    /// What every phoenix.js sends.
    Text(Box<str>),
    /// A JSON number, as the digits that were sent: `1` and `1.0` stay different.
    Number(Box<str>),
}

impl Ref {
    /// The ref in a JSON value.
    pub(super) fn from_json(field: &'static str, value: Value<'_>) -> Result<Self, DecodeError> {
        let json = value.json;
        let reference = match json.as_bytes() {
            [b'"', ..] => Self::Text(value.text().ok_or(DecodeError::Ref)?.into()),
            [b'n', ..] => Self::Null,
            [b'-' | b'0'..=b'9', ..] => Self::Number(json.into()),
            _ => return Err(DecodeError::Ref),
        };
        judge_length(field, reference.as_text())?;
        Ok(reference)
    }

    /// Writes the ref as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Text(text) => json::write(out, text),
            Self::Number(digits) => out.extend_from_slice(digits.as_bytes()),
        }
    }

    /// The length of the written ref, unless something must be escaped.
    pub(super) fn json_len(&self) -> usize {
        match self {
            Self::Null => "null".len(),
            Self::Text(text) => text.len() + 2,
            Self::Number(digits) => digits.len(),
        }
    }

    /// The ref as text, which is all that a binary frame can carry.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Text(text) => text,
            Self::Number(digits) => digits,
        }
    }
}

/// The parts of a JSON message, in either version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) join_ref: Value<'a>,
    pub(super) reference: Value<'a>,
    pub(super) topic: Value<'a>,
    pub(super) event: Value<'a>,
    pub(super) payload: Value<'a>,
}

/// A name in a message: a part of the message, unless it has escapes.
fn name(message: &ByteString, field: &'static str, value: Value<'_>) -> Result<ByteString, DecodeError> {
    let name = value.text().ok_or(DecodeError::Name(field))?;
    judge_length(field, &name)?;
    match name {
        Cow::Borrowed(name) => Ok(message.slice_ref(name)),
        Cow::Owned(name) => Ok(name.into()),
    }
}

/// Limits names, because a socket remembers them for as long as it is joined.
fn judge_length(field: &'static str, name: &str) -> Result<(), DecodeError> {
    let length = name.len();
    if length > MAX_NAME { Err(DecodeError::NameTooLong { field, length }) } else { Ok(()) }
}

/// A message from a client. Its parts keep the frame alive in which they arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The ref of the join that the message belongs to.
    pub join_ref: Ref,
    /// The ref that a reply must carry.
    pub reference: Ref,
    /// The topic.
    pub topic: ByteString,
    /// The event, such as `new_message` or [`PHX_JOIN`](super::PHX_JOIN).
    pub event: ByteString,
    /// What it carries.
    pub payload: Payload,
    /// The length of the received message, in bytes.
    pub weight: usize,
}

impl Message {
    /// Builds the message from its parts.
    pub(super) fn read(text: &ByteString, parts: Parts<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            join_ref: Ref::from_json("join_ref", parts.join_ref)?,
            reference: Ref::from_json("ref", parts.reference)?,
            topic: name(text, "topic", parts.topic)?,
            event: name(text, "event", parts.event)?,
            payload: match parts.payload.json {
                "{}" => Payload::empty(),
                json => Payload::from_json(share(text.as_bytes(), json.as_bytes())),
            },
            weight: text.len(),
        })
    }

    /// A heartbeat with this ref.
    pub(super) fn heartbeat(reference: &str, weight: usize) -> Self {
        Self {
            join_ref: Ref::Null,
            reference: Ref::Text(reference.into()),
            topic: ByteString::from_static(PHOENIX),
            event: ByteString::from_static(HEARTBEAT),
            payload: Payload::empty(),
            weight,
        }
    }

    /// Bytes that this message takes in memory, close enough to limit a queue.
    pub fn cost(&self) -> usize {
        size_of::<Self>() + self.weight
    }
}

/// The status of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// phoenix.js calls the hooks of `receive("ok", …)`.
    Ok,
    /// phoenix.js calls the hooks of `receive("error", …)`.
    Error,
}

impl Status {
    /// The text before the response in the payload of a reply.
    pub(super) fn opening(self) -> &'static str {
        match self {
            Self::Ok => r#"{"status":"ok","response":"#,
            Self::Error => r#"{"status":"error","response":"#,
        }
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// A message to a client.
#[derive(Debug, Clone, Copy)]
pub enum Outgoing<'a> {
    /// The answer to a message.
    Reply {
        /// The join_ref of the channel that answers. Version 1 does not carry it.
        join_ref: &'a Ref,
        /// The ref of the message that is answered.
        reference: &'a Ref,
        /// The topic of that message.
        topic: &'a str,
        /// Whether it succeeded.
        status: Status,
        /// The `response`.
        payload: &'a Payload,
    },
    /// A message to one client.
    Push {
        /// The join_ref of the channel that pushes. Version 1 does not carry it.
        join_ref: &'a Ref,
        /// [`Ref::Null`], except for `phx_close` and `phx_error`, where it is the join_ref again.
        reference: &'a Ref,
        /// The topic of the channel.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// What it carries.
        payload: &'a Payload,
    },
    /// The same message to every subscriber of a topic, which has no refs.
    Broadcast {
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// What it carries.
        payload: &'a Payload,
    },
}
