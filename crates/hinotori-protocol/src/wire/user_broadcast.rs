//! User broadcasts: what Supabase's clients send each other, as JSON or as bytes.
//!
//! As JSON, a user broadcast is an ordinary message: its event is [`USER_BROADCAST`], its payload
//! `{"type":"broadcast","event":E,"payload":P}`, with a `meta` if there is one. Clients of version 2 may also send it as a
//! binary frame, and bytes can only be sent in one. Stock Phoenix has no such frames and closes the socket with 1011.
//!
//! # Binary layout
//! Every size is one unsigned byte, so a field holds at most 255 bytes. The user event is `E`; the metadata is JSON or
//! empty; the encoding is 0 if the payload is bytes and 1 if it is JSON.
//!
//! | message | bytes |
//! |---|---|
//! | of a client | `3`, sizes of join_ref, ref, topic, user event, metadata, then the encoding, then these five, then the payload |
//! | of the server | `4`, sizes of topic, user event, metadata, then the encoding, then these three, then the payload |
//!
//! JSON is forwarded as text, which all clients read, so the server's frames have the encoding 0. What follows the topic is
//! the same in both layouts, and is kept as it came.
//!
//! # Source
//! supabase/realtime `lib/realtime_web/socket/v2_serializer.ex`, 2.129; realtime-js `src/lib/serializer.ts`, 2.119.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Frame, IntoPayload, InvalidPayload, Message, Opcode, Outgoing, Payload, PayloadError, Ref,
    USER_BROADCAST,
    error::{DecodeError, EncodeError},
    json,
    share::share,
};

/// First byte of a client's message.
const FROM_CLIENT: u8 = 3;
/// First byte of the server's message.
const TO_CLIENT: u8 = 4;

/// The kind, five sizes and the encoding.
const HEADER: usize = 7;

const BYTES: u8 = 0;
const JSON: u8 = 1;

/// A message that one of Supabase's clients sends to the others on a topic.
///
/// A channel that only forwards these messages passes on the payload as it came. This type is for a server that reads
/// them or makes its own: it turns into the payload of an event `broadcast`.
///
/// Clients can send and be sent bytes if the socket has the option `user_broadcasts`.
///
/// ```
/// use hinotori_protocol::wire::{IntoPayload, Payload, UserBroadcast};
/// use serde_json::json;
///
/// let moved = UserBroadcast::new("cursor", json!({ "x": 1 }))?.into_payload()?;
/// assert_eq!(moved.parse::<serde_json::Value>()?["event"], "cursor");
///
/// let drawn = UserBroadcast::new("pixels", Payload::binary(vec![0, 255]))?.into_payload()?;
/// let read = UserBroadcast::read(&drawn)?;
/// assert_eq!((&*read.event, read.payload.as_binary()), ("pixels", Some(&[0, 255][..])));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserBroadcast {
    /// What the clients call the event. With bytes, at most 255 bytes of UTF-8.
    pub event: String,
    /// Any JSON, or bytes.
    pub payload: Payload,
    /// More about the message: JSON, by convention an object. With bytes, at most 255 bytes.
    pub meta: Option<Payload>,
}

/// The JSON form.
#[derive(Deserialize)]
struct Text<'a> {
    event: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

impl UserBroadcast {
    /// A message without `meta`.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the payload does not serialize.
    pub fn new(event: impl Into<String>, payload: impl IntoPayload) -> Result<Self, PayloadError> {
        Ok(Self { event: event.into(), payload: payload.into_payload()?, meta: None })
    }

    /// Reads the payload of an event `broadcast`, in either form. A `payload` that is left out counts as `null`, and
    /// a `meta` of `null` as none.
    ///
    /// # Errors
    /// [`InvalidPayload`] if it is neither the bytes of a user broadcast nor an object with a text as `event`.
    pub fn read(payload: &Payload) -> Result<Self, InvalidPayload> {
        if let (Some((parts, event, meta)), Some(bytes)) = (payload.as_user(), payload.to_binary()) {
            let (event, meta) = (usize::from(event), usize::from(meta));
            let metadata = parts.slice(event..event + meta);
            let is_there = !matches!(metadata.trim_ascii(), b"" | b"null");
            return Ok(Self {
                event: String::from_utf8_lossy(&parts[..event]).into_owned(),
                payload: Payload::binary(bytes),
                meta: is_there.then(|| Payload::from_json(metadata)),
            });
        }
        let json = payload.as_json().ok_or_else(InvalidPayload::binary)?;
        // an array would be read as the fields in their order
        let text: Option<Text<'_>> =
            payload.is_object().then(|| serde_json::from_slice(&json).ok()).flatten();
        let text = text.ok_or_else(|| {
            InvalidPayload::new("expected a user broadcast: an object with a text as event")
        })?;
        let raw = |raw: &RawValue| Payload::from_json(Bytes::copy_from_slice(raw.get().as_bytes()));
        Ok(Self {
            event: text.event,
            payload: text.payload.map_or_else(|| Payload::from_json(Bytes::from_static(b"null")), raw),
            meta: text.meta.map(raw),
        })
    }

