//! An encoded message, ready for a transport.
//!
//! The RFC 6455 header of a server's frame is written in front of the message when it is encoded: a broadcast is then
//! the same bytes for every WebSocket, and a transport without frames takes [`Frame::into_text`].

use std::sync::Arc;

use bytes::Bytes;

use super::Payload;

/// The longest header of an unmasked frame: 2 bytes and a length of 8 (RFC 6455 §5.2).
const MAX_HEADER: usize = 10;

/// What the frame holds (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A text message.
    Text = 1,
    /// A binary message.
    Binary = 2,
    /// The last frame of its sender.
    Close = 8,
    /// The answer to a ping.
    Pong = 10,
}

/// A payload of at least this many bytes is not copied into its frame but shared by all frames that carry it: ten thousand
/// clients that join a chat hold one history.
const SHARED: usize = 32 * 1024;

/// One message, encoded and framed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Whole(Bytes),
    Parts(Arc<Parts>),
}

/// A long payload, which is shared, and what comes before and after it.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    before: Bytes,
    payload: Payload,
    after: Bytes,
}

impl Frame {
    /// Frames a payload between what `before` and `after` write: so many bytes `around` it, as far as the caller knows. If
    /// the caller is right, the frame is written once and is one allocation, or three beside a long payload.
    pub(super) fn build(
        opcode: Opcode,
        around: usize,
        before: impl Fn(&mut Vec<u8>),
        payload: &Payload,
        after: impl Fn(&mut Vec<u8>),
    ) -> Self {
        let is_shared = payload.len() >= SHARED;
        let (header, start) = header(opcode, around + payload.len());
        let copied = if is_shared { 0 } else { payload.len() };
        let mut bytes = Vec::with_capacity(start + around + copied);
        bytes.extend_from_slice(&header[..start]);
        before(&mut bytes);
        let at = bytes.len();
        if !is_shared {
            payload.pieces().iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
        after(&mut bytes);
        let written = bytes.len() - start - copied;
        if written != around {
            return Self::build(opcode, written, before, payload, after);
        }
        if !is_shared {
            return Self(Kind::Whole(bytes.into()));
        }
        let after = bytes.split_off(at).into();
        Self(Kind::Parts(Arc::new(Parts { before: bytes.into(), payload: payload.clone(), after })))
    }

    /// Frames a message that is there already.
    pub fn of(opcode: Opcode, message: &[u8]) -> Self {
        let (header, length) = header(opcode, message.len());
        Self(Kind::Whole([&header[..length], message].concat().into()))
    }

    /// A pong with the data of the ping.
    pub fn pong(data: &[u8]) -> Self {
        Self::of(Opcode::Pong, data)
    }

    /// A close frame; without a code it is empty.
    pub fn close(code: Option<CloseCode>) -> Self {
        match code {
            Some(code) => Self::of(Opcode::Close, &code.0.to_be_bytes()),
            None => Self::of(Opcode::Close, &[]),
        }
    }

    /// The frame's bytes, header and message, if they lie in one piece.
    pub fn whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Whole(bytes) => Some(bytes),
            Kind::Parts(_) => None,
        }
    }

    /// The frame's bytes, header and message, in as many pieces as they lie.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        let (first, payload, last) = match &self.0 {
            Kind::Whole(bytes) => (bytes, &[][..], None),
            Kind::Parts(parts) => (&parts.before, parts.payload.pieces(), Some(&parts.after)),
        };
        std::iter::once(first).chain(payload).chain(last)
    }

    /// The length in bytes, of header and message.
    pub fn size(&self) -> usize {
        match &self.0 {
            Kind::Whole(bytes) => bytes.len(),
            Kind::Parts(parts) => parts.before.len() + parts.payload.len() + parts.after.len(),
        }
    }

    /// How many of its bytes lie in the pieces of a [`PayloadList`](super::PayloadList), which other frames share.
    pub fn shared(&self) -> usize {
        match &self.0 {
            Kind::Parts(parts) if parts.payload.is_list() => parts.payload.len(),
            _ => 0,
        }
    }

    /// The text of a text frame, in as many pieces as it lies.
    pub fn into_text(self) -> Option<Vec<Bytes>> {
        let first = *self.pieces().next()?.first()?;
        (first & 0x0f == Opcode::Text as u8).then(|| self.into_message())
    }

    /// The message alone, in as many pieces as it lies.
    pub fn into_message(self) -> Vec<Bytes> {
        let mut pieces: Vec<Bytes> = self.pieces().cloned().collect();
        if let Some(first) = pieces.first_mut() {
            let header = match first.get(1) {
                Some(127) => 10,
                Some(126) => 4,
                _ => 2,
            };
            *first = first.slice(header.min(first.len())..);
        }
        pieces
    }
}

