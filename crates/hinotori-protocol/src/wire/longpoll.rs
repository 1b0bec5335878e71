//! The messages in the body of a long poll's POST, of which there may be many: one per line.
//!
//! # Source
//! Phoenix `lib/phoenix/transports/long_poll.ex` (`publish/4`), 1.8.12.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{Serializer, share::share};

/// A message, as a WebSocket would have carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A text message, for [`Serializer::decode_text`] if it is UTF-8.
    Text(Bytes),
    /// A binary message, for [`Serializer::decode_binary`].
    Binary(Bytes),
}

/// A line that is neither text of its version nor base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBase64;

impl fmt::Display for NotBase64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a message in JSON or a binary message in base64")
    }
}

impl std::error::Error for NotBase64 {}

/// The lines of a body, trimmed, without empty ones.
pub fn lines(body: &Bytes) -> impl Iterator<Item = Bytes> {
    body.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .map(|line| share(body, line))
}

/// The message of a line: text as it is, or base64 of a binary message.
///
/// # Errors
/// [`NotBase64`] if it does not begin like a message of this version and is not base64 either.
pub fn part(serializer: Serializer, line: &Bytes) -> Result<Part, NotBase64> {
    let opening = match serializer {
        Serializer::V1 => b'{',
        Serializer::V2 | Serializer::V2User => b'[',
    };
    if line.first() == Some(&opening) {
        return Ok(Part::Text(line.clone()));
    }
    STANDARD.decode(line).map(|data| Part::Binary(data.into())).map_err(|_| NotBase64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_nothing_of_a_body_that_is_mostly_empty() {
        let body = Bytes::from([&b"\n {} \n"[..], &[b'\n'; 10_000]].concat());
        let lines: Vec<Bytes> = lines(&body).collect();
        assert_eq!(lines, ["{}"]);
        assert!(!body.as_ptr_range().contains(&lines[0].as_ptr()));
    }

    #[test]
    fn a_line_is_text_or_base64_by_how_it_begins() {
        let of = |serializer, line: &'static str| part(serializer, &Bytes::from_static(line.as_bytes()));
        assert_eq!(of(Serializer::V2, "[1]"), Ok(Part::Text("[1]".into())));
        assert_eq!(of(Serializer::V1, "{}"), Ok(Part::Text("{}".into())));
        assert_eq!(of(Serializer::V2, "AAE="), Ok(Part::Binary(Bytes::from_static(&[0, 1]))));
        for (serializer, line) in [(Serializer::V1, "[1]"), (Serializer::V2, "{}"), (Serializer::V2, "AAE")] {
            assert_eq!(of(serializer, line), Err(NotBase64), "{line}");
        }
    }
}
