//! The two versions of the format, and how a socket gets one of them.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::{Frame, Message, Outgoing, binary, json::Fault, v1, v2};

/// The version of the format that a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serializer {
    /// Objects, text only.
    V1,
    /// Arrays with a join_ref, and binary frames.
    V2,
}

impl Serializer {
    /// The serializer for a `vsn` parameter: `~> 1.0.0` or `~> 2.0.0`, version 1 if there is none; otherwise nothing.
    pub fn negotiate(vsn: Option<&str>) -> Option<Self> {
        let Some(vsn) = vsn else { return Some(Self::V1) };
        let (major, rest) = vsn.split_once(".0.")?;
        match (major, is_patch(rest)) {
            ("1", true) => Some(Self::V1),
            ("2", true) => Some(Self::V2),
            _ => None,
        }
    }

    /// What a text message says.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not a message of this version; the socket is then to be closed.
    pub fn decode_text(self, text: &ByteString) -> Result<Message, DecodeError> {
        match self {
            Self::V1 => v1::decode(text),
            Self::V2 => v2::decode(text),
        }
    }

    /// What a binary message says. Version 1 takes JSON in it, as Phoenix does.
    ///
    /// # Errors
    /// As [`Self::decode_text`].
    pub fn decode_binary(self, data: &Bytes) -> Result<Message, DecodeError> {
        match self {
            Self::V1 => {
                let text = ByteString::try_from(data.clone()).map_err(|_| DecodeError::Utf8("message"))?;
                self.decode_text(&text)
            }
            Self::V2 => binary::decode(data),
        }
    }

    /// The frame of a message.
    ///
    /// # Errors
    /// [`EncodeError`] if this version cannot carry it.
    pub fn encode(self, message: Outgoing<'_>) -> Result<Frame, EncodeError> {
        let (Outgoing::Reply { payload, .. }
        | Outgoing::Push { payload, .. }
        | Outgoing::Broadcast { payload, .. }) = message;
        let data = payload.bytes();
        match (self, payload.as_binary().is_some()) {
            (Self::V2, true) => binary::encode(message, data),
            (Self::V2, false) => Ok(v2::encode(message, data)),
            (Self::V1, false) => Ok(v1::encode(message, data)),
            (Self::V1, true) => Err(EncodeError::BinaryForVersion1),
        }
    }
}

/// Whether a text can follow `2.0.` in a version that is at least `2.0.0`, by the rules of semantic versioning.
fn is_patch(rest: &str) -> bool {
    let is_label = |label: &str| {
        label.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (number, pre) = rest.split_once('-').map_or((rest, None), |(number, pre)| (number, Some(pre)));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    // what comes before a release, such as 2.0.0-rc, is less than it
    let is_released = pre.is_none_or(|pre| is_label(pre) && number != "0");
    is_number && (number == "0" || !number.starts_with('0')) && is_released && build.is_none_or(is_label)
}

/// A message that does not decode. It ends its socket (close 1011) and no other.
#[derive(Debug)]
pub enum DecodeError {
    /// Text that is not JSON, or JSON that must not be passed on.
    Json(Fault),
    /// JSON, but not a message: what would be one.
    Shape(&'static str),
    /// A topic or an event that is no string.
    Name(&'static str),
    /// A ref that is neither string, number nor null.
    Ref,
    /// A binary message whose first byte is not that of a push.
    Kind(u8),
    /// A binary message shorter than its own sizes say.
    Truncated {
        /// Bytes that its header and the fields after it need.
        needs: usize,
        /// Bytes that it has.
        has: usize,
    },
    /// A ref, a topic or an event of absurd length.
    NameTooLong {
        /// `join_ref`, `ref`, `topic` or `event`.
        field: &'static str,
        /// Its length in bytes, above [`MAX_NAME`](super::MAX_NAME).
        length: usize,
    },
    /// A binary message that stands for text, or the named field of another one, is not UTF-8.
    Utf8(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fault) => fault.fmt(f),
            Self::Shape(shape) => write!(f, "not a message: expected {shape}"),
            Self::Name(field) => write!(f, "expected a string as {field}"),
            Self::Ref => f.write_str("expected a string, a number or null as join_ref and ref"),
            Self::Kind(kind) => write!(f, "binary frame of kind {kind}: expected 0, a push"),
            Self::Truncated { needs, has } => {
                write!(f, "binary frame truncated: header needs {needs} bytes but the frame has {has}")
            }
            Self::NameTooLong { field, length } => {
                write!(f, "{field} of {length} bytes: expected at most {}", super::MAX_NAME)
            }
            Self::Utf8(field) => write!(f, "binary frame whose {field} is not UTF-8"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        Self::Json(fault)
    }
}

/// A message that this version of the format cannot carry.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// Version 1 has no binary frames.
    BinaryForVersion1,
    /// A binary frame has one byte for the length of each field.
    FieldTooLong {
        /// The name of the field.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BinaryForVersion1 => f.write_str("a client of version 1 cannot be sent a binary payload"),
            Self::FieldTooLong { field, length } => {
                write!(f, "{field} of {length} bytes in a binary message: expected at most 255")
            }
        }
    }
}

impl std::error::Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Payload, Ref, Status};

    #[test]
    fn vsn_chooses_the_version_as_elixirs_requirement_does() {
        assert_eq!(Serializer::negotiate(None), Some(Serializer::V1));
        for (vsn, serializer) in [
            ("1.0.0", Some(Serializer::V1)),
            ("1.0.9", Some(Serializer::V1)),
            ("2.0.0", Some(Serializer::V2)),
            ("2.0.7", Some(Serializer::V2)),
            ("2.1.0", None),
            ("3.0.0", None),
            ("2", None),
            ("2.0", None),
            ("2.0.", None),
            ("2.0.x", None),
            ("2.0.01", None),
            ("2.0.7-", None),
            ("2.0.0-rc", None),
            ("2.0.1-rc.1", Some(Serializer::V2)),
            ("2.0.0+build", Some(Serializer::V2)),
            ("12.0.0", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(Serializer::negotiate(Some(vsn)), serializer, "{vsn}");
        }
    }

    #[test]
    fn a_frame_is_one_allocation_of_its_size() {
        let (json, binary) = (Payload::empty(), Payload::binary(vec![0; 300]));
        for (serializer, payload) in
            [(Serializer::V1, &json), (Serializer::V2, &json), (Serializer::V2, &binary)]
        {
            let (topic, event, status) = ("room:1", "shout", Status::Error);
            for reference in &[Ref::Null, Ref::Text("7".into()), Ref::Number("7".into())] {
                for message in [
                    Outgoing::Reply { join_ref: &Ref::Null, reference, topic, status, payload },
                    Outgoing::Push { join_ref: reference, reference, topic, event, payload },
                    Outgoing::Broadcast { topic, event, payload },
                ] {
                    let frame = Vec::from(serializer.encode(message).unwrap().take(usize::MAX));
                    assert_eq!(frame.len(), frame.capacity(), "{serializer:?} {message:?}");
                }
            }
        }
    }
}
