//! Reads the compressed messages of one client.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

/// What a client omits at the end of each message (RFC 7692 §7.2.2), and an empty block that is marked as the last of
/// its stream: a message that stops within a block does not reach that end.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// The most bytes that DEFLATE refers back.
const MAX_WINDOW: usize = 32 * 1024;

/// Streams in one message. A client may end a stream within a message (RFC 7692 §7.2.3.4) and begin another; that takes
/// two bytes, and some microseconds to restore the window.
const MAX_STREAMS: usize = 16;

/// The initial memory for a message is this many times its compressed length, and some more, because zlib is slow with
/// less than 260 bytes left.
const LIKELY_RATIO: usize = 4;
const LEAST_ROOM: usize = 512;

thread_local! {
    /// It keeps nothing after a message: an [`Inflate`] keeps what the next message may refer to.
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Why a compressed message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// It is longer than the limit.
    TooBig,
    /// It is not DEFLATE, stops within a block, or refers to what was never sent.
    Malformed,
}

/// One client's context: what its next message may refer to.
///
/// ```
/// use hinotori_protocol::wire::compression::{Agreement, InflateError};
///
/// let mut inflate = Agreement::negotiate([&b"permessage-deflate"[..]]).unwrap().inflate();
/// // RFC 7692 §7.2.3.2: the second message refers to the first
/// assert_eq!(inflate.inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00", 5).unwrap(), "Hello");
/// assert_eq!(inflate.inflate(b"\xf2\x00\x11\x00\x00", 5).unwrap(), "Hello");
/// assert_eq!(inflate.inflate(b"\xf2\x00\x11\x00\x00", 4), Err(InflateError::TooBig));
/// ```
#[derive(Debug)]
pub struct Inflate {
    /// The end of what the client has sent compressed. Empty, without an allocation, until then.
    history: Vec<u8>,
    /// The longest history, in bytes: a power of 2, or 0.
    window: usize,
}

impl Inflate {
    /// Remembers the last `window` bytes: a power of 2, or 0 for a client whose messages are compressed independently.
    pub(super) fn new(window: usize) -> Self {
        Self { history: Vec::new(), window }
    }

    /// Inflates the payload of a message, joined from all its frames. Reserves memory for at most `limit` + 1 bytes,
    /// however long the message would be. A payload of empty dynamic blocks takes the longest: some 66 ns per byte.
    ///
    /// # Errors
    /// - [`InflateError::TooBig`]: the message is longer than `limit` bytes.
    /// - [`InflateError::Malformed`]: the payload is not a compressed message.
    ///
    /// Both lose the context, so no later message can be read.
    pub fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<Bytes, InflateError> {
        let mut message = Vec::new();
        self.inflate_into(&mut message, payload, limit)?;
        remember(&mut self.history, &message, self.window);
        message.shrink_to_fit();
        Ok(message.into())
    }

    fn inflate_into(&self, message: &mut Vec<u8>, payload: &[u8], limit: usize) -> Result<(), InflateError> {
        if payload.is_empty() {
            // an empty message is a 0 byte, but zlib flushed twice writes nothing
            return Ok(());
        }
        let most = limit.saturating_add(1);
        let likely = payload.len().saturating_mul(LIKELY_RATIO).saturating_add(LEAST_ROOM);
        message.reserve_exact(likely.min(most));
        INFLATER.with_borrow_mut(|inflater| {
            let mut reader = Reader { inflater, history: &self.history, message, most, streams: 0 };
            reader.begin()?;
            let is_whole = reader.read(payload)? || reader.read(&TAIL)?;
            if is_whole { Ok(()) } else { Err(InflateError::Malformed) }
        })
    }
}

/// One message that is being inflated by the thread's inflater.
struct Reader<'a> {
    inflater: &'a mut Decompress,
    history: &'a [u8],
    message: &'a mut Vec<u8>,
    /// The length in bytes at which the message is too long.
    most: usize,
    /// Streams that have begun.
    streams: usize,
}

