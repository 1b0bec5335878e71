//! The answer to a poll: `{"messages": […], "status": …, "token": …}`.
//!
//! A message is put into the answer's JSON piece by piece, while the client reads. So all clients share the bytes of a
//! history, as on WebSockets, and a client that does not read its answer holds no copy of it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, MessageBody},
    http::StatusCode,
};
use bytes::Bytes;

use super::piped::PIECE;
use crate::wire::Frame;

/// See the module.
pub(super) struct PollBody {
    parts: VecDeque<Part>,
    length: usize,
}

enum Part {
    Json(Bytes),
    /// Text to be put into a JSON string, not escaped yet.
    Text(Bytes),
}

impl PollBody {
    /// An answer with these messages, each in pieces.
    pub(super) fn new(
        status: StatusCode,
        token: &str,
        messages: impl IntoIterator<Item = Vec<Bytes>>,
    ) -> Self {
        let mut body = Self { parts: VecDeque::new(), length: 0 };
        let mut before = &br#"{"messages":[""#[..];
        for text in messages {
            body.json(Bytes::from_static(before));
            text.into_iter().for_each(|piece| body.text(piece));
            before = br#"",""#;
        }
        let opening = if body.parts.is_empty() { r#"{"messages":["# } else { "\"" };
        let status = status.as_u16();
        let token = serde_json::Value::from(token);
        body.json(format!(r#"{opening}],"status":{status},"token":{token}}}"#).into());
        body
    }

    fn json(&mut self, json: Bytes) {
        self.length += json.len();
        self.parts.push_back(Part::Json(json));
    }

    fn text(&mut self, text: Bytes) {
        self.length += text.iter().map(|byte| escape(*byte).map_or(1, |escape| escape.len())).sum::<usize>();
        self.parts.push_back(Part::Text(text));
    }

    /// The next piece, of about as many bytes as are written at a time.
    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            match self.parts.front_mut() {
                Some(Part::Json(json)) => piece.extend_from_slice(&std::mem::take(json)),
                Some(Part::Text(text)) if !text.is_empty() => {
                    write(&mut piece, &text.split_to(text.len().min(PIECE)));
                    continue;
                }
                Some(Part::Text(_)) => {}
                None => break,
            }
            self.parts.pop_front();
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}

impl MessageBody for PollBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.next().map(Ok))
    }
}

/// The text of a frame, in its pieces. Other frames cannot be carried.
pub(super) fn text(frame: Frame) -> Option<Vec<Bytes>> {
    let text = frame.into_text();
    if text.is_none() {
        log::warn!("event=not_sent what=message why=\"a long poll cannot carry a binary message\"");
    }
    text
}

fn write(out: &mut Vec<u8>, text: &[u8]) {
    let mut plain = 0;
    for (at, byte) in text.iter().enumerate() {
        if let Some(escape) = escape(*byte) {
            out.extend_from_slice(&text[plain..at]);
            out.extend_from_slice(escape.as_bytes());
            plain = at + 1;
        }
    }
    out.extend_from_slice(&text[plain..]);
}

/// How a byte is escaped in a JSON string, if it must be.
fn escape(byte: u8) -> Option<&'static str> {
    match byte {
        b'"' => Some(r#"\""#),
        b'\\' => Some(r"\\"),
        control => CONTROLS.get(usize::from(control)).copied(),
    }
}

/// RFC 8259 §7.
const CONTROLS: [&str; 32] = [
    r"\u0000", r"\u0001", r"\u0002", r"\u0003", r"\u0004", r"\u0005", r"\u0006", r"\u0007", r"\b", r"\t",
    r"\n", r"\u000b", r"\f", r"\r", r"\u000e", r"\u000f", r"\u0010", r"\u0011", r"\u0012", r"\u0013",
    r"\u0014", r"\u0015", r"\u0016", r"\u0017", r"\u0018", r"\u0019", r"\u001a", r"\u001b", r"\u001c",
    r"\u001d", r"\u001e", r"\u001f",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::{IntoPayload, Opcode, Outgoing, Payload, Serializer};

    fn broadcast(payload: &Payload) -> Frame {
        Serializer::V2.encode(Outgoing::Broadcast { topic: "t", event: "e", payload }).unwrap()
    }

    fn answer(token: &str, frames: Vec<Frame>) -> PollBody {
        PollBody::new(StatusCode::OK, token, frames.into_iter().filter_map(text))
    }

    fn pieces(mut body: PollBody) -> Vec<Bytes> {
        std::iter::from_fn(|| body.next()).collect()
    }

    #[test]
    fn an_answer_is_the_json_of_its_messages_whatever_is_in_them() {
        let all: String = ('\0'..'\u{200}').chain(['\u{2028}', '日', '👋']).collect();
        let long = json!({ "x": all.repeat(300) }).into_payload().unwrap();
        let texts = [Frame::of(Opcode::Text, all.as_bytes()), broadcast(&Payload::empty()), broadcast(&long)];
        for count in 0..=texts.len() {
            let frames = &texts[..count];
            let body = answer("a\"b", frames.to_vec());
            let length = body.length;
            let written = pieces(body).concat();
            let messages: Vec<String> = frames
                .iter()
                .map(|frame| String::from_utf8(frame.clone().into_message().concat()).unwrap())
                .collect();
            let expected = json!({ "messages": messages, "status": 200, "token": "a\"b" }).to_string();
            assert_eq!(String::from_utf8(written).unwrap(), expected);
            assert_eq!(length, expected.len());
        }
    }

    #[test]
    fn a_message_of_bytes_is_left_out() {
        let frames = vec![Frame::of(Opcode::Binary, b"x"), Frame::of(Opcode::Text, b"y")];
        let written = pieces(answer("t", frames)).concat();
        assert_eq!(written, br#"{"messages":["y"],"status":200,"token":"t"}"#);
    }

    #[test]
    fn an_answer_that_is_not_read_has_no_copy_of_a_long_payload_and_makes_one_in_pieces() {
        let payload = json!({ "x": "\n".repeat(100_000) }).into_payload().unwrap();
        let body = answer("t", vec![broadcast(&payload)]);
        let held = payload.as_json().unwrap().as_ptr();
        let is_held = |part: &Part| matches!(part, Part::Text(text) if text.as_ptr() == held);
        assert!(body.parts.iter().any(is_held));
        let most = pieces(body).iter().map(Bytes::len).max().unwrap();
        // a piece that is not full yet, and one in which each byte is written as two
        assert!(most <= 3 * PIECE, "{most}");
    }
}
