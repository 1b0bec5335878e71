//! Version 2 of the format, binary frames: a short header and a payload of bytes.
//!
//! # Binary layout
//! Every size is one unsigned byte, so a field holds at most 255 bytes.
//!
//! | message | bytes |
//! |---|---|
//! | push of a client | `0`, sizes of join_ref, ref, topic, event, then these four, then the payload |
//! | push of the server | `0`, sizes of join_ref, topic, event, then these three, then the payload |
//! | reply | `1`, sizes of join_ref, ref, topic, status, then these four, then the payload |
//! | broadcast | `2`, sizes of topic, event, then these two, then the payload |
//!
//! # Source
//! Phoenix `lib/phoenix/socket/serializers/v2_json_serializer.ex`, 1.8.12.

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    Frame, Message, Opcode, Outgoing, Payload, Ref,
    error::{DecodeError, EncodeError},
};

/// First byte of a push, in either direction.
const PUSH: u8 = 0;
/// First byte of a reply.
const REPLY: u8 = 1;
/// First byte of a broadcast.
const BROADCAST: u8 = 2;

/// The kind and the four sizes of a client's push.
const PUSH_HEADER: usize = 5;

pub(super) fn decode(data: &Bytes) -> Result<Message, DecodeError> {
    let has = data.len();
    let Some((header, _)) = data.split_first_chunk::<PUSH_HEADER>() else {
        return Err(match data.first() {
            Some(&kind) if kind != PUSH => DecodeError::Kind(kind),
            _ => DecodeError::Truncated { needs: PUSH_HEADER, has },
        });
    };
    let [kind, sizes @ ..] = header.map(usize::from);
    if kind != usize::from(PUSH) {
        return Err(DecodeError::Kind(header[0]));
    }
    let needs = PUSH_HEADER + sizes.iter().sum::<usize>();
    if has < needs {
        return Err(DecodeError::Truncated { needs, has });
    }
    let mut at = PUSH_HEADER;
    let mut field = |name, size: usize| {
        let bytes = data.slice(at..at + size);
        at += size;
        ByteString::try_from(bytes).map_err(|_| DecodeError::Utf8(name))
    };
    Ok(Message {
        // an empty ref is a text too: Phoenix has no null here either
        join_ref: Ref::Text((&*field("join_ref", sizes[0])?).into()),
        reference: Ref::Text((&*field("ref", sizes[1])?).into()),
        topic: field("topic", sizes[2])?,
        event: field("event", sizes[3])?,
        payload: Payload::binary(data.slice(needs..)),
        weight: has,
    })
}

pub(super) fn encode(message: Outgoing<'_>, data: &Payload) -> Result<Frame, EncodeError> {
    match message {
        Outgoing::Reply { join_ref, reference, topic, status, .. } => {
            let (join_ref, reference) = (join_ref.as_text(), reference.as_text());
            let status = status.as_str();
            frame(
                REPLY,
                [("join_ref", join_ref), ("ref", reference), ("topic", topic), ("status", status)],
                data,
            )
        }
        Outgoing::Push { join_ref, topic, event, .. } => {
            frame(PUSH, [("join_ref", join_ref.as_text()), ("topic", topic), ("event", event)], data)
        }
        Outgoing::Broadcast { topic, event, .. } => {
            frame(BROADCAST, [("topic", topic), ("event", event)], data)
        }
    }
}

