//! Client messages in each of their encodings.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use bytestring::ByteString;

use hinotori_protocol::wire::{
    Frame, MAX_DEPTH, MAX_NAME, Message, Outgoing, Payload, Ref, Serializer, Status, USER_BROADCAST,
    UserBroadcast,
    longpoll::{NotBase64, Part, lines, part},
    oracle,
};

pub fn v1_text(data: &[u8]) {
    text(Serializer::V1, &Bytes::copy_from_slice(data));
}

pub fn v2_text(data: &[u8]) {
    text(Serializer::V2, &Bytes::copy_from_slice(data));
}

pub fn v2_binary(data: &[u8]) {
    binary(&Bytes::copy_from_slice(data));
}

/// Checks that decoding text agrees with serde_json. If the text decodes, its names are within bounds, its payload is
/// valid JSON, and it still says the same when it is sent on.
fn text(serializer: Serializer, text: &Bytes) {
    let checked = ByteString::try_from(text.clone());
    let decoded = checked.ok().and_then(|text| serializer.decode_text(&text).ok());
    assert_eq!(decoded, oracle::decode(serializer, text));
    let Some(message) = decoded else { return };
    let Message { join_ref, reference, topic, event, payload, .. } = &message;
    for name in [join_ref.as_text(), reference.as_text(), topic, event] {
        assert!(name.len() <= MAX_NAME);
    }
    readable(payload);
    let push = Outgoing::Push { join_ref, reference, topic, event, payload };
    let sent = |serializer: Serializer, message| {
        let frame = serializer.encode(message).expect("JSON can be sent on in both versions");
        let text = frame.into_text().expect("JSON goes as text").concat();
        serializer
            .decode_text(&text.try_into().expect("what is sent as text is UTF-8"))
            .expect("what is sent can be read")
    };
    for other in [Serializer::V1, Serializer::V2] {
        let kept = if other == Serializer::V2 { join_ref.clone() } else { Ref::Null };
        assert_eq!(unweighed(sent(other, push)), Message { join_ref: kept, weight: 0, ..message.clone() });
        let heard = sent(other, Outgoing::Broadcast { topic, event, payload });
        assert_eq!((&heard.topic, &heard.event, &heard.payload), (topic, event, payload));
    }
    for status in [Status::Ok, Status::Error] {
        let reply = sent(Serializer::V2, Outgoing::Reply { join_ref, reference, topic, status, payload });
        assert_eq!((&reply.join_ref, &reply.reference, &*reply.event), (join_ref, reference, "phx_reply"));
    }
}

fn unweighed(message: Message) -> Message {
    Message { weight: 0, ..message }
}

/// Checks that a payload passed on without parsing is JSON for any parser that supports its depth; some numbers may be
/// too large for some parsers.
fn readable(payload: &Payload) {
    let json = payload.as_json().expect("text has JSON");
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(&json) {
        assert!(error.to_string().starts_with("number out of range"), "{error}");
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in &*json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
        assert!(depth < MAX_DEPTH, "the message around it is a level too");
    }
}

/// Checks that bytes that decode consist of exactly the decoded parts, and are sent on with the same parts.
fn binary(data: &Bytes) {
    user_broadcast(data);
    let Ok(message) = Serializer::V2.decode_binary(data) else { return };
    let Message { join_ref, reference, topic, event, payload, .. } = &message;
    let fields = [join_ref.as_text(), reference.as_text(), topic, event];
    let bytes = payload.as_binary().expect("a binary message has bytes");
    let mut again = vec![0];
    again.extend(fields.iter().map(|field| u8::try_from(field.len()).expect("sizes are one byte")));
    again.extend(fields.concat().bytes());
    again.extend(bytes);
    assert_eq!(again, data[..]);

    let status = Status::Ok;
    let sent = [
        (
            0,
            [fields[0], topic, event].to_vec(),
            Outgoing::Push { join_ref, reference, topic, event, payload },
        ),
        (
            1,
            [fields[0], fields[1], topic, "ok"].to_vec(),
            Outgoing::Reply { join_ref, reference, topic, status, payload },
        ),
        (2, [&**topic, event].to_vec(), Outgoing::Broadcast { topic, event, payload }),
    ];
    for (kind, fields, outgoing) in sent {
        let frame: Frame = Serializer::V2.encode(outgoing).expect("fields of a binary message fit into one");
        let (message, fields_at) = (Bytes::from(frame.into_message().concat()), 1 + fields.len());
        assert_eq!(message[0], kind);
        let sizes: Vec<usize> = message[1..fields_at].iter().map(|size| usize::from(*size)).collect();
        assert_eq!(sizes, fields.iter().map(|field| field.len()).collect::<Vec<_>>());
        assert_eq!(message[fields_at..], [fields.concat().as_bytes(), bytes].concat());
        assert!(Serializer::V1.encode(outgoing).is_err(), "version 1 has no bytes");
    }
}

