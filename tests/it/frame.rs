//! WebSocket frames as bytes (RFC 6455, section 5.2): what a client writes, and what it reads.
//!
//! No I/O. The writer refuses nothing, so that a test can send what no real client would.

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// The bit of a frame's first byte that says that its message is compressed (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;

/// Any key does: what matters is that the server undoes it.
const MASK: [u8; 4] = [0x9d, 0x01, 0x5c, 0xe3];

/// One frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) reserved: u8,
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

/// The first bytes of a client's frame: flags, opcode, declared length, mask.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first];
    match length {
        0..126 => out.push(0x80 | length as u8),
        126..65_536 => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(MASK);
    out
}

/// A whole frame of a client, masked.
pub(crate) fn masked(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = header(if fin { 0x80 | opcode } else { opcode }, payload.len() as u64);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// One message, in fragments of at most `size` bytes.
pub(crate) fn fragmented(opcode: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = payload.chunks(size.max(1)).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let last = parts.len() - 1;
    let frame =
        |(at, part): (usize, &&[u8])| masked(at == last, if at == 0 { opcode } else { CONTINUATION }, part);
    parts.iter().enumerate().flat_map(frame).collect()
}

/// Cuts a stream of bytes into the server's frames.
#[derive(Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    read: usize,
}

impl Decoder {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame that has come whole.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let bytes = &self.buffer[self.read..];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4_usize),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
            short => (u64::from(short), 2),
        };
        let masked = second & 0x80 != 0;
        let at = if masked { at + MASK.len() } else { at };
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        let payload = bytes.get(at..end)?.to_vec();
        self.read += end;
        Some(Frame { fin: first & 0x80 != 0, reserved: first & 0x70, opcode: first & 0x0f, masked, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame: not masked.
    fn plain(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = header(if fin { 0x80 | opcode } else { opcode }, payload.len() as u64);
        out.truncate(out.len() - MASK.len());
        out[1] &= 0x7f;
        out.extend(payload);
        out
    }

    fn frames(decoder: &mut Decoder) -> Vec<Frame> {
        std::iter::from_fn(|| decoder.next()).collect()
    }

    #[test]
    fn frames_of_every_length_class_read_back_as_written() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut decoder = Decoder::default();
            decoder.push(&plain(true, BINARY, &payload));
            assert_eq!(
                frames(&mut decoder),
                [Frame { fin: true, reserved: 0, opcode: BINARY, masked: false, payload }],
                "length {length}"
            );
        }
    }

    #[test]
    fn frames_cut_at_every_byte_read_back_the_same() {
        let bytes =
            [plain(false, TEXT, b"[1,"), plain(true, PING, b"hi"), plain(true, CONTINUATION, &[b' '; 200])]
                .concat();
        let mut whole = Decoder::default();
        whole.push(&bytes);
        let expected = frames(&mut whole);
        assert_eq!(expected.len(), 3);
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::default();
            decoder.push(&bytes[..cut]);
            let mut got = frames(&mut decoder);
            decoder.push(&bytes[cut..]);
            got.extend(frames(&mut decoder));
            assert_eq!(got, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_masked_frame_is_the_payload_again_under_its_mask() {
        let frame = masked(true, TEXT, b"heartbeat");
        assert_eq!(frame[..2], [0x81, 0x89]);
        let payload: Vec<u8> =
            frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert_eq!(payload, b"heartbeat");
    }

    #[test]
    fn fragments_begin_with_the_opcode_and_only_the_last_one_is_final() {
        let bytes = fragmented(TEXT, b"abcde", 2);
        let firsts: Vec<u8> = [0, 8, 16].iter().map(|&at| bytes[at]).collect();
        assert_eq!(firsts, [0x01, 0x00, 0x80]);
        assert_eq!(fragmented(TEXT, b"", 2), masked(true, TEXT, b""));
    }
}
