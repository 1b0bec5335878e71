//! Turns WebSocket frames into whole messages (RFC 6455 §5), within limits that are checked before anything is
//! buffered.
//!
//! The reader takes the stream in pieces of any size, copies each payload once, and keeps only incomplete frames and
//! messages: an idle client takes no memory. A frame is checked by its header, byte by byte in the order of the stream,
//! so the result does not depend on how the network splits it. The payload of a frame over its limit is never stored.
//!
//! # Source
//! RFC 6455.

use bytes::Bytes;
use bytestring::ByteString;

use crate::{
    reason::Closed,
    wire::{
        CloseCode,
        compression::{Inflate, InflateError},
    },
};

/// The longest payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL: u64 = 125;

/// The longest header of a masked frame: 2 bytes, a length of 8, a mask of 4 (RFC 6455 §5.2).
const MAX_HEADER: usize = 14;

/// The bit of the first byte that marks a compressed message (RFC 7692 §6).
const RSV1: u8 = 0x40;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client sends over a WebSocket, reassembled from its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(ByteString),
    /// A binary message.
    Binary(Bytes),
    /// A ping with its data, at most 125 bytes. Answer it with a [pong](crate::wire::Frame::pong) of the same data.
    Ping(Bytes),
    /// A pong. Its data is dropped.
    Pong,
    /// A close frame with its code, if it has one. The code may be any number: see
    /// [`CloseCode::is_valid_from_client`].
    Close(Option<CloseCode>),
    /// The client violated RFC 6455 or a limit: close with [`Closed::code`]. The rest of its bytes cannot be read.
    Broken(Closed),
}

/// Reads the frames of one client.
///
/// ```
/// use hinotori_protocol::frames::{Frames, Incoming};
///
/// // the text "hi", masked with 1 2 3 4, in two pieces as the network may deliver them
/// let (first, second) = (&[0x81, 0x82, 1, 2, 3][..], &[4, b'h' ^ 1, b'i' ^ 2][..]);
/// let mut frames = Frames::new(1_024, 4_096);
/// assert_eq!(frames.next(&mut &first[..]), None);
/// assert_eq!(frames.next(&mut &second[..]), Some(Incoming::Text("hi".into())));
/// assert_eq!(frames.held(), 0);
/// ```
#[derive(Debug)]
pub struct Frames {
    max_frame: usize,
    max_message: usize,
    /// Reads compressed messages, if the client may send them. Boxed, so that it costs other clients only a pointer.
    inflate: Option<Box<Inflate>>,
    /// The incomplete frame or message; usually there is none.
    unfinished: Option<Box<Unfinished>>,
    /// The client has closed, or can no longer be understood: its bytes are discarded.
    over: bool,
}

#[derive(Debug, Default)]
struct Unfinished {
    /// The beginning of a header.
    header: Vec<u8>,
    /// A frame, and its payload so far.
    frame: Option<(Header, Vec<u8>)>,
    /// A message of several frames, so far.
    message: Option<Fragments>,
}

#[derive(Debug)]
struct Fragments {
    is_text: bool,
    is_compressed: bool,
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    is_final: bool,
    is_compressed: bool,
    opcode: u8,
    length: usize,
    mask: [u8; 4],
}

impl Frames {
    /// A reader with two limits, both in bytes: `max_frame` for the payload of one frame, `max_message` for a message
    /// in any number of frames. Control frames always have a limit of 125 bytes.
    pub fn new(max_frame: usize, max_message: usize) -> Self {
        Self { max_frame, max_message, inflate: None, unfinished: None, over: false }
    }

    /// Reads compressed messages too, as [agreed on](crate::wire::compression::Agreement::inflate). `max_frame` then
    /// limits the compressed payload of a frame, `max_message` both the compressed and the inflated message.
    #[must_use]
    pub fn with_inflate(self, inflate: Inflate) -> Self {
        Self { inflate: Some(Box::new(inflate)), ..self }
    }

    /// The client's next message or control frame, if `input` completes it. Removes from `input` what it has read:
    /// everything, if it returns `None`. Nothing follows [`Incoming::Broken`] and [`Incoming::Close`].
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Incoming> {
        if self.over {
            *input = &[];
            return None;
        }
        let incoming = self.read(input).unwrap_or_else(|why| Some(Incoming::Broken(why)));
        if let Some(Incoming::Broken(_) | Incoming::Close(_)) = incoming {
            self.over = true;
            self.unfinished = None;
            self.inflate = None;
        }
        incoming
    }

