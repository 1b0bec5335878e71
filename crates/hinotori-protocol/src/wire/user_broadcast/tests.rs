use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::wire::{Fault, MAX_DEPTH, Serializer, Status};

/// As realtime-js 2.119 sends `send({ type: "broadcast", event: "cursor", payload: new Uint8Array([0, 255]) })`: join_ref
/// "1", ref "2", topic "realtime:a".
const BYTES_SENT: &[u8] = b"\x03\x01\x01\x0a\x06\0\0\x31\x32realtime:acursor\0\xff";
/// The same with the payload `{"x":1}`.
const JSON_SENT: &[u8] = b"\x03\x01\x01\x0a\x06\0\x01\x31\x32realtime:acursor{\"x\":1}";

fn decoded(data: &[u8]) -> Result<Message, DecodeError> {
    Serializer::V2User.decode_binary(&Bytes::copy_from_slice(data))
}

fn encoded(serializer: Serializer, message: Outgoing<'_>) -> Result<Vec<u8>, EncodeError> {
    serializer.encode(message).map(|frame| frame.into_message().concat())
}

/// A client's message with these fields.
fn sent(fields: [&[u8]; 5], encoding: u8, payload: &[u8]) -> Vec<u8> {
    let sizes = fields.map(|field| u8::try_from(field.len()).unwrap());
    [&[3][..], &sizes, &[encoding], &fields.concat(), payload].concat()
}

fn json_of(payload: &Payload) -> Value {
    payload.parse().unwrap()
}

#[test]
fn bytes_are_kept_with_their_event_and_sent_on_as_kind_4() {
    let message = decoded(BYTES_SENT).unwrap();
    assert_eq!((&message.join_ref, &message.reference), (&Ref::Text("1".into()), &Ref::Text("2".into())));
    assert_eq!((&*message.topic, &*message.event), ("realtime:a", "broadcast"));
    assert_eq!(message.payload.as_binary(), Some(&b"\0\xff"[..]));
    assert_eq!(message.payload.to_binary().unwrap(), &b"\0\xff"[..]);
    assert!(!message.payload.is_json() && !message.payload.is_object());
    let (topic, event, payload) = (&*message.topic, &*message.event, &message.payload);
    let heard = b"\x04\x0a\x06\0\0realtime:acursor\0\xff";
    let broadcast = Outgoing::Broadcast { topic, event, payload };
    assert_eq!(encoded(Serializer::V2User, broadcast).unwrap(), heard);
    let push = Outgoing::Push { join_ref: &message.join_ref, reference: &Ref::Null, topic, event, payload };
    assert_eq!(encoded(Serializer::V2User, push).unwrap(), heard);
}

#[test]
fn json_becomes_the_message_that_a_client_could_have_sent_as_text() {
    let message = decoded(JSON_SENT).unwrap();
    let text =
        r#"["1","2","realtime:a","broadcast",{"type":"broadcast","event":"cursor","payload":{"x":1}}]"#;
    let same = Serializer::V2User.decode_text(&ByteString::from_static(text)).unwrap();
    assert_eq!(Message { weight: 0, ..message.clone() }, Message { weight: 0, ..same });
    let Message { topic, event, payload, .. } = &message;
    for serializer in [Serializer::V1, Serializer::V2, Serializer::V2User] {
        let heard = encoded(serializer, Outgoing::Broadcast { topic, event, payload }).unwrap();
        assert!(heard.starts_with(b"[") || heard.starts_with(b"{"), "{serializer:?}");
    }
}