/// The header of a final, unmasked frame, and its length (RFC 6455 §5.2).
fn header(opcode: Opcode, length: usize) -> ([u8; MAX_HEADER], usize) {
    let mut header = [0; MAX_HEADER];
    header[0] = 0x80 | opcode as u8;
    let size = if length < 126 {
        header[1] = length as u8;
        2
    } else if let Ok(length) = u16::try_from(length) {
        header[1] = 126;
        header[2..4].copy_from_slice(&length.to_be_bytes());
        4
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(length as u64).to_be_bytes());
        MAX_HEADER
    };
    (header, size)
}

/// Why a WebSocket is closed, as the number of its close frame (RFC 6455 §7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Nothing went wrong. phoenix.js does not come back.
    pub const NORMAL: Self = Self(1000);
    /// The application disconnected the socket. phoenix.js comes back after any code but 1000.
    pub const GOING_AWAY: Self = Self(1001);
    /// Not a WebSocket frame, or no byte from the client for too long (as Bandit).
    pub const PROTOCOL: Self = Self(1002);
    /// Text that is not UTF-8.
    pub const INVALID_TEXT: Self = Self(1007);
    /// More messages than are allowed in a time.
    pub const POLICY: Self = Self(1008);
    /// A frame or a message over its limit.
    pub const TOO_BIG: Self = Self(1009);
    /// A message that does not decode, or a failure of our own.
    pub const INTERNAL: Self = Self(1011);
    /// The server drains.
    pub const SERVICE_RESTART: Self = Self(1012);

    /// Whether a client may say this code in its close frame.
    pub fn is_valid_from_client(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1011 | 3000..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of `[`, a payload and `]`, made by one who says that this is so long.
    fn bracketed(around: usize, payload: &Bytes) -> Frame {
        let payload = Payload::binary(payload.clone());
        Frame::build(Opcode::Text, around, |out| out.push(b'['), &payload, |out| out.push(b']'))
    }

    fn bytes(frame: &Frame) -> Vec<u8> {
        frame.pieces().flatten().copied().collect()
    }

    #[test]
    fn the_header_has_the_shortest_form_for_each_length() {
        for (length, header) in [
            (2, &[0x81, 2][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = bracketed(2, &Bytes::from(vec![b'x'; length - 2]));
            assert_eq!(&bytes(&frame)[..header.len()], header);
            assert_eq!(frame.size(), header.len() + length);
            assert_eq!(frame.into_message().concat().len(), length);
        }
    }

    #[test]
    fn a_long_payload_is_shared_and_its_frame_is_the_same_bytes() {
        for length in [0, SHARED - 1, SHARED, 70_000] {
            let payload = Bytes::from(vec![b'x'; length]);
            let frame = bracketed(2, &payload);
            let copied = frame.pieces().all(|piece| piece.as_ptr() != payload.as_ptr());
            assert_eq!(copied, length < SHARED, "{length}");
            let message = [b"[", &payload[..], b"]"].concat();
            assert_eq!(frame.clone().into_message().concat(), message);
            assert_eq!(frame.clone().into_text().unwrap().concat(), message);
            assert_eq!(bytes(&frame), bytes(&Frame::of(Opcode::Text, &message)));
            assert_eq!(bytes(&frame).len(), frame.size());
        }
    }

    #[test]
    fn a_wrong_guess_of_the_length_makes_the_same_frame() {
        // the header is longer from 126 bytes on, and from 65,536
        for length in [0, 122, 123, 124, 65_532, 65_533, 65_534] {
            let payload = Bytes::from(vec![b'x'; length]);
            assert_eq!(bracketed(0, &payload), bracketed(2, &payload), "{length}");
            assert_eq!(bracketed(9, &payload), bracketed(2, &payload), "{length}");
        }
    }

    #[test]
    fn a_close_frame_carries_its_code_or_nothing() {
        assert_eq!(bytes(&Frame::close(Some(CloseCode::TOO_BIG))), [0x88, 2, 0x03, 0xf1]);
        assert_eq!(bytes(&Frame::close(None)), [0x88, 0]);
    }

    #[test]
    fn codes_that_are_never_sent_are_not_valid_from_a_client() {
        for code in [1000, 1001, 1003, 1007, 1011, 3000, 4999] {
            assert!(CloseCode(code).is_valid_from_client(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1012, 1015, 2999] {
            assert!(!CloseCode(code).is_valid_from_client(), "{code}");
        }
    }
}