impl Reader<'_> {
    /// Begins a stream, which may refer to what precedes it.
    fn begin(&mut self) -> Result<(), InflateError> {
        self.streams += 1;
        if self.streams > MAX_STREAMS {
            return Err(InflateError::Malformed);
        }
        self.inflater.reset(false);
        if self.message.is_empty() {
            return self.refer_to(self.history);
        }
        let mut past = self.history.to_vec();
        remember(&mut past, self.message, MAX_WINDOW);
        self.refer_to(&past)
    }

    fn refer_to(&mut self, past: &[u8]) -> Result<(), InflateError> {
        if past.is_empty() {
            return Ok(());
        }
        self.inflater.set_dictionary(past).map(|_| ()).map_err(|_| InflateError::Malformed)
    }

    /// Reads more bytes. Returns whether a stream ends with the last byte.
    fn read(&mut self, mut bytes: &[u8]) -> Result<bool, InflateError> {
        loop {
            self.make_room();
            let before = self.inflater.total_in();
            let status = self.inflater.decompress_vec(bytes, self.message, FlushDecompress::None);
            let read = (self.inflater.total_in() - before) as usize;
            bytes = &bytes[read..];
            if self.message.len() >= self.most {
                return Err(InflateError::TooBig);
            }
            match status.map_err(|_| InflateError::Malformed)? {
                Status::StreamEnd if bytes.is_empty() => return Ok(true),
                Status::StreamEnd => self.begin()?,
                Status::Ok | Status::BufError if self.is_full() => {}
                Status::Ok | Status::BufError => return Ok(false),
            }
        }
    }

    fn is_full(&self) -> bool {
        self.message.len() == self.message.capacity()
    }

    fn make_room(&mut self) {
        if self.is_full() {
            let length = self.message.len();
            self.message.reserve_exact(length.max(LEAST_ROOM).min(self.most - length));
        }
    }
}

