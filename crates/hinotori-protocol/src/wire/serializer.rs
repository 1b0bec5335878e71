//! The two versions of the format, and how one is chosen for a socket.

use bytes::Bytes;
use bytestring::ByteString;

use super::{DecodeError, EncodeError, Frame, Message, Outgoing, binary, user_broadcast, v1, v2};

/// The version of the format that a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serializer {
    /// Objects, text only.
    V1,
    /// Arrays with a join_ref, and binary frames.
    V2,
    /// The same, and the user broadcasts of Supabase's clients.
    V2User,
}

impl Serializer {
    /// The serializer for a `vsn` parameter: `~> 1.0.0` or `~> 2.0.0`, or version 1 without one. `None` for any other.
    pub fn negotiate(vsn: Option<&str>) -> Option<Self> {
        let Some(vsn) = vsn else { return Some(Self::V1) };
        let (major, rest) = vsn.split_once(".0.")?;
        match (major, is_patch(rest)) {
            ("1", true) => Some(Self::V1),
            ("2", true) => Some(Self::V2),
            _ => None,
        }
    }

    /// The same version with user broadcasts, which version 1 does not have.
    #[must_use]
    pub fn with_user_broadcasts(self) -> Self {
        match self {
            Self::V1 => Self::V1,
            Self::V2 | Self::V2User => Self::V2User,
        }
    }

    /// Decodes a text message.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not a message of this version; the socket must then be closed.
    pub fn decode_text(self, text: &ByteString) -> Result<Message, DecodeError> {
        match self {
            Self::V1 => v1::decode(text),
            Self::V2 | Self::V2User => v2::decode(text),
        }
    }

    /// Decodes a binary message. Version 1 expects JSON in it, as Phoenix does.
    ///
    /// # Errors
    /// As [`Self::decode_text`].
    pub fn decode_binary(self, data: &Bytes) -> Result<Message, DecodeError> {
        match self {
            Self::V1 => {
                let text = ByteString::try_from(data.clone()).map_err(|_| DecodeError::Utf8("message"))?;
                self.decode_text(&text)
            }
            Self::V2User if user_broadcast::is_one(data) => user_broadcast::decode(data),
            Self::V2 | Self::V2User => binary::decode(data),
        }
    }

    /// Encodes a message as a frame.
    ///
    /// # Errors
    /// [`EncodeError`] if this version cannot encode it.
    pub fn encode(self, message: Outgoing<'_>) -> Result<Frame, EncodeError> {
        let (Outgoing::Reply { payload, .. }
        | Outgoing::Push { payload, .. }
        | Outgoing::Broadcast { payload, .. }) = message;
        match (self, payload.is_json()) {
            (Self::V2 | Self::V2User, true) => Ok(v2::encode(message, payload)),
            (Self::V2User, false) if payload.is_user_broadcast() => user_broadcast::encode(message, payload),
            (Self::V2, false) if payload.is_user_broadcast() => Err(EncodeError::NoUserBroadcasts),
            (Self::V2 | Self::V2User, false) => binary::encode(message, payload),
            (Self::V1, true) => Ok(v1::encode(message, payload)),
            (Self::V1, false) => Err(EncodeError::BinaryForVersion1),
        }
    }
}

/// Whether a text may follow `2.0.` in a version that is at least `2.0.0`, by the rules of semantic versioning.
fn is_patch(rest: &str) -> bool {
    let is_label = |label: &str| {
        label.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (number, pre) = rest.split_once('-').map_or((rest, None), |(number, pre)| (number, Some(pre)));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    // a pre-release, such as 2.0.0-rc, is less than its release
    let is_released = pre.is_none_or(|pre| is_label(pre) && number != "0");
    is_number && (number == "0" || !number.starts_with('0')) && is_released && build.is_none_or(is_label)
}

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
                    let frame = serializer.encode(message).unwrap().whole().cloned().map(Vec::from).unwrap();
                    assert_eq!(frame.len(), frame.capacity(), "{serializer:?} {message:?}");
                }
            }
        }
    }
}
