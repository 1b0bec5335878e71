//! Errors of decoding and encoding.

use std::fmt;

use super::{event::MAX_NAME, json::Fault};

/// A message that does not decode. It closes its socket (1011) and no other.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// Text that is not JSON, or JSON that must not be forwarded.
    Json(Fault),
    /// JSON, but not a message; holds the expected shape.
    Shape(&'static str),
    /// A topic or an event that is not a string.
    Name(&'static str),
    /// A ref that is not a string, a number or null.
    Ref,
    /// A binary message whose first byte is not that of a push, nor of a user broadcast if the socket has them.
    Kind(u8),
    /// A user broadcast whose payload is neither bytes (0) nor JSON (1).
    Encoding(u8),
    /// A binary message that is shorter than its own sizes say.
    Truncated {
        /// Bytes that its header and the fields after it need.
        needs: usize,
        /// Bytes that it has.
        has: usize,
    },
    /// A ref, a topic or an event that is too long.
    NameTooLong {
        /// `join_ref`, `ref`, `topic` or `event`.
        field: &'static str,
        /// Its length in bytes, above [`MAX_NAME`].
        length: usize,
    },
    /// The named field of a binary message is not UTF-8, or a binary message that stands for text is not.
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
            Self::Encoding(encoding) => {
                write!(f, "user broadcast with the encoding {encoding}: expected 0, bytes, or 1, JSON")
            }
            Self::Truncated { needs, has } => {
                write!(f, "binary frame truncated: header needs {needs} bytes but the frame has {has}")
            }
            Self::NameTooLong { field, length } => {
                write!(f, "{field} of {length} bytes: expected at most {}", MAX_NAME)
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

/// A message that this version of the format cannot encode.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// Version 1 has no binary frames.
    BinaryForVersion1,
    /// The bytes of a user broadcast, for a socket without user broadcasts.
    NoUserBroadcasts,
    /// The bytes of a user broadcast as a reply, or as an event other than [`USER_BROADCAST`](super::USER_BROADCAST).
    NotABroadcast,
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
            Self::NoUserBroadcasts => {
                f.write_str("a socket without user broadcasts cannot be sent the bytes of one")
            }
            Self::NotABroadcast => {
                f.write_str("the bytes of a user broadcast can only be sent as the event `broadcast`")
            }
            Self::FieldTooLong { field, length } => {
                write!(f, "{field} of {length} bytes in a binary message: expected at most 255")
            }
        }
    }
}

impl std::error::Error for EncodeError {}
