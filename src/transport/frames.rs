//! WebSocket frames to whole messages (RFC 6455 §5), within limits that are judged before anything is buffered.
//!
//! The length that a frame declares is looked at as soon as it is there: a frame that is too long is refused at its header,
//! and what it would have carried is never stored. Fragments add up to the limit of a message.
//!
//! # Source
//! RFC 6455; the frame parser is that of actix-http.

use actix_http::ws::{OpCode, Parser};
use bytes::{Bytes, BytesMut};

use crate::{
    socket::Incoming,
    telemetry::Closed,
    wire::{CloseCode, is_small_part},
};

/// The longest payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL: u64 = 125;

/// Reads the frames of one client.
#[derive(Debug)]
pub(super) struct Frames {
    max_frame: u64,
    max_message: usize,
    /// Bytes that are not a whole frame yet.
    buffer: BytesMut,
    /// Bytes that came since the buffer was begun: what is cut out of it keeps the memory of all of them.
    spanned: usize,
    /// The message whose fragments are coming; boxed, as nearly none has any.
    fragments: Option<Box<Fragments>>,
    /// The client has closed, or can no longer be understood: its bytes are thrown away.
    over: bool,
}

#[derive(Debug)]
struct Fragments {
    is_text: bool,
    data: BytesMut,
}

impl Frames {
    /// Limits in bytes: of one frame's payload, and of a message in any number of frames.
    pub(super) fn new(max_frame: usize, max_message: usize) -> Self {
        Self {
            max_frame: max_frame as u64,
            max_message,
            buffer: BytesMut::new(),
            spanned: 0,
            fragments: None,
            over: false,
        }
    }

