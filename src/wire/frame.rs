//! An encoded message, ready for a transport.
//!
//! The RFC 6455 header of a server's frame is written in front of the message when it is encoded: a broadcast is then
//! the same bytes for every WebSocket, and a transport without frames takes [`Frame::message`].

use bytes::{Buf, Bytes};

/// The longest header of an unmasked frame: 2 bytes and a length of 8 (RFC 6455 §5.2).
const MAX_HEADER: usize = 10;

/// What the frame holds (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Pong = 10,
}

/// One message, encoded and framed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame(Bytes);

impl Frame {
    /// Frames the message that `write` appends to the buffer; `size` is a guess of its length.
    pub(crate) fn build<E>(
        opcode: Opcode,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut buffer = Vec::with_capacity(MAX_HEADER + size);
        buffer.resize(MAX_HEADER, 0);
        write(&mut buffer)?;
        let (header, length) = header(opcode, buffer.len() - MAX_HEADER);
        let start = MAX_HEADER - length;
        buffer[start..MAX_HEADER].copy_from_slice(&header[..length]);
        let mut frame = Bytes::from(buffer);
        frame.advance(start);
        Ok(Self(frame))
    }

    /// Frames a message that is there already.
    pub(crate) fn of(opcode: Opcode, message: &[u8]) -> Self {
        let (header, length) = header(opcode, message.len());
        Self([&header[..length], message].concat().into())
    }

    /// A pong with the data of the ping.
    pub(crate) fn pong(data: &[u8]) -> Self {
        Self::of(Opcode::Pong, data)
    }

    /// A close frame; without a code it is empty.
    pub(crate) fn close(code: Option<CloseCode>) -> Self {
        match code {
            Some(code) => Self::of(Opcode::Close, &code.0.to_be_bytes()),
            None => Self::of(Opcode::Close, &[]),
        }
    }

    /// Header and message: what a WebSocket writes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// As [`Frame::bytes`].
    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The text of a text frame.
    pub(crate) fn text(&self) -> Option<Bytes> {
        self.0.first().filter(|first| *first & 0x0f == Opcode::Text as u8).map(|_| self.message())
    }

    /// The message alone.
    pub(crate) fn message(&self) -> Bytes {
        let header = match self.0.get(1) {
            Some(127) => 10,
            Some(126) => 4,
            _ => 2,
        };
        self.0.slice(header.min(self.0.len())..)
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
pub(crate) struct CloseCode(pub(crate) u16);

impl CloseCode {
    /// Nothing went wrong. phoenix.js does not come back.
    pub(crate) const NORMAL: Self = Self(1000);
    /// The application disconnected the socket. phoenix.js comes back after any code but 1000.
    pub(crate) const GOING_AWAY: Self = Self(1001);
    /// Not a WebSocket frame, or no byte from the client for too long (as Bandit).
    pub(crate) const PROTOCOL: Self = Self(1002);
    /// Text that is not UTF-8.
    pub(crate) const INVALID_TEXT: Self = Self(1007);
    /// More messages than are allowed in a time.
    pub(crate) const POLICY: Self = Self(1008);
    /// A frame or a message over its limit.
    pub(crate) const TOO_BIG: Self = Self(1009);
    /// A message that does not decode, or a failure of our own.
    pub(crate) const INTERNAL: Self = Self(1011);
    /// The server drains.
    pub(crate) const SERVICE_RESTART: Self = Self(1012);

    /// Whether a client may say this code in its close frame.
    pub(crate) fn is_valid_from_client(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1011 | 3000..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(length: usize) -> Frame {
        Frame::build(Opcode::Text, 0, |out| {
            out.resize(out.len() + length, b'x');
            Ok::<_, ()>(())
        })
        .unwrap()
    }

    #[test]
    fn the_header_has_the_shortest_form_for_each_length() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = framed(length);
            assert_eq!(&frame.bytes()[..header.len()], header);
            assert_eq!(frame.bytes().len(), header.len() + length);
            assert_eq!(frame.message().len(), length);
        }
    }

    #[test]
    fn a_close_frame_carries_its_code_or_nothing() {
        assert_eq!(&Frame::close(Some(CloseCode::TOO_BIG)).bytes()[..], &[0x88, 2, 0x03, 0xf1]);
        assert_eq!(&Frame::close(None).bytes()[..], &[0x88, 0]);
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
