//! Version 2 of the format (`vsn=2.0.0`), text frames: `[join_ref, ref, topic, event, payload]`.
//!
//! Elements after the fifth are ignored. Binary payloads travel in frames of their own: `binary.rs`.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/serializers/v2_json_serializer.ex`, 1.8.12.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use bytestring::ByteString;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

use super::{
    Message, Outgoing, Ref,
    event::PHX_REPLY,
    frame::Writer,
    message::Parts,
    serializer::{DecodeError, EncodeError},
    v1::write,
};

/// The first five elements of the array.
struct Incoming<'a>(Parts<'a>);

/// Text borrowed from the message where it has no escapes (serde borrows a `Cow` only when told so).
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Incoming<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = Incoming<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[join_ref, ref, topic, event, payload]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let short = |length| A::Error::invalid_length(length, &self);
                let parts = Parts {
                    join_ref: Some(elements.next_element()?.ok_or_else(|| short(0))?),
                    reference: elements.next_element()?.ok_or_else(|| short(1))?,
                    topic: elements.next_element::<Text<'de>>()?.ok_or_else(|| short(2))?.0,
                    event: elements.next_element::<Text<'de>>()?.ok_or_else(|| short(3))?.0,
                    payload: elements.next_element()?.ok_or_else(|| short(4))?,
                };
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Incoming(parts))
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}

pub(super) fn decode(text: &ByteString) -> Result<Message, DecodeError> {
    let Incoming(parts) = serde_json::from_str(text).map_err(DecodeError::Json)?;
    Message::read(text, parts)
}

