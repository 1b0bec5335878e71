//! Version 1 of the format (`vsn=1.0.0`, or none): `{"topic", "event", "payload", "ref"}`.
//!
//! There is no join_ref on the wire, so all messages of a socket belong to the current join.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/serializers/v1_json_serializer.ex`, 1.8.12.

use bytestring::ByteString;

use super::{
    Frame, Message, Opcode, Outgoing, Payload, Ref,
    error::DecodeError,
    event::PHX_REPLY,
    json::{self, Reader, Value},
    message::Parts,
};

/// The shape of a message.
const SHAPE: &str = "an object with topic, event, payload and ref, each once";

pub(super) fn decode(text: &ByteString) -> Result<Message, DecodeError> {
    const OTHER: DecodeError = DecodeError::Shape(SHAPE);
    let mut entries = Reader::object(text)?.ok_or(OTHER)?;
    let [mut topic, mut event, mut payload, mut reference, mut join_ref] = [None; 5];
    while let Some((key, value)) = entries.entry()? {
        let part = match &*key.text().unwrap_or_default() {
            "topic" => &mut topic,
            "event" => &mut event,
            "payload" => &mut payload,
            "ref" => &mut reference,
            "join_ref" => &mut join_ref,
            _ => continue,
        };
        if part.replace(value).is_some() {
            return Err(OTHER);
        }
    }
    let parts = Parts {
        join_ref: join_ref.unwrap_or(Value::NULL),
        reference: reference.ok_or(OTHER)?,
        topic: topic.ok_or(OTHER)?,
        event: event.ok_or(OTHER)?,
        payload: payload.ok_or(OTHER)?,
    };
    Message::read(text, parts)
}

pub(super) fn encode(message: Outgoing<'_>, payload: &Payload) -> Frame {
    let (topic, event, reference, status) = match message {
        Outgoing::Reply { reference, topic, status, .. } => (topic, PHX_REPLY, reference, Some(status)),
        Outgoing::Push { reference, topic, event, .. } => (topic, event, reference, None),
        Outgoing::Broadcast { topic, event, .. } => (topic, event, &Ref::Null, None),
    };
    let (opening, closing) = status.map_or(("", ""), |status| (status.opening(), "}"));
    let names = topic.len() + event.len() + reference.json_len();
    let fixed = r#"{"topic":"","event":"","payload":,"ref":}"#.len();
    let before = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"topic":"#);
        json::write(out, topic);
        out.extend_from_slice(br#","event":"#);
        json::write(out, event);
        out.extend_from_slice(br#","payload":"#);
        out.extend_from_slice(opening.as_bytes());
    };
    let after = |out: &mut Vec<u8>| {
        out.extend_from_slice(closing.as_bytes());
        out.extend_from_slice(br#","ref":"#);
        reference.write(out);
        out.push(b'}');
    };
    Frame::build(Opcode::Text, names + fixed + opening.len() + closing.len(), before, payload, after)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::Status;

    fn decoded(text: &'static str) -> Result<Message, DecodeError> {
        decode(&ByteString::from_static(text))
    }

    fn encoded(message: Outgoing<'_>, payload: &str) -> String {
        let frame = encode(message, &Payload::from_json(Bytes::copy_from_slice(payload.as_bytes())));
        String::from_utf8(frame.into_message().concat()).unwrap()
    }

    #[test]
    fn a_message_is_read_whatever_the_order_of_its_keys() {
        let message =
            decoded(r#"{"ref":"1","x":[],"payload":{"a":1},"event":"e\u00e9","topic":"t"}"#).unwrap();
        assert_eq!(message.topic, "t");
        assert_eq!(message.event, "eé");
        assert_eq!(message.reference, Ref::Text("1".into()));
        assert_eq!(message.join_ref, Ref::Null);
        assert_eq!(message.payload.as_json().as_deref(), Some(&br#"{"a":1}"#[..]));
    }

    #[test]
    fn each_key_but_join_ref_must_be_there_once() {
        for text in [
            r#"{"event":"e","payload":{},"ref":null}"#,
            r#"{"topic":"t","payload":{},"ref":null}"#,
            r#"{"topic":"t","event":"e","ref":null}"#,
            r#"{"topic":"t","event":"e","payload":{}}"#,
            r#"[null,"1","t","e",{}]"#,
            r#"["t","e",{},"1",null]"#,
            r#"{"topic":1,"event":"e","payload":{},"ref":null}"#,
            r#"{"topic":"t","event":"e","payload":{},"ref":null,"topic":"t"}"#,
            r#"{"topic":"t","event":"e","payload":{},"ref":null,"t\u006fpic":"t"}"#,
        ] {
            assert!(decoded(text).is_err(), "{text}");
        }
        assert!(decoded(r#"{"topic":"t","event":"e","payload":null,"ref":null}"#).is_ok());
    }

    #[test]
    fn replies_pushes_and_broadcasts_have_no_join_ref() {
        let (one, two) = (Ref::Text("1".into()), Ref::Text("2".into()));
        let payload = &Payload::empty();
        let reply =
            Outgoing::Reply { join_ref: &one, reference: &two, topic: "t", status: Status::Ok, payload };
        assert_eq!(
            encoded(reply, r#"{"a":1}"#),
            r#"{"topic":"t","event":"phx_reply","payload":{"status":"ok","response":{"a":1}},"ref":"2"}"#
        );
        let push = Outgoing::Push { join_ref: &one, reference: &Ref::Null, topic: "t", event: "e", payload };
        assert_eq!(encoded(push, "{}"), r#"{"topic":"t","event":"e","payload":{},"ref":null}"#);
        let broadcast = Outgoing::Broadcast { topic: "t\"", event: "e", payload };
        assert_eq!(encoded(broadcast, "{}"), r#"{"topic":"t\"","event":"e","payload":{},"ref":null}"#);
    }
}
