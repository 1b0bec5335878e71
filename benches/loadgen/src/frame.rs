//! WebSocket frames, as far as a load needs them: whole and short of ambition.

/// Any mask will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What an empty close frame of a client looks like.
pub(crate) const GOODBYE: [u8; 6] = [0x80 | CLOSE, 0x80, MASK[0], MASK[1], MASK[2], MASK[3]];

/// A frame's kinds that are of interest.
pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;

/// The first byte's bit of a compressed message: RFC 7692, 6.
const COMPRESSED: u8 = 0x40;

/// A client's text frame.
pub(crate) fn masked(text: &[u8]) -> Vec<u8> {
    let mut frame = header(text.len());
    frame[1] |= 0x80;
    frame.extend_from_slice(&MASK);
    frame.extend(text.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A server's text frame.
pub(crate) fn plain(text: &[u8]) -> Vec<u8> {
    let mut frame = header(text.len());
    frame.extend_from_slice(text);
    frame
}

/// A server's text frame whose payload is compressed.
pub(crate) fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut frame = plain(payload);
    frame[0] |= COMPRESSED;
    frame
}

fn header(length: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(length + 14);
    header.push(0x80 | TEXT);
    if length < 126 {
        header.push(length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        header.push(126);
        header.extend_from_slice(&length.to_be_bytes());
    } else {
        header.push(127);
        header.extend_from_slice(&(length as u64).to_be_bytes());
    }
    header
}

/// A frame at the beginning of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) opcode: u8,
    pub(crate) is_compressed: bool,
    /// Where its payload begins, behind the mask if there is one.
    pub(crate) from: usize,
    /// Where it ends.
    pub(crate) to: usize,
}

/// The frame that begins a buffer, if it is whole.
pub(crate) fn find(buffer: &[u8]) -> Option<Found> {
    let [first, second, rest @ ..] = buffer else { return None };
    let (length, header) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, 10)
        }
        (126 | 127, _) => return None,
        (length, _) => (usize::from(length), 2),
    };
    let from = header + if second & 0x80 == 0 { 0 } else { MASK.len() };
    let to = from.checked_add(length)?;
    let (opcode, is_compressed) = (first & 0x0f, first & COMPRESSED != 0);
    (buffer.len() >= to).then_some(Found { opcode, is_compressed, from, to })
}

/// What a client's frame says.
pub(crate) fn unmask(buffer: &[u8], found: &Found) -> Vec<u8> {
    let mask = &buffer[found.from - MASK.len()..found.from];
    buffer[found.from..found.to].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}