/// Appends a message to a history of at most `window` bytes, which takes no more memory than that.
fn remember(history: &mut Vec<u8>, message: &[u8], window: usize) {
    let message = &message[message.len().saturating_sub(window)..];
    let kept = history.len().min(window - message.len());
    history.drain(..history.len() - kept);
    let length = kept + message.len();
    if length > history.capacity() {
        history.reserve_exact(length.next_power_of_two() - kept);
    }
    history.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;
    use crate::wire::compression::peer::{self, Writer};

    const LIMIT: usize = 1_000_000;

    fn inflate(payload: &[u8]) -> Result<Vec<u8>, InflateError> {
        Inflate::new(0).inflate(payload, LIMIT).map(Vec::from)
    }

    /// A message's payload from a client with this window, with or without context takeover.
    fn deflated(compressor: &mut Compress, message: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(message.len() + 1_000);
        compressor.compress_vec(message, &mut payload, FlushCompress::Sync).unwrap();
        payload.strip_suffix(&peer::TAIL).unwrap_or_default().to_vec()
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7692 §7.2.3.1 to 7.2.3.5
        for payload in [
            &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ] {
            assert_eq!(inflate(payload).unwrap(), b"Hello");
        }
        let mut client = Inflate::new(MAX_WINDOW);
        for payload in [&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], b"\xf2\x00\x11\x00\x00"] {
            assert_eq!(client.inflate(payload, 5).unwrap(), "Hello");
        }
        assert_eq!(inflate(b"\xf2\x00\x11\x00\x00"), Err(InflateError::Malformed), "it has no context");
        assert_eq!(inflate(b"\x00").unwrap(), b"", "an empty message");
    }

    #[test]
    fn clients_that_leave_more_away_than_they_may_are_read_too() {
        assert_eq!(inflate(b"").unwrap(), b"", "zlib, flushed when it has nothing to flush");
        assert_eq!(inflate(b"\xf3\x48\xcd\xc9\xc9\x07\x00").unwrap(), b"Hello", "finished and not flushed");
    }

    #[test]
    fn a_stream_that_ends_within_a_message_ends_no_context_and_there_are_not_many() {
        let mut client = Inflate::new(MAX_WINDOW);
        // a stream that has ended, and a reference back into it
        let again = b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00";
        assert_eq!(client.inflate(again, LIMIT).unwrap(), "HelloHello");
        assert_eq!(client.inflate(b"\xf2\x00\x11\x00\x00", LIMIT).unwrap(), "Hello");
        let empty = |streams: usize| [b"\x03\x00".repeat(streams), vec![0]].concat();
        assert_eq!(inflate(&empty(MAX_STREAMS - 1)).unwrap(), b"");
        assert_eq!(inflate(&empty(MAX_STREAMS)), Err(InflateError::Malformed));
    }

    #[test]
    fn a_message_cut_short_is_malformed() {
        let text = "a message that is cut short says so; ".repeat(3);
        let payload = Writer::new().write(text.as_bytes());
        assert_eq!(inflate(&payload).unwrap(), text.as_bytes());
        for length in 1..payload.len() {
            assert_eq!(inflate(&payload[..length]), Err(InflateError::Malformed), "{length} bytes");
        }
        assert_eq!(inflate(&[&payload[..], b"more"].concat()), Err(InflateError::Malformed));
    }

    #[test]
    fn a_bomb_costs_its_limit_and_no_more() {
        let bomb = Writer::new().write(&vec![b'x'; 50_000_000]);
        assert!(bomb.len() < 100_000);
        let client = Inflate::new(MAX_WINDOW);
        for limit in [0, 1, 2, LEAST_ROOM, 1_000, 65_536, 8_000_000, 49_999_999] {
            let mut message = vec![];
            assert_eq!(client.inflate_into(&mut message, &bomb, limit), Err(InflateError::TooBig));
            assert!(message.capacity() <= limit + 1, "{} bytes for {limit}", message.capacity());
        }
        for limit in [50_000_000, 50_000_001, usize::MAX] {
            let mut message = vec![];
            assert_eq!(client.inflate_into(&mut message, &bomb, limit), Ok(()));
            assert_eq!(message.len(), 50_000_000);
        }
    }

    #[test]
    fn a_context_takes_memory_as_it_grows_and_never_more_than_its_window() {
        let window = 1 << 12;
        let mut compressor = Compress::new_with_window_bits(Compression::new(6), false, 12);
        let mut client = Inflate::new(window);
        assert_eq!(client.history.capacity(), 0);
        for (length, capacity) in
            [(0, 0), (1, 1), (60, 64), (60, 128), (900, 1_024), (5_000, 4_096), (70, 4_096)]
        {
            let message = vec![b'x'; length];
            let read = client.inflate(&deflated(&mut compressor, &message), LIMIT).unwrap();
            assert_eq!(read, message);
            assert_eq!(client.history.capacity(), capacity, "after {length} bytes more");
        }
        let mut client = Inflate::new(0);
        client.inflate(&Writer::new().write(&[b'x'; 5_000]), LIMIT).unwrap();
        assert_eq!(client.history.capacity(), 0, "no context");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn another_implementations_messages_are_read_in_their_order_whoever_else_is_read_between(
            messages in proptest::collection::vec(peer::message(), 1..5),
            other in peer::message(),
        ) {
            let (mut writer, mut client) = (Writer::new(), Inflate::new(MAX_WINDOW));
            for message in messages {
                let payload = writer.write(&message);
                prop_assert!(client.inflate(&payload, message.len()).unwrap() == message);
                prop_assert!(inflate(&Writer::new().write(&other)).unwrap() == other);
            }
        }

        #[test]
        fn a_client_with_any_window_is_read_with_its_context_and_without(
            messages in proptest::collection::vec(peer::message(), 1..5),
            bits in 8u8..=15,
            takes_over in any::<bool>(),
        ) {
            // zlib at 9 refers back at most 250 bytes
            let mut compressor = Compress::new_with_window_bits(Compression::new(6), false, bits.max(9));
            let mut client = Inflate::new(if takes_over { 1 << bits } else { 0 });
            for message in messages {
                if !takes_over {
                    compressor.reset();
                }
                let payload = deflated(&mut compressor, &message);
                prop_assert!(client.inflate(&payload, LIMIT).unwrap() == message);
                prop_assert!(client.history.capacity() <= client.window);
            }
        }

        #[test]
        fn any_bytes_never_panic_and_keep_to_the_limit(payload in proptest::collection::vec(any::<u8>(), 0..300), limit in 0usize..5_000) {
            let mut message = vec![];
            let _ = Inflate::new(0).inflate_into(&mut message, &payload, limit);
            prop_assert!(message.capacity() <= limit + 1);
        }

        #[test]
        fn a_damaged_message_never_panics_and_keeps_to_the_limit(
            messages in (peer::message(), peer::message()),
            at in any::<proptest::sample::Index>(),
            bit in 0u8..8,
            cut in any::<proptest::sample::Index>(),
        ) {
            let (mut writer, mut client) = (Writer::new(), Inflate::new(MAX_WINDOW));
            // whatever was read before it
            prop_assert!(client.inflate(&writer.write(&messages.0), LIMIT).unwrap() == messages.0);
            let mut payload = writer.write(&messages.1);
            let at = at.index(payload.len());
            payload[at] ^= 1 << bit;
            payload.truncate(cut.index(payload.len() + 1));
            if let Ok(message) = client.inflate(&payload, 20_000) {
                prop_assert!(message.len() <= 20_000);
            }
        }
    }
}