/// The kind, the sizes of all fields, the fields, and the payload.
fn frame<const N: usize>(
    kind: u8,
    fields: [(&'static str, &str); N],
    data: &Payload,
) -> Result<Frame, EncodeError> {
    let mut sizes = [0; N];
    for (size, (field, text)) in sizes.iter_mut().zip(fields) {
        let length = text.len();
        *size = u8::try_from(length).map_err(|_| EncodeError::FieldTooLong { field, length })?;
    }
    let around = 1 + N + sizes.iter().map(|size| usize::from(*size)).sum::<usize>();
    let before = |out: &mut Vec<u8>| {
        out.push(kind);
        out.extend_from_slice(&sizes);
        for (_, text) in fields {
            out.extend_from_slice(text.as_bytes());
        }
    };
    Ok(Frame::build(Opcode::Binary, around, before, data, |_| {}))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Serializer, Status};

    /// The push of the recordings: join_ref "3", ref "4", topic "ref:a", event "bin".
    const BIN: &[u8] = b"\0\x01\x01\x05\x0334ref:abin\0\x01\xffdata";

    fn encoded(message: Outgoing<'_>, data: &[u8]) -> Vec<u8> {
        let frame = encode(message, &Payload::binary(data.to_vec())).unwrap();
        frame.into_message().concat()
    }

    #[test]
    fn a_push_is_read_field_by_field() {
        let message = decode(&Bytes::from_static(BIN)).unwrap();
        assert_eq!(message.join_ref, Ref::Text("3".into()));
        assert_eq!(message.reference, Ref::Text("4".into()));
        assert_eq!((&*message.topic, &*message.event), ("ref:a", "bin"));
        assert_eq!(message.payload.as_binary(), Some(&b"\0\x01\xffdata"[..]));
    }

    #[test]
    fn empty_refs_are_texts_and_not_null() {
        let message = decode(&Bytes::from_static(b"\0\0\0\x06\x03room:abin\x01")).unwrap();
        assert_eq!((message.join_ref, message.reference), (Ref::Text("".into()), Ref::Text("".into())));
        assert_eq!((&*message.topic, &*message.event), ("room:a", "bin"));
    }

    #[test]
    fn client_push_cut_anywhere_in_its_header_is_truncated_and_never_panics() {
        let header = BIN.len() - 7;
        for length in 0..header {
            let cut = Bytes::copy_from_slice(&BIN[..length]);
            assert!(
                matches!(decode(&cut), Err(DecodeError::Truncated { has, .. }) if has == length),
                "{length}"
            );
        }
        assert_eq!(decode(&Bytes::copy_from_slice(&BIN[..header])).unwrap().payload.len(), 0);
        let error = decode(&Bytes::from_static(b"\0\x01\x01")).unwrap_err().to_string();
        assert_eq!(error, "binary frame truncated: header needs 5 bytes but the frame has 3");
    }

    #[test]
    fn other_kinds_and_text_that_is_not_utf8_are_refused() {
        assert!(matches!(decode(&Bytes::from_static(b"\x05\x01\x01\x01")), Err(DecodeError::Kind(5))));
        assert!(matches!(decode(&Bytes::from_static(b"\x01\0\0\0\0")), Err(DecodeError::Kind(1))));
        assert!(matches!(decode(&Bytes::from_static(b"\0\0\0\x01\0\xff")), Err(DecodeError::Utf8("topic"))));
    }

    #[test]
    fn replies_pushes_and_broadcasts_have_the_layout_of_the_recordings() {
        let (three, four) = (Ref::Text("3".into()), Ref::Text("4".into()));
        let payload = &Payload::binary(vec![]);
        let reply = Outgoing::Reply {
            join_ref: &three,
            reference: &four,
            topic: "ref:a",
            status: Status::Ok,
            payload,
        };
        assert_eq!(encoded(reply, b"x"), b"\x01\x01\x01\x05\x0234ref:aokx");
        let push =
            Outgoing::Push { join_ref: &three, reference: &Ref::Null, topic: "ref:a", event: "e", payload };
        assert_eq!(encoded(push, b"x"), b"\0\x01\x05\x013ref:aex");
        let broadcast = Outgoing::Broadcast { topic: "ref:a", event: "e", payload };
        assert_eq!(encoded(broadcast, b"x"), b"\x02\x05\x01ref:aex");
    }

    #[test]
    fn a_field_of_more_than_255_bytes_is_an_error_that_names_it() {
        let topic = "t".repeat(256);
        let broadcast = Outgoing::Broadcast { topic: &topic, event: "e", payload: &Payload::binary(vec![]) };
        let error = Serializer::V2.encode(broadcast).unwrap_err().to_string();
        assert_eq!(error, "topic of 256 bytes in a binary message: expected at most 255");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&Bytes::from(bytes));
        }
    }
}