    /// Takes bytes from the wire.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        if self.over {
            return;
        }
        if self.buffer.is_empty() {
            // an idle client holds no buffer
            self.buffer = BytesMut::from(&bytes[..]);
            self.spanned = 0;
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
        self.spanned += bytes.len();
    }

    /// The next thing that the client said, if all of it is here. Nothing follows [`Incoming::Broken`] and
    /// [`Incoming::Close`].
    pub(super) fn next(&mut self) -> Option<Incoming> {
        let incoming = self.read().unwrap_or_else(|why| Some(Incoming::Broken(why)));
        if let Some(Incoming::Broken(_) | Incoming::Close(_)) = incoming {
            self.over = true;
            self.buffer = BytesMut::new();
            self.fragments = None;
        }
        incoming
    }

    /// Bytes that are held: of a frame that is not whole, and of a message that is not.
    #[cfg(any(test, fuzzing))]
    pub(super) fn held(&self) -> usize {
        self.buffer.len() + self.fragments.as_ref().map_or(0, |fragments| fragments.data.len())
    }

    fn read(&mut self) -> Result<Option<Incoming>, Closed> {
        loop {
            self.judge_header()?;
            // a control frame has a limit of its own, which `judge_header` has looked at
            let limit = self.max_frame.max(MAX_CONTROL) as usize;
            let frame = Parser::parse(&mut self.buffer, true, limit);
            let Some((is_final, opcode, payload)) = frame.map_err(|_| Closed::Protocol)? else {
                if self.buffer.len() < self.spanned {
                    // the beginning of a frame is not to be in one piece with those before it; mostly there is none
                    self.buffer = BytesMut::from(&self.buffer[..]);
                    self.spanned = self.buffer.len();
                }
                return Ok(None);
            };
            let mut payload = payload.unwrap_or_default();
            if is_small_part(payload.len(), self.spanned) {
                payload = BytesMut::from(&payload[..]);
            }
            if let Some(incoming) = self.take(is_final, opcode, payload)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// Whether the frame that begins the buffer may be read at all, as far as its header is here. In the order of its
    /// bytes, so that the answer does not depend on how they were cut on their way.
    fn judge_header(&self) -> Result<(), Closed> {
        let [first, second, rest @ ..] = &self.buffer[..] else { return Ok(()) };
        let (is_final, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
        if reserved != 0 || !is_masked || matches!(opcode, 3..8 | 11..) {
            return Err(Closed::Protocol);
        }
        if opcode >= 8 {
            // "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
            let is_fine = is_final && u64::from(short) <= MAX_CONTROL;
            return if is_fine { Ok(()) } else { Err(Closed::Protocol) };
        }
        if (opcode == 0) != self.fragments.is_some() {
            // a continuation of nothing, or a new message within another
            return Err(Closed::Protocol);
        }
        let length = match (short, rest) {
            (126, [a, b, ..]) => u64::from(u16::from_be_bytes([*a, *b])),
            (127, [a, b, c, d, e, f, g, h, ..]) => u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
            (126 | 127, _) => return Ok(()),
            (short, _) => u64::from(short),
        };
        let before = self.fragments.as_ref().map_or(0, |fragments| fragments.data.len() as u64);
        if length > self.max_frame || length.saturating_add(before) > self.max_message as u64 {
            return Err(Closed::TooBig);
        }
        Ok(())
    }

    fn take(
        &mut self,
        is_final: bool,
        opcode: OpCode,
        payload: BytesMut,
    ) -> Result<Option<Incoming>, Closed> {
        match (opcode, self.fragments.take()) {
            (OpCode::Text | OpCode::Binary, None) => self
                .fragment(is_final, Box::new(Fragments { is_text: opcode == OpCode::Text, data: payload })),
            (OpCode::Continue, Some(mut fragments)) => {
                fragments.data.unsplit(payload);
                self.fragment(is_final, fragments)
            }
            (OpCode::Ping, fragments) => {
                self.fragments = fragments;
                Ok(Some(Incoming::Ping(payload.freeze())))
            }
            (OpCode::Pong, fragments) => {
                self.fragments = fragments;
                Ok(Some(Incoming::Alive))
            }
            (OpCode::Close, _) => close(&payload).map(Some),
            // a new message within another, or a continuation of none
            (OpCode::Text | OpCode::Binary, Some(_)) | (OpCode::Continue | OpCode::Bad, _) => {
                Err(Closed::Protocol)
            }
        }
    }

    fn fragment(&mut self, is_final: bool, fragments: Box<Fragments>) -> Result<Option<Incoming>, Closed> {
        if !is_final {
            self.fragments = Some(fragments);
            return Ok(None);
        }
        let data = fragments.data.freeze();
        if !fragments.is_text {
            return Ok(Some(Incoming::Binary(data)));
        }
        match std::str::from_utf8(&data) {
            Ok(_) => Ok(Some(Incoming::Text(data))),
            Err(_) => Err(Closed::InvalidText),
        }
    }
}

/// What a close frame says: nothing, or a code and a reason.
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

    const TEXT: u8 = 0x81;
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
        let mut frames = Frames::new(1_000, 1_500);
        frames.feed(Bytes::copy_from_slice(bytes));
        std::iter::from_fn(|| frames.next()).collect()
    }

    fn text(text: &'static str) -> Incoming {
        Incoming::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn fragments_make_one_message_and_control_frames_may_come_between() {
        let bytes =
            [frame(0x01, b"a"), frame(0x89, b"ping"), frame(0x00, b""), frame(0x8a, b""), frame(0x80, b"b")];
        let ping = Incoming::Ping(Bytes::from_static(b"ping"));
        assert_eq!(read(&bytes.concat()), [ping, Incoming::Alive, text("ab")]);
    }

    #[test]
    fn a_frame_too_long_is_refused_at_its_header() {
        let too_big = [Incoming::Broken(Closed::TooBig)];
        assert_eq!(read(&[TEXT, 0x80 | 126, 0x03, 0xe9]), too_big);
        assert_eq!(read(&[0x82, 0x80 | 127, 0, 0, 1, 0, 0, 0, 0, 0]), too_big);
        assert_eq!(read(&[TEXT, 0x80 | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), too_big);
        assert_eq!(read(&frame(TEXT, &[b'x'; 1_000])).len(), 1);
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
        let mut unmasked = frame(TEXT, b"x");
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
        assert_eq!(read(&frame(TEXT, b"\xff"))[0], Incoming::Broken(Closed::InvalidText));
        assert_eq!(read(&frame(0x88, b"\x03\xe8\xff"))[0], Incoming::Broken(Closed::InvalidText));
        let split =
            [frame(0x01, "é".as_bytes().split_at(1).0), frame(0x80, "é".as_bytes().split_at(1).1)].concat();
        assert_eq!(read(&split), [text("é")], "a character may be cut in two by fragments");
    }

    #[test]
    fn a_frame_with_two_faults_is_broken_in_the_same_way_however_it_is_cut() {
        for first in 0..=255 {
            for second in [0xff, 0xfe, 0x7f, 0xfd, 0x05] {
                let bytes = [&[first, second][..], &[0xff; 12]].concat();
                let mut frames = Frames::new(100, 100);
                let cut = bytes.iter().find_map(|byte| {
                    frames.feed(Bytes::copy_from_slice(&[*byte]));
                    frames.next()
                });
                let mut frames = Frames::new(100, 100);
                frames.feed(bytes.into());
                assert_eq!(cut, frames.next(), "{first:#x} {second:#x}");
            }
        }
    }

    #[test]
    fn a_control_frame_may_be_longer_than_the_limit_of_a_frame() {
        let mut frames = Frames::new(10, 10);
        frames.feed(frame(0x89, &[b'x'; 125]).into());
        assert_eq!(frames.next(), Some(Incoming::Ping(Bytes::from_static(&[b'x'; 125]))));
        frames.feed(frame(TEXT, &[b'x'; 11]).into());
        assert_eq!(frames.next(), Some(Incoming::Broken(Closed::TooBig)));
    }

    #[test]
    fn a_message_keeps_nothing_of_the_frames_that_came_with_it() {
        let mut frames = Frames::new(100_000, 100_000);
        let [long, short] = [frame(0x82, &[b'x'; 60_000]), frame(0x82, b"short")];
        let (short_begins, short_ends) = short.split_at(8);
        let mut datas = vec![];
        // whole behind a long one, and cut in two
        for piece in [&[&long[..], &short, short_begins].concat()[..], short_ends] {
            frames.feed(Bytes::copy_from_slice(piece));
            while let Some(Incoming::Binary(data)) = frames.next() {
                datas.push(data);
            }
        }
        let [long, whole, cut] = &datas[..] else { panic!("{} messages", datas.len()) };
        assert_eq!((long.len(), &whole[..], &cut[..]), (60_000, &b"short"[..], &b"short"[..]));
        // all three live, so what lies behind the long one is of its memory
        let of_long = long.as_ptr() as usize..long.as_ptr() as usize + long.len() + 100;
        assert!(!of_long.contains(&(whole.as_ptr() as usize)));
        assert!(!of_long.contains(&(cut.as_ptr() as usize)));
    }

    #[test]
    fn close_frames_have_a_code_or_none() {
        assert_eq!(read(&frame(0x88, b"")), [Incoming::Close(None)]);
        assert_eq!(read(&frame(0x88, b"\x03\xe8bye")), [Incoming::Close(Some(CloseCode(1000)))]);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_never_panic_and_never_grow(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40)) {
            let mut frames = Frames::new(100, 200);
            for piece in pieces {
                frames.feed(piece.into());
                while let Some(incoming) = frames.next() {
                    if matches!(incoming, Incoming::Broken(_) | Incoming::Close(_)) {
                        return Ok(());
                    }
                }
                prop_assert!(frames.held() <= MAX_CONTROL as usize + 14 + 200, "{}", frames.held());
            }
        }

        #[test]
        fn messages_cut_at_any_place_come_out_whole(lengths in proptest::collection::vec(0usize..300, 1..6), cuts in 1usize..50) {
            let wire: Vec<u8> = lengths.iter().flat_map(|length| frame(0x82, &vec![7; *length])).collect();
            let mut frames = Frames::new(1_000, 1_000);
            let mut seen = vec![];
            for piece in wire.chunks(cuts) {
                frames.feed(Bytes::copy_from_slice(piece));
                while let Some(incoming) = frames.next() {
                    let Incoming::Binary(data) = incoming else { panic!("{incoming:?}") };
                    prop_assert!(data.iter().all(|byte| *byte == 7));
                    seen.push(data.len());
                }
            }
            prop_assert_eq!(seen, lengths);
        }
    }
}