#[test]
fn metadata_is_json_and_becomes_meta() {
    let fields = |meta: &'static [u8]| [&b"1"[..], b"2", b"t", "é".as_bytes(), meta];
    let message = decoded(&sent(fields(br#"{"id":7}"#), 1, b"[1]")).unwrap();
    let expected = json!({ "type": "broadcast", "event": "é", "payload": [1], "meta": { "id": 7 } });
    assert_eq!(json_of(&message.payload), expected);
    let message = decoded(&sent(fields(br#"{"id":7}"#), 0, b"x")).unwrap();
    let read = UserBroadcast::read(&message.payload).unwrap();
    assert_eq!((&*read.event, read.payload.as_binary()), ("é", Some(&b"x"[..])));
    assert_eq!(json_of(read.meta.as_ref().unwrap()), json!({ "id": 7 }));
    assert_eq!(read.into_payload().unwrap(), message.payload);
    for encoding in [0, 1] {
        let message = decoded(&sent(fields(b" null "), encoding, b"{}")).unwrap();
        assert_eq!(UserBroadcast::read(&message.payload).unwrap().meta, None);
    }
    for encoding in [0, 1] {
        let wrong = decoded(&sent(fields(b"{"), encoding, b"{}")).unwrap_err();
        assert!(matches!(wrong, DecodeError::Json(_)), "{wrong:?}");
    }
}

#[test]
fn a_message_cut_anywhere_in_its_header_is_truncated() {
    let header = BYTES_SENT.len() - 2;
    for length in 1..header {
        let cut = decoded(&BYTES_SENT[..length]);
        assert!(matches!(cut, Err(DecodeError::Truncated { has, .. }) if has == length), "{length}");
    }
    assert_eq!(decoded(&BYTES_SENT[..header]).unwrap().payload.as_binary(), Some(&[][..]));
    let error = decoded(&BYTES_SENT[..3]).unwrap_err().to_string();
    assert_eq!(error, "binary frame truncated: header needs 7 bytes but the frame has 3");
}

#[test]
fn each_field_that_is_not_text_is_named() {
    for (index, name) in ["join_ref", "ref", "topic", "user event", "metadata"].into_iter().enumerate() {
        let mut fields = [&b"1"[..]; 5];
        fields[index] = b"\xff";
        let error = decoded(&sent(fields, 0, b"")).unwrap_err();
        assert_eq!(error.to_string(), format!("binary frame whose {name} is not UTF-8"));
    }
    let error = decoded(&sent([b"1"; 5], 1, b"\"\xff\"")).unwrap_err();
    assert_eq!(error.to_string(), "binary frame whose payload is not UTF-8");
    let error = decoded(&sent([b"1"; 5], 2, b"{}")).unwrap_err();
    assert_eq!(error.to_string(), "user broadcast with the encoding 2: expected 0, bytes, or 1, JSON");
}

#[test]
fn json_that_reaches_out_of_its_field_is_refused() {
    let of = |payload: &str| decoded(&sent([b"1", b"2", b"t", b"e", b""], 1, payload.as_bytes()));
    for payload in
        ["", " ", "{", "{}}", r#"1,"event":"x""#, "1},{", "{} {}", "nul", r#""\ud800""#, "1e999", "{} x"]
    {
        assert!(matches!(of(payload), Err(DecodeError::Json(_))), "{payload}");
    }
    assert_eq!(json_of(&of(" [1] ").unwrap().payload)["payload"], json!([1]));
    let deep = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    // the message and the payload around it are levels too
    assert!(of(&String::from_utf8(deep(MAX_DEPTH - 2)).unwrap()).is_ok());
    let too_deep = of(&String::from_utf8(deep(MAX_DEPTH - 1)).unwrap());
    assert!(matches!(too_deep, Err(DecodeError::Json(Fault::TooDeep))));
}

#[test]
fn a_socket_without_user_broadcasts_is_as_stock_phoenix() {
    for serializer in [Serializer::V2, Serializer::V1] {
        assert_eq!(serializer.with_user_broadcasts() == Serializer::V2User, serializer == Serializer::V2);
        assert!(serializer.decode_binary(&Bytes::from_static(BYTES_SENT)).is_err());
        let payload = &decoded(BYTES_SENT).unwrap().payload;
        let broadcast = Outgoing::Broadcast { topic: "t", event: "broadcast", payload };
        assert!(serializer.encode(broadcast).is_err(), "no other kind stands for it");
    }
    let error = Serializer::V2.decode_binary(&Bytes::from_static(BYTES_SENT)).unwrap_err();
    assert!(matches!(error, DecodeError::Kind(3)));
    // what the two have in common
    let push = Bytes::from_static(b"\0\x01\x01\x05\x0334ref:abinx");
    assert_eq!(
        Serializer::V2User.decode_binary(&push).unwrap(),
        Serializer::V2.decode_binary(&push).unwrap()
    );
    let payload = &Payload::binary(vec![1]);
    let broadcast = Outgoing::Broadcast { topic: "t", event: "e", payload };
    let frames = [Serializer::V2, Serializer::V2User].map(|of| encoded(of, broadcast).unwrap());
    assert_eq!(frames[0], frames[1]);
}

#[test]
fn bytes_are_a_broadcast_and_nothing_else() {
    let payload = &decoded(BYTES_SENT).unwrap().payload;
    let (join_ref, reference, status) = (&Ref::Null, &Ref::Null, Status::Ok);
    for message in [
        Outgoing::Reply { join_ref, reference, topic: "t", status, payload },
        Outgoing::Broadcast { topic: "t", event: "other", payload },
        Outgoing::Push { join_ref, reference, topic: "t", event: "other", payload },
    ] {
        let error = Serializer::V2User.encode(message).unwrap_err();
        assert!(matches!(error, EncodeError::NotABroadcast), "{error:?}");
    }
}

#[test]
fn a_field_of_more_than_255_bytes_is_an_error_that_names_it() {
    let (bytes, long) = (Payload::binary(vec![1]), "e".repeat(256));
    let error = UserBroadcast::new(&long, &bytes).unwrap().into_payload().unwrap_err();
    let expected = "event of 256 bytes in a user broadcast with bytes: expected at most 255";
    assert_eq!(error.to_string(), expected);
    assert!(UserBroadcast::new(&long[1..], &bytes).unwrap().into_payload().is_ok());
    assert!(UserBroadcast::new(&long, json!(1)).unwrap().into_payload().is_ok(), "JSON has no such limit");
    let meta = Some(long.clone().into_payload().unwrap());
    let broadcast = UserBroadcast { event: "e".into(), payload: bytes.clone(), meta };
    assert!(matches!(
        broadcast.into_payload(),
        Err(PayloadError::FieldTooLong { field: "meta", length: 258 })
    ));
    let payload = &UserBroadcast::new("e", &bytes).unwrap().into_payload().unwrap();
    let broadcast = Outgoing::Broadcast { topic: &long, event: "broadcast", payload };
    let error = Serializer::V2User.encode(broadcast).unwrap_err().to_string();
    assert_eq!(error, "topic of 256 bytes in a binary message: expected at most 255");
}

#[test]
fn what_is_no_user_broadcast_is_not_read_as_one() {
    for payload in [json!([]), json!(["e", 1, 2]), json!({}), json!({ "event": 1 }), json!(null)] {
        let payload = payload.into_payload().unwrap();
        assert!(UserBroadcast::read(&payload).is_err(), "{payload:?}");
    }
    assert!(UserBroadcast::read(&Payload::binary(vec![1])).is_err());
    let without = json!({ "event": "e" }).into_payload().unwrap();
    assert_eq!(json_of(&UserBroadcast::read(&without).unwrap().payload), Value::Null);
}

#[test]
fn a_small_payload_does_not_keep_a_large_frame() {
    let message = decoded(&sent([b"1", b"2", b"t", b"e", b""], 0, &[7; 5_000])).unwrap();
    assert_eq!(message.payload.len(), 5_001);
    assert_eq!(message.weight, 7 + 4 + 5_000);
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decoded(&[&[3], &bytes[..]].concat());
        let (event, meta) = (bytes.first().copied().unwrap_or(3), bytes.get(1).copied().unwrap_or(3));
        let _ = UserBroadcast::from_parts(bytes.into(), event, meta);
    }

    #[test]
    fn what_is_made_is_read_again(event in "\\PC{0,60}", bytes: Vec<u8>, value: String, meta: Option<u32>) {
        let meta = meta.map(|id| json!({ "id": id }).into_payload().unwrap());
        for payload in [Payload::binary(bytes), value.into_payload().unwrap()] {
            let made = UserBroadcast { event: event.clone(), payload, meta: meta.clone() };
            let payload = made.clone().into_payload().unwrap();
            prop_assert_eq!(UserBroadcast::read(&payload).unwrap(), made);
            if let Some((parts, event, meta)) = payload.as_user() {
                prop_assert_eq!(UserBroadcast::from_parts(parts.clone(), event, meta), Some(payload.clone()));
            }
        }
    }

    #[test]
    fn a_message_says_the_same_in_both_encodings(event in "\\PC{0,60}", value: String) {
        let json = serde_json::to_vec(&value).unwrap();
        let message = decoded(&sent([b"1", b"2", b"t", event.as_bytes(), b""], 1, &json)).unwrap();
        let read = UserBroadcast::read(&message.payload).unwrap();
        prop_assert_eq!((read.event, json_of(&read.payload)), (event, json!(value)));
    }
}
