//! Version 1 of the format (`vsn=1.0.0`, or none): `{"topic", "event", "payload", "ref"}`.
//!
//! There is no join_ref on the wire, so all of a socket's messages are of the present join.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/serializers/v1_json_serializer.ex`, 1.8.12.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;

use super::{
    Message, Outgoing, Ref,
    event::PHX_REPLY,
    frame::Writer,
    serializer::{DecodeError, EncodeError},
};

pub(super) fn decode(text: &ByteString) -> Result<Message, DecodeError> {
    Message::read(text, serde_json::from_str(text).map_err(DecodeError::Json)?)
}

pub(super) fn encode(out: &mut Writer, message: Outgoing<'_>, payload: &Bytes) -> Result<(), EncodeError> {
    let (topic, event, reference, status) = match message {
        Outgoing::Reply { reference, topic, status, .. } => (topic, PHX_REPLY, reference, Some(status)),
        Outgoing::Push { reference, topic, event, .. } => (topic, event, reference, None),
        Outgoing::Broadcast { topic, event, .. } => (topic, event, &Ref::Null, None),
    };
    out.bytes.extend_from_slice(br#"{"topic":"#);
    write(&mut out.bytes, topic)?;
    out.bytes.extend_from_slice(br#","event":"#);
    write(&mut out.bytes, event)?;
    out.bytes.extend_from_slice(br#","payload":"#);
    match status {
        Some(status) => {
            out.bytes.extend_from_slice(br#"{"status":"#);
            write(&mut out.bytes, &status)?;
            out.bytes.extend_from_slice(br#","response":"#);
            out.payload(payload);
            out.bytes.push(b'}');
        }
        None => out.payload(payload),
    }
    out.bytes.extend_from_slice(br#","ref":"#);
    write(&mut out.bytes, reference)?;
    out.bytes.push(b'}');
    Ok(())
}

/// Appends a value as JSON.
pub(super) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    serde_json::to_writer(out, value).map_err(EncodeError::Json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Frame, Opcode, Payload, Status};

    fn decoded(text: &'static str) -> Result<Message, DecodeError> {
        decode(&ByteString::from_static(text))
    }

    fn encoded(message: Outgoing<'_>, payload: &str) -> String {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let frame = Frame::build(Opcode::Text, 0, |out| encode(out, message, &payload)).unwrap();
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
        assert_eq!(message.payload.as_json(), Some(&br#"{"a":1}"#[..]));
    }

    #[test]
    fn each_key_but_join_ref_is_required() {
        for text in [
            r#"{"event":"e","payload":{},"ref":null}"#,
            r#"{"topic":"t","payload":{},"ref":null}"#,
            r#"{"topic":"t","event":"e","ref":null}"#,
            r#"{"topic":"t","event":"e","payload":{}}"#,
            r#"[null,"1","t","e",{}]"#,
            r#"{"topic":1,"event":"e","payload":{},"ref":null}"#,
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
