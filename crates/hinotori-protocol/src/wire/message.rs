//! One message of the protocol, whatever the version that carried it.

use std::borrow::Cow;

use bytestring::ByteString;
use serde::{Deserialize, Serialize, Serializer as SerdeSerializer};
use serde_json::value::RawValue;

use super::{Payload, json, serializer::DecodeError, share::share};

/// Bytes that a ref, a topic or an event may have. Binary frames allow 255; no client comes near.
pub const MAX_NAME: usize = 1024;

/// A `ref` or `join_ref`: chosen by the client, kept as it came and echoed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ref {
    /// None was given.
    #[default]
    Null,
    /// What every phoenix.js sends.
    Text(Box<str>),
    /// A JSON number, as the digits that were sent: `1` and `1.0` stay different.
    Number(Box<RawNumber>),
}

/// The digits of a JSON number.
#[derive(Debug, Clone)]
pub struct RawNumber(Box<RawValue>);

impl RawNumber {
    /// The digits as they were sent.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for RawNumber {
    fn eq(&self, other: &Self) -> bool {
        self.digits() == other.digits()
    }
}

impl Eq for RawNumber {}

impl Ref {
    /// A ref of text, as binary frames carry it: empty means none.
    pub fn from_binary(text: &str) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(text.into()) }
    }

    /// The ref that a JSON value spells, or none if the value is of another kind.
    pub fn from_json(raw: &RawValue) -> Option<Self> {
        match raw.get().as_bytes().first()? {
            b'"' => match raw.get().get(1..raw.get().len() - 1) {
                Some(plain) if !plain.contains('\\') => Some(Self::Text(plain.into())),
                _ => serde_json::from_str(raw.get()).ok().map(Self::Text),
            },
            b'n' => Some(Self::Null),
            b'-' | b'0'..=b'9' => Some(Self::Number(Box::new(RawNumber(raw.to_owned())))),
            _ => None,
        }
    }

    /// The ref as text, which is all that a binary frame can carry.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Text(text) => text,
            Self::Number(number) => number.digits(),
        }
    }
}

impl Serialize for Ref {
    fn serialize<S: SerdeSerializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => number.0.serialize(serializer),
        }
    }
}

/// A name out of a message: a part of it, unless it was written with escapes.
fn name(message: &ByteString, name: Cow<'_, str>) -> ByteString {
    match name {
        Cow::Borrowed(name) => message.slice_ref(name),
        Cow::Owned(name) => name.into(),
    }
}

/// What a message in JSON consists of, in either version; as an object it is version 1's.
#[derive(Deserialize)]
pub(super) struct Parts<'a> {
    #[serde(borrow)]
    pub(super) topic: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) payload: &'a RawValue,
    #[serde(borrow, rename = "ref")]
    pub(super) reference: &'a RawValue,
    #[serde(borrow, default)]
    pub(super) join_ref: Option<&'a RawValue>,
}

/// A message from a client. Its parts keep the frame in which they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The ref of the join that the sender believes in.
    pub join_ref: Ref,
    /// What a reply must carry.
    pub reference: Ref,
    /// The topic that it is about.
    pub topic: ByteString,
    /// The event, such as `new_message` or [`PHX_JOIN`](super::PHX_JOIN).
    pub event: ByteString,
    /// What it carries.
    pub payload: Payload,
    /// The length of the message in which it came, in bytes.
    pub weight: usize,
}

impl Message {
    /// The message of which these are the parts.
    pub(super) fn read(text: &ByteString, parts: Parts<'_>) -> Result<Self, DecodeError> {
        json::check(text.as_bytes()).map_err(DecodeError::Unfit)?;
        let message = Self {
            join_ref: parts.join_ref.map_or(Some(Ref::Null), Ref::from_json).ok_or(DecodeError::Ref)?,
            reference: Ref::from_json(parts.reference).ok_or(DecodeError::Ref)?,
            topic: name(text, parts.topic),
            event: name(text, parts.event),
            payload: Payload::from_json(share(text.as_bytes(), parts.payload.get().as_bytes())),
            weight: text.len(),
        };
        message.check_names()
    }

    /// Bytes that this message holds in memory, near enough to bound a queue of them.
    pub fn cost(&self) -> usize {
        size_of::<Self>() + self.weight
    }

    /// Whether its names are not absurd: a socket remembers them for as long as it is joined.
    fn check_names(self) -> Result<Self, DecodeError> {
        let refs = [("join_ref", self.join_ref.as_text()), ("ref", self.reference.as_text())];
        for (field, name) in refs.into_iter().chain([("topic", &*self.topic), ("event", &*self.event)]) {
            if name.len() > MAX_NAME {
                return Err(DecodeError::NameTooLong { field, length: name.len() });
            }
        }
        Ok(self)
    }
}

/// Whether a reply says that it worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// phoenix.js calls the hooks of `receive("ok", …)`.
    Ok,
    /// phoenix.js calls the hooks of `receive("error", …)`.
    Error,
}

impl Status {
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
        /// [`Ref::Null`], but the join_ref once more for `phx_close` and `phx_error`.
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