pub(super) fn encode(out: &mut Writer, message: Outgoing<'_>, payload: &Bytes) -> Result<(), EncodeError> {
    let (join_ref, reference, topic, event, status) = match message {
        Outgoing::Reply { join_ref, reference, topic, status, .. } => {
            (join_ref, reference, topic, PHX_REPLY, Some(status))
        }
        Outgoing::Push { join_ref, reference, topic, event, .. } => (join_ref, reference, topic, event, None),
        Outgoing::Broadcast { topic, event, .. } => (&Ref::Null, &Ref::Null, topic, event, None),
    };
    out.bytes.push(b'[');
    write(&mut out.bytes, join_ref)?;
    out.bytes.push(b',');
    write(&mut out.bytes, reference)?;
    out.bytes.push(b',');
    write(&mut out.bytes, topic)?;
    out.bytes.push(b',');
    write(&mut out.bytes, event)?;
    out.bytes.push(b',');
    match status {
        Some(status) => {
            out.bytes.extend_from_slice(br#"{"status":""#);
            out.bytes.extend_from_slice(status.as_str().as_bytes());
            out.bytes.extend_from_slice(br#"","response":"#);
            out.payload(payload);
            out.bytes.push(b'}');
        }
        None => out.payload(payload),
    }
    out.bytes.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Frame, MAX_DEPTH, Opcode, Payload, Serializer, Status};

    fn decoded(text: impl Into<ByteString>) -> Result<Message, DecodeError> {
        decode(&text.into())
    }

    fn encoded(message: Outgoing<'_>, payload: &str) -> String {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let frame = Frame::build(Opcode::Text, 0, |out| encode(out, message, &payload)).unwrap();
        String::from_utf8(frame.into_message().concat()).unwrap()
    }

    #[test]
    fn elements_after_the_fifth_are_ignored_and_fewer_are_an_error() {
        let message = decoded(r#"["3","4","t","e",{"a":[1]},5,{"x":[]}]"#).unwrap();
        assert_eq!(message.payload.as_json(), Some(&br#"{"a":[1]}"#[..]));
        for text in ["[]", "[1,2]", r#"["3","4","t","e"]"#, "{not json", "", "null", r#"["3","4","t","e",{}"#]
        {
            assert!(decoded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refs_are_echoed_as_they_came() {
        for (sent, same) in
            [(r#""3""#, r#""3""#), ("3", "3"), ("3.0", "3.0"), ("null", "null"), (r#""\u00e9""#, "\"é\"")]
        {
            let message = decoded(format!(r#"[{sent},{sent},"t","e",{{}}]"#)).unwrap();
            let reply = Outgoing::Reply {
                join_ref: &message.join_ref,
                reference: &message.reference,
                topic: "t",
                status: Status::Error,
                payload: &Payload::empty(),
            };
            let expected = format!(r#"[{same},{same},"t","phx_reply",{{"status":"error","response":{{}}}}]"#);
            assert_eq!(encoded(reply, "{}"), expected);
        }
        assert!(matches!(decoded(r#"[[],"1","t","e",{}]"#), Err(DecodeError::Ref)));
        assert!(matches!(decoded(r#"["1",true,"t","e",{}]"#), Err(DecodeError::Ref)));
    }

    #[test]
    fn a_number_and_its_text_are_different_refs() {
        let message = decoded(r#"[3,"3","t","e",{}]"#).unwrap();
        assert_ne!(message.join_ref, message.reference);
        let other = decoded(r#"[3.0,3,"t","e",{}]"#).unwrap();
        assert_ne!(other.join_ref, other.reference);
        assert_eq!(other.reference, message.join_ref);
    }

    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        let deep = |depth: usize| format!(r#"[1,2,"t","e",{}{}]"#, "[".repeat(depth), "]".repeat(depth));
        assert!(decoded(deep(MAX_DEPTH - 1)).is_ok());
        assert!(matches!(decoded(deep(MAX_DEPTH)), Err(DecodeError::Unfit(_))));
        assert!(matches!(decoded(deep(400_000)), Err(DecodeError::Unfit(_))));
    }

    #[test]
    fn names_of_absurd_length_are_refused_by_their_field() {
        let long = "x".repeat(1025);
        for (message, field) in [
            (format!(r#"["{long}",1,"t","e",{{}}]"#), "join_ref"),
            (format!(r#"[1,"{long}","t","e",{{}}]"#), "ref"),
            (format!(r#"[1,1,"{long}","e",{{}}]"#), "topic"),
            (format!(r#"[1,1,"t","{long}",{{}}]"#), "event"),
        ] {
            let error = decoded(message).unwrap_err().to_string();
            assert_eq!(error, format!("{field} of 1025 bytes: expected at most 1024"));
        }
        assert!(decoded(format!(r#"[1,1,"{}","e",{{}}]"#, &long[1..])).is_ok());
    }

    #[test]
    fn a_message_costs_what_its_frame_holds_and_not_what_is_used_of_it() {
        let message = decoded(format!(r#"[1,1,"t","e",{{}},"{}"]"#, "x".repeat(10_000))).unwrap();
        assert!(message.cost() > 10_000);
    }

    #[test]
    fn a_payload_keeps_nothing_of_what_is_ignored_beside_it() {
        let (junk, value) = ("x".repeat(100_000), "y".repeat(40_000));
        let payload = format!(r#"{{"a":"{value}"}}"#);
        let v2 = ByteString::from(format!(r#"[1,1,"t","e",{payload},"{junk}"]"#));
        let v1 = format!(r#"{{"topic":"t","event":"e","ref":1,"payload":{payload},"x":"{junk}"}}"#).into();
        for (message, text) in [(decode(&v2), v2), (crate::wire::v1::decode(&v1), v1)] {
            let message = message.unwrap();
            let kept = message.payload.as_json().unwrap();
            assert_eq!(kept, payload.as_bytes());
            assert!(!text.as_bytes().as_ptr_range().contains(&kept.as_ptr()));
        }
    }

    /// Any text, and now and then text that looks like a message.
    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            r#"\[("[a-z]"|null|[0-9]),("1"|1),"[a-z:]*","\PC*",(\{\}|[0-9]|"\PC*")(,1)?\]"#
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = bytes.into();
            for serializer in [Serializer::V1, Serializer::V2] {
                let _ = serializer.decode_text(&bytes);
            }
        }

        #[test]
        fn any_text_decodes_or_fails_and_never_panics(text in texts()) {
            let text = ByteString::from(text);
            let _ = decode(&text);
            let _ = crate::wire::v1::decode(&text);
        }

        #[test]
        fn what_is_encoded_decodes_to_the_same(
            join_ref in proptest::option::of("\\PC{0,40}"),
            number in any::<i64>(),
            topic in "\\PC{0,40}",
            event in "\\PC{0,40}",
            value in any::<String>(),
        ) {
            let join_ref = join_ref.map_or(Ref::Null, |text| Ref::Text(text.into()));
            let number = serde_json::value::to_raw_value(&number).unwrap();
            let reference = Ref::from_json(&number).unwrap();
            let json = serde_json::json!({ "v": value }).to_string();
            let payload = Payload::from_json(json.clone().into());
            let push = Outgoing::Push {
                join_ref: &join_ref, reference: &reference, topic: &topic, event: &event, payload: &payload,
            };
            let expected =
                Message { join_ref: join_ref.clone(), reference: reference.clone(), topic: topic.clone().into(), event: event.clone().into(), payload: payload.clone(), weight: 0 };
            let unweighed = |message: Message| Message { weight: 0, ..message };
            prop_assert_eq!(&unweighed(decoded(encoded(push, &json)).unwrap()), &expected);

            let out = Serializer::V1.encode(push).unwrap().into_message().concat();
            let expected = Message { join_ref: Ref::Null, ..expected };
            prop_assert_eq!(unweighed(crate::wire::v1::decode(&String::from_utf8(out).unwrap().into()).unwrap()), expected);
        }
    }
}
