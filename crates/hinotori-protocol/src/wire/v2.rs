//! Version 2 of the format (`vsn=2.0.0`), text frames: `[join_ref, ref, topic, event, payload]`.
//!
//! Elements after the fifth are ignored. Binary payloads have their own frames: `binary.rs`.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/serializers/v2_json_serializer.ex`, 1.8.12.

use bytestring::ByteString;

use super::{
    Frame, Message, Opcode, Outgoing, Payload, Ref,
    error::DecodeError,
    event::PHX_REPLY,
    json::{self, Reader, Value},
    message::Parts,
};

/// The shape of a message.
const SHAPE: &str = "[join_ref, ref, topic, event, payload]";

pub(super) fn decode(text: &ByteString) -> Result<Message, DecodeError> {
    const OTHER: DecodeError = DecodeError::Shape(SHAPE);
    if let Some(reference) = heartbeat(text) {
        return Ok(Message::heartbeat(reference, text.len()));
    }
    let mut elements = Reader::array(text)?.ok_or(OTHER)?;
    let mut first = [Value::NULL; 5];
    for value in &mut first {
        *value = elements.element()?.ok_or(OTHER)?;
    }
    while elements.element()?.is_some() {}
    let [join_ref, reference, topic, event, payload] = first;
    Message::read(text, Parts { join_ref, reference, topic, event, payload })
}

/// The ref of a heartbeat, if the text is exactly what phoenix.js sends. An idle client sends nothing else.
fn heartbeat(json: &str) -> Option<&str> {
    let reference = json.strip_prefix(r#"[null,""#)?.strip_suffix(r#"","phoenix","heartbeat",{}]"#)?;
    let is_count = reference.len() < 20 && reference.bytes().all(|byte| byte.is_ascii_digit());
    is_count.then_some(reference)
}

pub(super) fn encode(message: Outgoing<'_>, payload: &Payload) -> Frame {
    let (join_ref, reference, topic, event, status) = match message {
        Outgoing::Reply { join_ref, reference, topic, status, .. } => {
            (join_ref, reference, topic, PHX_REPLY, Some(status))
        }
        Outgoing::Push { join_ref, reference, topic, event, .. } => (join_ref, reference, topic, event, None),
        Outgoing::Broadcast { topic, event, .. } => (&Ref::Null, &Ref::Null, topic, event, None),
    };
    let (opening, closing) = status.map_or(("", "]"), |status| (status.opening(), "}]"));
    let names = join_ref.json_len() + reference.json_len() + topic.len() + event.len();
    let around = names + r#"[,,"","","#.len() + opening.len() + closing.len();
    let before = |out: &mut Vec<u8>| {
        out.push(b'[');
        join_ref.write(out);
        out.push(b',');
        reference.write(out);
        out.push(b',');
        json::write(out, topic);
        out.push(b',');
        json::write(out, event);
        out.push(b',');
        out.extend_from_slice(opening.as_bytes());
    };
    Frame::build(Opcode::Text, around, before, payload, |out| out.extend_from_slice(closing.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use bytes::Bytes;

    use super::*;
    use crate::wire::{MAX_DEPTH, Serializer, Status, json::Fault};

    fn decoded(text: impl Into<String>) -> Result<Message, DecodeError> {
        Serializer::V2.decode_text(&ByteString::from(text.into()))
    }

    fn encoded(message: Outgoing<'_>, payload: &str) -> String {
        let frame = encode(message, &Payload::from_json(Bytes::copy_from_slice(payload.as_bytes())));
        String::from_utf8(frame.into_message().concat()).unwrap()
    }

    #[test]
    fn elements_after_the_fifth_are_ignored_and_fewer_are_an_error() {
        let message = decoded(r#"["3","4","t","e",{"a":[1]},5,{"x":[]}]"#).unwrap();
        assert_eq!(message.payload.as_json().as_deref(), Some(&br#"{"a":[1]}"#[..]));
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
        assert!(matches!(decoded(deep(MAX_DEPTH)), Err(DecodeError::Json(Fault::TooDeep))));
        assert!(matches!(decoded(deep(400_000)), Err(DecodeError::Json(Fault::TooDeep))));
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
        let v2 = format!(r#"[1,1,"t","e",{payload},"{junk}"]"#);
        let v1 = format!(r#"{{"topic":"t","event":"e","ref":1,"payload":{payload},"x":"{junk}"}}"#);
        for (serializer, text) in [(Serializer::V2, v2), (Serializer::V1, v1)] {
            let text = ByteString::from(text);
            let message = serializer.decode_text(&text);
            let message = message.unwrap();
            let kept = message.payload.as_json().unwrap();
            assert_eq!(&*kept, payload.as_bytes());
            assert!(!text.as_bytes().as_ptr_range().contains(&kept.as_ptr()));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = ByteString::from(&*String::from_utf8_lossy(&bytes));
            let bytes = bytes.into();
            for serializer in [Serializer::V1, Serializer::V2] {
                let _ = serializer.decode_text(&text);
                let _ = serializer.decode_binary(&bytes);
            }
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
            let reference = Ref::Number(number.to_string().into());
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
            prop_assert_eq!(unweighed(Serializer::V1.decode_text(&out.try_into().unwrap()).unwrap()), expected);
        }
    }
}