/// Checks that a user broadcast is read as what its parts say, and is sent on as the same; and that sockets with and without
/// them agree on all other messages.
fn user_broadcast(data: &Bytes) {
    let decoded = Serializer::V2User.decode_binary(data).ok();
    if data.first() != Some(&3) {
        return assert_eq!(decoded, Serializer::V2.decode_binary(data).ok());
    }
    assert!(Serializer::V2.decode_binary(data).is_err(), "stock sockets have no user broadcasts");
    let Some(Message { join_ref, reference, topic, event, payload, .. }) = decoded else { return };
    let mut at = 7;
    let mut field = |size: u8| {
        at += usize::from(size);
        &data[at - usize::from(size)..at]
    };
    let names = [1, 2, 3].map(|size| field(data[size]));
    assert_eq!(names, [join_ref.as_text(), reference.as_text(), &*topic].map(str::as_bytes));
    assert_eq!(event, USER_BROADCAST);
    let (user_event, metadata) = (field(data[4]), field(data[5]));
    let read = UserBroadcast::read(&payload).expect("it was checked");
    assert_eq!(read.event.as_bytes(), user_event);
    let meta = read.meta.as_ref().map(|meta| meta.as_json().expect("metadata is JSON").into_owned());
    let metadata_read = if metadata.trim_ascii() == b"null" { b"" } else { metadata.trim_ascii() };
    assert_eq!(meta.unwrap_or_default().trim_ascii(), metadata_read);
    let broadcast = Outgoing::Broadcast { topic: &topic, event: &event, payload: &payload };
    let frame = Serializer::V2User.encode(broadcast).expect("its fields fit");
    if data[6] == 0 {
        assert_eq!(read.payload.as_binary(), Some(&data[at..]));
        let header = [4, data[3], data[4], data[5], 0];
        assert_eq!(
            frame.into_message().concat(),
            [&header[..], names[2], user_event, metadata, &data[at..]].concat()
        );
    } else {
        assert_eq!(read.payload.as_json().as_deref(), Some(data[at..].trim_ascii()));
        let sent = frame.into_text().expect("JSON goes as text").concat();
        let sent = Serializer::V2.decode_text(&sent.try_into().expect("text is UTF-8"));
        assert_eq!(sent.expect("what is sent can be read").payload, payload);
    }
}

/// The first byte selects the version, and the rest is the body. Checks that no line is lost or made up and that each
/// is unchanged.
pub fn longpoll_body(data: &[u8]) {
    let Some((version, body)) = data.split_first() else { return };
    let serializer = if version % 2 == 0 { Serializer::V1 } else { Serializer::V2 };
    let body = Bytes::copy_from_slice(body);
    let found: Vec<Bytes> = lines(&body).collect();
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    assert!(found.iter().all(|line| !line.is_empty() && !line.contains(&b'\n')));
    assert!(found.iter().all(|line| !blank(&line[0]) && !blank(&line[line.len() - 1])));
    let solid = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().filter(|byte| !blank(byte)).collect() };
    assert_eq!(solid(&found.concat()), solid(&body), "all but space is in a line");
    let joined = Bytes::from(found.join(&b"\r\n"[..]));
    assert!(lines(&joined).eq(found.iter().cloned()));
    for line in &found {
        match part(serializer, line) {
            Ok(Part::Text(message)) => {
                assert_eq!(message, line);
                text(serializer, &message);
            }
            Ok(Part::Binary(message)) => {
                assert_eq!(STANDARD.encode(&message).as_bytes(), &line[..]);
                match serializer {
                    Serializer::V1 => text(serializer, &message),
                    Serializer::V2 | Serializer::V2User => binary(&message),
                }
            }
            Err(NotBase64) => {}
        }
    }
}