    /// A payload with bytes from its parts in a frame: the user event, the metadata, the bytes. `None` if these are not a
    /// user broadcast of these sizes.
    pub(crate) fn from_parts(parts: Bytes, event: u8, meta: u8) -> Option<Payload> {
        let names = parts.get(..usize::from(event) + usize::from(meta))?;
        let (name, metadata) = names.split_at(usize::from(event));
        let is_json = |text| metadata.is_empty() || json::check_field(text).is_ok();
        let is_one = str::from_utf8(name).is_ok() && str::from_utf8(metadata).is_ok_and(is_json);
        is_one.then(|| Payload::user(parts, event, meta))
    }
}

impl IntoPayload for UserBroadcast {
    /// # Errors
    /// [`PayloadError::FieldTooLong`] if a field exceeds 255 bytes next to bytes, [`PayloadError::NotJson`] if `meta` is bytes.
    fn into_payload(self) -> Result<Payload, PayloadError> {
        let meta = self.meta.as_ref().map(|meta| meta.as_json().ok_or(PayloadError::NotJson)).transpose()?;
        let meta = meta.as_deref().unwrap_or_default();
        let Some(bytes) = self.payload.as_binary() else {
            let payload = self.payload.as_json().ok_or(PayloadError::NotJson)?;
            return Ok(text(&self.event, &payload, meta));
        };
        let size = |field, length: usize| {
            u8::try_from(length).map_err(|_| PayloadError::FieldTooLong { field, length })
        };
        let sizes = (size("event", self.event.len())?, size("meta", meta.len())?);
        Ok(Payload::user([self.event.as_bytes(), meta, bytes].concat().into(), sizes.0, sizes.1))
    }
}

/// The JSON form. Payload and metadata are well-formed JSON; the latter may be empty.
fn text(event: &str, payload: &[u8], meta: &[u8]) -> Payload {
    const FIXED: usize = r#"{"type":"broadcast","event":"","payload":,"meta":}"#.len();
    let mut json = Vec::with_capacity(FIXED + event.len() + payload.len() + meta.len());
    json.extend_from_slice(br#"{"type":"broadcast","event":"#);
    json::write(&mut json, event);
    json.extend_from_slice(br#","payload":"#);
    json.extend_from_slice(payload);
    if !meta.is_empty() {
        json.extend_from_slice(br#","meta":"#);
        json.extend_from_slice(meta);
    }
    json.push(b'}');
    Payload::from_json(json.into())
}

/// Whether a binary message is a user broadcast, by its kind.
pub(super) fn is_one(data: &[u8]) -> bool {
    data.first() == Some(&FROM_CLIENT)
}

/// Decodes a message of a client: the bytes of a user broadcast, or the JSON form if its payload is JSON.
pub(super) fn decode(data: &Bytes) -> Result<Message, DecodeError> {
    let has = data.len();
    let Some(([_, sizes @ .., encoding], _)) = data.split_first_chunk::<HEADER>() else {
        return Err(DecodeError::Truncated { needs: HEADER, has });
    };
    let needs = HEADER + sizes.iter().copied().map(usize::from).sum::<usize>();
    if has < needs {
        return Err(DecodeError::Truncated { needs, has });
    }
    let mut at = HEADER;
    let mut field = |name, size: u8| {
        let bytes = data.slice(at..at + usize::from(size));
        at += usize::from(size);
        ByteString::try_from(bytes).map_err(|_| DecodeError::Utf8(name))
    };
    let [join_ref, reference, topic, event, meta] = sizes;
    let join_ref = Ref::Text((&*field("join_ref", *join_ref)?).into());
    let reference = Ref::Text((&*field("ref", *reference)?).into());
    let topic = field("topic", *topic)?;
    let (user_event, metadata) = (field("user event", *event)?, field("metadata", *meta)?);
    if !metadata.is_empty() {
        json::check_field(&metadata)?;
    }
    let payload = match *encoding {
        BYTES => {
            Payload::user(share(data, &data[needs - user_event.len() - metadata.len()..]), *event, *meta)
        }
        JSON => {
            let json = str::from_utf8(&data[needs..]).map_err(|_| DecodeError::Utf8("payload"))?;
            json::check_field(json)?;
            text(&user_event, json.as_bytes(), metadata.as_bytes())
        }
        encoding => return Err(DecodeError::Encoding(encoding)),
    };
    let event = ByteString::from_static(USER_BROADCAST);
    Ok(Message { join_ref, reference, topic, event, payload, weight: has })
}

/// Encodes the bytes of a user broadcast.
pub(super) fn encode(message: Outgoing<'_>, payload: &Payload) -> Result<Frame, EncodeError> {
    let (Outgoing::Push { topic, event, .. } | Outgoing::Broadcast { topic, event, .. }) = message else {
        return Err(EncodeError::NotABroadcast);
    };
    let Some((_, user_event, meta)) = payload.as_user().filter(|_| event == USER_BROADCAST) else {
        return Err(EncodeError::NotABroadcast);
    };
    let length = topic.len();
    let size = u8::try_from(length).map_err(|_| EncodeError::FieldTooLong { field: "topic", length })?;
    let header = [TO_CLIENT, size, user_event, meta, BYTES];
    let before = |out: &mut Vec<u8>| {
        out.extend_from_slice(&header);
        out.extend_from_slice(topic.as_bytes());
    };
    Ok(Frame::build(Opcode::Binary, header.len() + length, before, payload, |_| {}))
}

#[cfg(test)]
mod tests;