    /// Bytes that are buffered of an incomplete header, frame and message. At most `max_message` and one control frame.
    pub fn held(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |unfinished| {
            unfinished.header.len()
                + unfinished.frame.as_ref().map_or(0, |(_, payload)| payload.len())
                + unfinished.message.as_ref().map_or(0, |message| message.data.len())
        })
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Closed> {
        while !input.is_empty() {
            let Some((header, mut payload)) = self.begun(input)? else { return Ok(None) };
            let missing = header.length - payload.len();
            let (here, rest) = input.split_at(missing.min(input.len()));
            *input = rest;
            header.unmask(&mut payload, here);
            if payload.len() < header.length {
                self.unfinished().frame = Some((header, payload));
                return Ok(None);
            }
            if let Some(incoming) = self.take(header, payload)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// The frame that is being read, with its payload so far. `None` if `input` ends within its header.
    fn begun(&mut self, input: &mut &[u8]) -> Result<Option<(Header, Vec<u8>)>, Closed> {
        let Some(unfinished) = &mut self.unfinished else { return self.begin(input, &[]) };
        if let Some(frame) = unfinished.frame.take() {
            return Ok(Some(frame));
        }
        let header = std::mem::take(&mut unfinished.header);
        self.begin(input, &header)
    }

    /// Reads a header whose first bytes came before.
    fn begin(&mut self, input: &mut &[u8], before: &[u8]) -> Result<Option<(Header, Vec<u8>)>, Closed> {
        let mut joined = [0; MAX_HEADER];
        let bytes = if before.is_empty() {
            *input
        } else {
            let length = before.len() + input.len().min(MAX_HEADER - before.len());
            joined[..before.len()].copy_from_slice(before);
            joined[before.len()..length].copy_from_slice(&input[..length - before.len()]);
            &joined[..length]
        };
        let Some((header, length)) = self.header(bytes)? else {
            self.unfinished().header = bytes.to_vec();
            *input = &[];
            return Ok(None);
        };
        *input = &input[length - before.len()..];
        Ok(Some((header, Vec::with_capacity(header.length.min(input.len())))))
    }

    /// The header at the beginning of `bytes` and its length, if it is complete and the frame is allowed.
    fn header(&self, bytes: &[u8]) -> Result<Option<(Header, usize)>, Closed> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (is_final, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
        let is_compressed = reserved == RSV1;
        // only the first frame of a message is marked as compressed
        let may_be = self.inflate.is_some() && matches!(opcode, TEXT | BINARY);
        if (reserved != 0 && !(is_compressed && may_be)) || !is_masked || matches!(opcode, 3..8 | 11..) {
            return Err(Closed::Protocol);
        }
        let is_control = opcode >= CLOSE;
        if is_control && (!is_final || u64::from(short) > MAX_CONTROL) {
            // "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
            return Err(Closed::Protocol);
        }
        let before = self.unfinished.as_ref().and_then(|unfinished| unfinished.message.as_ref());
        if !is_control && (opcode == CONTINUATION) != before.is_some() {
            // a continuation without a beginning, or a new message within another
            return Err(Closed::Protocol);
        }
        let (length, rest) = match (short, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            (126 | 127, _) => return Ok(None),
            (short, rest) => (u64::from(short), rest),
        };
        let before = before.map_or(0, |message| message.data.len() as u64);
        if !is_control
            && (length > self.max_frame as u64 || length.saturating_add(before) > self.max_message as u64)
        {
            return Err(Closed::TooBig);
        }
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let header = Header { is_final, is_compressed, opcode, length: length as usize, mask: *mask };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    fn unfinished(&mut self) -> &mut Unfinished {
        self.unfinished.get_or_insert_default()
    }

    /// Takes a complete frame, and returns what it completes.
    fn take(&mut self, header: Header, payload: Vec<u8>) -> Result<Option<Incoming>, Closed> {
        let incoming = match header.opcode {
            CLOSE => close(&payload)?,
            PING => Incoming::Ping(payload.into()),
            PONG => Incoming::Pong,
            opcode => {
                let begun = self.unfinished.as_mut().and_then(|unfinished| unfinished.message.take());
                let message = match begun {
                    Some(mut message) => {
                        message.data.extend_from_slice(&payload);
                        message
                    }
                    None => {
                        let is_compressed = header.is_compressed;
                        Fragments { is_text: opcode == TEXT, is_compressed, data: payload }
                    }
                };
                if !header.is_final {
                    self.unfinished().message = Some(message);
                    return Ok(None);
                }
                self.unfinished = None;
                message.whole(self.inflate.as_deref_mut(), self.max_message)?
            }
        };
        Ok(Some(incoming))
    }
}

impl Fragments {
    /// The complete message. It keeps no other memory alive.
    fn whole(mut self, inflate: Option<&mut Inflate>, max_message: usize) -> Result<Incoming, Closed> {
        let data = match inflate.filter(|_| self.is_compressed) {
            Some(inflate) => inflate.inflate(&self.data, max_message)?,
            None => {
                self.data.shrink_to_fit();
                self.data.into()
            }
        };
        if !self.is_text {
            return Ok(Incoming::Binary(data));
        }
        ByteString::try_from(data).map(Incoming::Text).map_err(|_| Closed::InvalidText)
    }
}

impl From<InflateError> for Closed {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooBig => Self::TooBig,
            InflateError::Malformed => Self::Inflate,
        }
    }
}

impl Header {
    /// Appends a piece to the frame's payload so far.
    fn unmask(&self, payload: &mut Vec<u8>, masked: &[u8]) {
        let begin = payload.len();
        payload.extend_from_slice(masked);
        let mut mask = self.mask;
        mask.rotate_left(begin % 4);
        let wide = u64::from_ne_bytes(std::array::from_fn(|index| mask[index % 4]));
        let (chunks, rest) = payload[begin..].as_chunks_mut::<8>();
        for chunk in chunks {
            *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
        }
        rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// Reads the payload of a close frame: nothing, or a code and a reason.
fn close(payload: &[u8]) -> Result<Incoming, Closed> {
    match payload {
        [] => Ok(Incoming::Close(None)),
        [_] => Err(Closed::Protocol),
        [high, low, reason @ ..] => match std::str::from_utf8(reason) {
            Ok(_) => Ok(Incoming::Close(Some(CloseCode(u16::from_be_bytes([*high, *low]))))),
            Err(_) => Err(Closed::InvalidText),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{
        Frame, Opcode,
        compression::{Agreement, Window},
    };

    /// The first byte of a text in one frame.
    const WHOLE: u8 = 0x81;
    /// The same for a compressed one.
    const COMPRESSED: u8 = 0xc1;
    /// "Hello", compressed (RFC 7692 §7.2.3.1).
    const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn read(bytes: &[u8]) -> Vec<Incoming> {
        feed(&mut Frames::new(1_000, 1_500), bytes)
    }

    /// What the client has said when `bytes` have come.
    fn feed(frames: &mut Frames, mut bytes: &[u8]) -> Vec<Incoming> {
        let said = std::iter::from_fn(|| frames.next(&mut bytes)).collect();
        assert!(bytes.is_empty(), "all that came was read");
        said
    }

    /// A reader for a client that may send compressed messages.
    fn inflating(max_frame: usize, max_message: usize) -> Frames {
        Frames::new(max_frame, max_message).with_inflate(Agreement::default().inflate())
    }

    fn text(text: &'static str) -> Incoming {
        Incoming::Text(ByteString::from_static(text))
    }

    #[test]
    fn fragments_make_one_message_and_control_frames_may_come_between() {
        let bytes =
            [frame(0x01, b"a"), frame(0x89, b"ping"), frame(0x00, b""), frame(0x8a, b""), frame(0x80, b"b")];
        let ping = Incoming::Ping(Bytes::from_static(b"ping"));
        assert_eq!(read(&bytes.concat()), [ping, Incoming::Pong, text("ab")]);
    }

    #[test]
    fn a_frame_too_long_is_refused_at_its_header() {
        let too_big = [Incoming::Broken(Closed::TooBig)];
        assert_eq!(read(&[WHOLE, 0x80 | 126, 0x03, 0xe9]), too_big);
        assert_eq!(read(&[0x82, 0x80 | 127, 0, 0, 1, 0, 0, 0, 0, 0]), too_big);
        assert_eq!(read(&[WHOLE, 0x80 | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), too_big);
        assert_eq!(read(&frame(WHOLE, &[b'x'; 1_000])).len(), 1);
    }

    #[test]
    fn fragments_add_up_to_the_limit_of_a_message() {
        let first = frame(0x01, &[b'x'; 1_000]);
        let whole = [first.clone(), frame(0x80, &[b'x'; 500])].concat();
        assert!(matches!(&read(&whole)[..], [Incoming::Text(data)] if data.len() == 1_500));
        let more = [first, frame(0x80, &[b'x'; 501])].concat();
        assert_eq!(read(&more)[0], Incoming::Broken(Closed::TooBig));
    }

    #[test]
    fn what_is_against_the_protocol_is_told_from_bad_text() {
        let mut unmasked = frame(WHOLE, b"x");
        unmasked[1] &= 0x7f;
        for bytes in [
            unmasked,
            frame(0xc1, b"x"),                               // a reserved bit
            frame(0x83, b"x"),                               // a reserved opcode
            frame(0x8b, b""),                                // a reserved control opcode
            frame(0x80, b"x"),                               // a continuation of nothing
            [frame(0x01, b"x"), frame(0x81, b"x")].concat(), // a message within another
            frame(0x09, b""),                                // a ping in fragments
            frame(0x89, &[0; 126]),                          // a ping too long
            frame(0x88, &[3]),                               // half a close code
        ] {
            assert_eq!(read(&bytes)[0], Incoming::Broken(Closed::Protocol), "{bytes:x?}");
        }
        assert_eq!(read(&frame(WHOLE, b"\xff"))[0], Incoming::Broken(Closed::InvalidText));
        assert_eq!(read(&frame(0x88, b"\x03\xe8\xff"))[0], Incoming::Broken(Closed::InvalidText));
        let split =
            [frame(0x01, "é".as_bytes().split_at(1).0), frame(0x80, "é".as_bytes().split_at(1).1)].concat();
        assert_eq!(read(&split), [text("é")], "a character may be cut in two by fragments");
    }

    #[test]
    fn a_compressed_message_may_come_in_fragments_and_others_between() {
        let (first, rest) = HELLO.split_at(3);
        let bytes = [
            frame(COMPRESSED, HELLO),
            frame(WHOLE, b"plain"),
            frame(0x41, first),
            frame(0x89, b""),
            frame(0x00, b""),
            frame(0x80, rest),
            // the same by reference to what came before (RFC 7692 §7.2.3.2)
            frame(0xc2, b"\xf2\x00\x11\x00\x00"),
        ];
        let ping = Incoming::Ping(Bytes::new());
        let hello = Incoming::Binary(Bytes::from_static(b"Hello"));
        let said = feed(&mut inflating(100, 100), &bytes.concat());
        assert_eq!(said, [text("Hello"), text("plain"), ping, text("Hello"), hello]);
    }

    #[test]
    fn only_the_first_frame_of_a_message_may_be_marked_and_only_if_that_was_agreed_on() {
        assert_eq!(read(&frame(COMPRESSED, HELLO)), [Incoming::Broken(Closed::Protocol)]);
        for bytes in [
            [frame(0x41, HELLO), frame(0xc0, b"")].concat(),
            [frame(0x01, b"a"), frame(0xc0, HELLO)].concat(),
            frame(0xc9, b""),
            frame(0xca, b""),
            frame(0xc8, b""),
            frame(0xe1, HELLO),
            frame(0xd1, HELLO),
            frame(0xa1, HELLO),
            frame(0xc3, HELLO),
        ] {
            let said = feed(&mut inflating(100, 100), &bytes);
            assert_eq!(said, [Incoming::Broken(Closed::Protocol)], "{bytes:x?}");
        }
    }

    #[test]
    fn a_compressed_message_is_judged_by_what_it_says() {
        let deflated = |message: &[u8]| {
            let frame = Frame::of(Opcode::Text, message).deflated(Window::Full).unwrap();
            frame.into_message().concat()
        };
        let xs = deflated(&[b'x'; 1_500]);
        assert!(xs.len() < 50);
        let said = |max_message, payload: &[u8]| {
            let mut frames = inflating(100, max_message);
            let said = feed(&mut frames, &frame(COMPRESSED, payload));
            assert_eq!((frames.held(), said.len()), (0, 1));
            said.into_iter().next().unwrap()
        };
        assert!(matches!(said(1_500, &xs), Incoming::Text(text) if text == "x".repeat(1_500)));
        assert_eq!(said(1_499, &xs), Incoming::Broken(Closed::TooBig));
        assert_eq!(said(1_500, &deflated(&[0xff; 1_500])), Incoming::Broken(Closed::InvalidText));
        assert_eq!(said(1_500, &HELLO[..3]), Incoming::Broken(Closed::Inflate));
        // what comes is limited as ever
        assert_eq!(said(1_500, &[0; 101]), Incoming::Broken(Closed::TooBig));
    }

    #[test]
    fn a_frame_with_two_faults_is_broken_in_the_same_way_however_it_is_cut() {
        for first in 0..=255 {
            for second in [0xff, 0xfe, 0x7f, 0xfd, 0x05] {
                let bytes = [&[first, second][..], &[0xff; 12]].concat();
                let mut frames = Frames::new(100, 100);
                let cut = bytes.iter().find_map(|byte| frames.next(&mut &[*byte][..]));
                let whole = Frames::new(100, 100).next(&mut &bytes[..]);
                assert_eq!(cut, whole, "{first:#x} {second:#x}");
            }
        }
    }

    #[test]
    fn a_control_frame_may_be_longer_than_the_limit_of_a_frame() {
        let mut frames = Frames::new(10, 10);
        let ping = Incoming::Ping(Bytes::from_static(&[b'x'; 125]));
        assert_eq!(feed(&mut frames, &frame(0x89, &[b'x'; 125])), [ping]);
        assert_eq!(feed(&mut frames, &frame(WHOLE, &[b'x'; 11])), [Incoming::Broken(Closed::TooBig)]);
    }

    #[test]
    fn an_idle_client_holds_nothing_however_its_messages_were_cut() {
        let mut frames = Frames::new(1_000, 1_000);
        let message = [frame(0x01, b"long"), frame(0x80, &[b'x'; 300])].concat();
        for cut in 1..message.len() {
            let said = [&message[..cut], &message[cut..]].map(|piece| feed(&mut frames, piece)).concat();
            assert_eq!(said.len(), 1, "{cut}");
            assert!(frames.unfinished.is_none(), "{cut}");
        }
    }

    #[test]
    fn nothing_is_read_after_the_end() {
        let bytes = [frame(0x88, b""), frame(WHOLE, b"more")].concat();
        assert_eq!(read(&bytes), [Incoming::Close(None)]);
    }

    #[test]
    fn close_frames_have_a_code_or_none() {
        assert_eq!(read(&frame(0x88, b"")), [Incoming::Close(None)]);
        assert_eq!(read(&frame(0x88, b"\x03\xe8bye")), [Incoming::Close(Some(CloseCode(1000)))]);
    }

    /// A frame of any kind, mostly one that may be there.
    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let first = vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x83, 0xc1, 0x42];
        let payload = prop_oneof![prop::collection::vec(any::<u8>(), 0..300), Just(HELLO.to_vec())];
        (prop::sample::select(first), payload).prop_map(|(first, payload)| {
            let payload = if first & 0x08 != 0 { &payload[..payload.len().min(125)] } else { &payload[..] };
            frame(first, payload)
        })
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_never_panic_and_never_grow(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40)) {
            let mut frames = inflating(100, 200);
            for piece in pieces {
                if feed(&mut frames, &piece).iter().any(|said| matches!(said, Incoming::Broken(_) | Incoming::Close(_))) {
                    return Ok(());
                }
                prop_assert!(frames.held() <= MAX_CONTROL as usize + MAX_HEADER + 200, "{}", frames.held());
            }
        }

        /// An unmasking that depends on where a piece begins would show here.
        #[test]
        fn a_stream_cut_anywhere_says_the_same(stream in prop::collection::vec(any_frame(), 1..8), cuts in prop::collection::vec(1usize..60, 1..8)) {
            let stream = stream.concat();
            let whole = feed(&mut inflating(250, 400), &stream);
            let (mut frames, mut rest, mut said) = (inflating(250, 400), &stream[..], vec![]);
            for cut in cuts.iter().cycle() {
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                said.extend(feed(&mut frames, piece));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(said, whole);
        }

        #[test]
        fn what_was_masked_comes_out_as_it_was(payload in prop::collection::vec(any::<u8>(), 0..500), cut in 1usize..500) {
            let stream = frame(0x82, &payload);
            let mut frames = Frames::new(1_000, 1_000);
            let said: Vec<Incoming> = stream.chunks(cut).flat_map(|piece| feed(&mut frames, piece)).collect();
            prop_assert_eq!(said, [Incoming::Binary(payload.into())]);
        }
    }
}
