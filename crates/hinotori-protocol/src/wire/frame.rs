//! An encoded message, ready for a transport.
//!
//! The RFC 6455 header of a server's frame is written in front of the message when the message is encoded. So a
//! broadcast is the same bytes for every WebSocket. A transport without frames uses [`Frame::into_text`].

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Payload,
    compression::{Window, deflate},
};

/// The longest header of an unmasked frame: 2 bytes and a length of 8 (RFC 6455 §5.2).
const MAX_HEADER: usize = 10;

/// The bit of the first byte that marks the last frame of a message, which every frame here is.
const FIN: u8 = 0x80;

/// The bit of the first byte that marks a compressed message (RFC 7692 §6).
const RSV1: u8 = 0x40;

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

/// A payload of at least this many bytes is not copied into its frame, but shared by all frames that carry it: ten
/// thousand clients that join a chat share one history.
const SHARED: usize = 32 * 1024;

/// One message, encoded and framed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Whole(Bytes),
    Parts(Arc<Parts>),
}

/// A long payload, which is shared, and the bytes before and after it.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    before: Bytes,
    payload: Payload,
    after: Bytes,
}

impl Frame {
    /// Frames a payload between what `before` and `after` write, which the caller expects to be `around` bytes. If that
    /// is right, the frame is written once and takes one allocation, or three in addition to a long payload.
    pub(super) fn build(
        opcode: Opcode,
        around: usize,
        before: impl Fn(&mut Vec<u8>),
        payload: &Payload,
        after: impl Fn(&mut Vec<u8>),
    ) -> Self {
        let is_shared = payload.len() >= SHARED;
        let (header, start) = header(opcode as u8, around + payload.len());
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

    /// Frames an encoded message.
    pub fn of(opcode: Opcode, message: &[u8]) -> Self {
        let (header, length) = header(opcode as u8, message.len());
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

    /// The same message, compressed for clients that agreed on this window. `None` if it should be sent uncompressed:
    /// it is shorter than 256 bytes, would not become shorter, is compressed already, or is not a data message.
    ///
    /// ```
    /// use hinotori_protocol::wire::{Frame, Opcode, compression::Window};
    ///
    /// let frame = Frame::of(Opcode::Text, "again and ".repeat(100).as_bytes());
    /// assert!(frame.deflated(Window::Full).unwrap().size() < 50);
    /// assert_eq!(Frame::of(Opcode::Text, b"once").deflated(Window::Full), None);
    /// ```
    #[must_use]
    pub fn deflated(&self, window: Window) -> Option<Self> {
        let first = *self.pieces().next()?.first()?;
        if ![Opcode::Text, Opcode::Binary].iter().any(|opcode| first == FIN | *opcode as u8) {
            return None;
        }
        let mut bytes = vec![0; MAX_HEADER];
        deflate(window, &self.clone().into_message(), &mut bytes).ok()?;
        let (header, length) = header(RSV1 | first, bytes.len() - MAX_HEADER);
        // the header ends where the payload begins, so the payload is not moved
        let start = MAX_HEADER - length;
        bytes[start..MAX_HEADER].copy_from_slice(&header[..length]);
        Some(Self(Kind::Whole(Bytes::from(bytes).slice(start..))))
    }

    /// The frame's bytes, header and message, if they are in one piece.
    pub fn whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Whole(bytes) => Some(bytes),
            Kind::Parts(_) => None,
        }
    }

    /// The frame's bytes, header and message, in their pieces.
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

    /// How many of its bytes are in the pieces of a [`PayloadList`](super::PayloadList), which other frames share.
    pub fn shared(&self) -> usize {
        match &self.0 {
            Kind::Parts(parts) if parts.payload.is_list() => parts.payload.len(),
            _ => 0,
        }
    }

    /// The text of a text frame, in its pieces.
    pub fn into_text(self) -> Option<Vec<Bytes>> {
        let first = *self.pieces().next()?.first()?;
        (first & 0x0f == Opcode::Text as u8).then(|| self.into_message())
    }

    /// The message without the header, in its pieces.
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

/// The header of a final, unmasked frame, and its length (RFC 6455 §5.2). The first byte has the opcode and the
/// reserved bits.
fn header(first: u8, length: usize) -> ([u8; MAX_HEADER], usize) {
    let mut header = [0; MAX_HEADER];
    header[0] = FIN | first;
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
    /// A normal end. phoenix.js does not reconnect.
    pub const NORMAL: Self = Self(1000);
    /// The application disconnected the socket. phoenix.js reconnects after any code except 1000.
    pub const GOING_AWAY: Self = Self(1001);
    /// Not a WebSocket frame, or no byte from the client for too long (as in Bandit).
    pub const PROTOCOL: Self = Self(1002);
    /// Text that is not UTF-8, or a compressed message that does not inflate (as in Bandit).
    pub const INVALID_TEXT: Self = Self(1007);
    /// More messages than are allowed over time.
    pub const POLICY: Self = Self(1008);
    /// A frame or a message over its limit.
    pub const TOO_BIG: Self = Self(1009);
    /// A message that does not decode, or a failure of the server.
    pub const INTERNAL: Self = Self(1011);
    /// The server drains.
    pub const SERVICE_RESTART: Self = Self(1012);

    /// Whether a client may send this code in its close frame.
    pub fn is_valid_from_client(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1011 | 3000..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::compression::Agreement;

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
    fn a_compressed_frame_is_marked_and_has_the_shortest_header() {
        // 25 different letters in a random order shrink by two fifths, so that each form of the length occurs
        let mut state = 1u32;
        let letters = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 24) as u8 % 25
        });
        let text: Vec<u8> = letters.take(150_000).collect();
        let inflate = |payload: &[u8]| Agreement::default().inflate().inflate(payload, text.len()).unwrap();
        for (length, opcode, first) in [
            (300, Opcode::Text, &[0xc1, 126][..]),
            (300, Opcode::Binary, &[0xc2, 126]),
            (150_000, Opcode::Text, &[0xc1, 127]),
        ] {
            let frame = Frame::of(opcode, &text[..length]).deflated(Window::Full).unwrap();
            assert_eq!(bytes(&frame)[..2], *first, "{length}");
            assert!(frame.size() < length);
            let payload = frame.clone().into_message().concat();
            let (header, start) = header(first[0], payload.len());
            assert_eq!(bytes(&frame), [&header[..start], &payload].concat());
            assert_eq!(inflate(&payload), text[..length]);
        }
        let short = Frame::of(Opcode::Text, &[b'x'; 1_000]).deflated(Window::Full).unwrap();
        assert_eq!(usize::from(bytes(&short)[1]), short.size() - 2);
    }

    #[test]
    fn what_is_compressed_or_no_data_message_is_not_compressed() {
        let frame = Frame::of(Opcode::Text, &[b'x'; 1_000_000]).deflated(Window::Full).unwrap();
        assert!(frame.size() > 500, "it would shrink again");
        assert_eq!(frame.deflated(Window::Full), None);
        assert_eq!(Frame::of(Opcode::Pong, &[b'x'; 1_000]).deflated(Window::Full), None);
    }

    #[test]
    fn a_frame_in_parts_is_compressed_as_a_whole() {
        let payload = Bytes::from("said again and ".repeat(SHARED / 10));
        let frame = bracketed(2, &payload);
        let message = frame.clone().into_message().concat();
        let whole = Frame::of(Opcode::Text, &message);
        assert!(frame.whole().is_none() && whole.whole().is_some());
        assert_eq!(frame.deflated(Window::Medium), whole.deflated(Window::Medium));
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
