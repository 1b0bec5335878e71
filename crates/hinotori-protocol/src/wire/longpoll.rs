//! The messages in the body of a long poll's POST.
//!
//! # Source
//! Phoenix `lib/phoenix/transports/long_poll.ex` (`publish/4`), 1.8.12.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{Serializer, share::share};

/// The lines of a body, without the space around them and without empty ones.
pub fn lines(body: &Bytes) -> impl Iterator<Item = Bytes> {
    body.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .map(|line| share(body, line))
}

/// A line: text as it is, or base64 of a binary message.
pub fn part(serializer: Serializer, line: &Bytes) -> Result<Bytes, Option<Bytes>> {
    let opening = match serializer {
        Serializer::V1 => b'{',
        Serializer::V2 => b'[',
    };
    if line.first() == Some(&opening) {
        Ok(line.clone())
    } else {
        Err(STANDARD.decode(line).ok().map(Bytes::from))
    }
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
}
