//! Compresses whole messages independently of each other.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

/// The shortest message that is compressed, in bytes. 256 bytes shrink by a quarter, 128 by a tenth, and either takes
/// as long as everything else that is done for a reply.
const MIN_LENGTH: usize = 256;

/// zlib's level. Level 6, the default, takes three times as long for a history of 130 KB and makes it 9 % shorter;
/// short messages are the same. Level 1 takes half as long, but has fixed Huffman codes: a short message shrinks half
/// as much.
const LEVEL: u32 = 2;

/// The end of every compressed message, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Bytes of memory beyond the message's length, for a message that does not shrink: many times what it can grow.
const MORE_ROOM: usize = 4 * 1024;

/// How far back a compressed message may refer. There are only three sizes, whatever clients ask for: a thread has a
/// compressor for each one in use, and a broadcast is compressed for each one in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// 256 bytes.
    Small,
    /// 4 KiB: for clients that save memory, such as older versions of Python's `websockets`.
    Medium,
    /// 32 KiB, the maximum of DEFLATE: for all other clients.
    Full,
}

impl Window {
    /// In the order of their numbers: `ALL[window as usize]` is `window`.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Full];

    /// The largest window within a client's `server_max_window_bits`, 8 to 15.
    pub(super) fn within(bits: u8) -> Self {
        match bits {
            15.. => Self::Full,
            12..15 => Self::Medium,
            _ => Self::Small,
        }
    }

    /// The value for zlib, which refers back at most 2^bits - 262 bytes and has no compressor for 8 bits: at 9 it is
    /// 250 bytes.
    fn bits(self) -> u8 {
        match self {
            Self::Small => 9,
            Self::Medium => 12,
            Self::Full => 15,
        }
    }
}

thread_local! {
    /// By window, created when first needed. They keep nothing after a message.
    static COMPRESSORS: RefCell<[Option<Compress>; Window::ALL.len()]> =
        const { RefCell::new([const { None }; Window::ALL.len()]) };
}

/// The message should be sent uncompressed: it is short, or would not become shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) struct Incompressible;

/// Compresses a message, which may be in pieces, and appends it to `out`: fewer bytes than the message has. `out` keeps
/// no spare capacity.
///
/// # Errors
/// [`Incompressible`]; `out` is then unchanged.
pub(in crate::wire) fn deflate(
    window: Window,
    message: &[Bytes],
    out: &mut Vec<u8>,
) -> Result<(), Incompressible> {
    let length = message.iter().map(Bytes::len).sum();
    if length < MIN_LENGTH {
        return Err(Incompressible);
    }
    let start = out.len();
    out.reserve_exact(length);
    let end = COMPRESSORS.with_borrow_mut(|compressors| {
        let compressor = compressors[window as usize].get_or_insert_with(|| {
            Compress::new_with_window_bits(Compression::new(LEVEL), false, window.bits())
        });
        compress(compressor, message, out)
    });
    let end = end.filter(|end| *end < start + length);
    out.truncate(end.unwrap_or(start));
    out.shrink_to_fit();
    end.map(|_| ()).ok_or(Incompressible)
}

/// The index at which the compressed message ends in `out`.
fn compress(compressor: &mut Compress, message: &[Bytes], out: &mut Vec<u8>) -> Option<usize> {
    compressor.reset();
    for piece in message {
        put(compressor, piece, out, FlushCompress::None)?;
    }
    put(compressor, &[], out, FlushCompress::Sync)?;
    out.ends_with(&TAIL).then(|| out.len() - TAIL.len())
}

/// Continues to the end even if the message does not shrink: zlib-rs panics if it is reset repeatedly with output left.
fn put(compressor: &mut Compress, mut piece: &[u8], out: &mut Vec<u8>, flush: FlushCompress) -> Option<()> {
    loop {
        let before = compressor.total_in();
        compressor.compress_vec(piece, out, flush).ok()?;
        piece = &piece[(compressor.total_in() - before) as usize..];
        if piece.is_empty() && out.len() < out.capacity() {
            return Some(());
        }
        out.reserve_exact(MORE_ROOM);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::compression::peer;

    fn compressed(window: Window, message: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![];
        deflate(window, &[Bytes::copy_from_slice(message)], &mut out).ok().map(|()| out)
    }

    /// Incompressible bytes.
    fn noise(length: usize) -> Vec<u8> {
        let mut seed = 1u64;
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    #[test]
    fn a_message_fits_the_window_of_any_client_that_asks_for_one() {
        // a match 600 bytes back, one 5,000 bytes back, and one 40,000 bytes back
        let unit = noise(600);
        let message = [&unit[..], &unit, &[b'x'; 5_000], &unit, &[b'y'; 40_000], &unit].concat();
        for bits in 8..=15 {
            let payload = compressed(Window::within(bits), &message).unwrap();
            assert_eq!(peer::read(&payload, 1 << bits), message, "{bits} bits");
        }
        let lengths = Window::ALL.map(|window| compressed(window, &message).unwrap().len());
        assert!(lengths.is_sorted_by(|small, large| small > large), "{lengths:?}: a window has its use");
    }

    #[test]
    fn what_is_short_or_would_not_shrink_is_sent_as_it_is() {
        let text = "all that is worth saying is worth saying again, ".repeat(20);
        assert_eq!(compressed(Window::Full, &text.as_bytes()[..MIN_LENGTH - 1]), None);
        assert!(compressed(Window::Full, &text.as_bytes()[..MIN_LENGTH]).unwrap().len() < MIN_LENGTH / 2);
        let noise = noise(100_000);
        for length in [MIN_LENGTH, 1_000, 20_000, 100_000] {
            let mut out = b"before".to_vec();
            let message = [Bytes::copy_from_slice(&noise[..length])];
            assert_eq!(deflate(Window::Full, &message, &mut out), Err(Incompressible), "{length}");
            assert_eq!(out, b"before");
        }
        let mut out = b"before".to_vec();
        deflate(Window::Full, &[text.into()], &mut out).unwrap();
        assert!(out.starts_with(b"before"));
    }

    #[test]
    fn a_compressor_outlives_any_number_of_messages_that_do_not_shrink() {
        let noise = noise(70_000);
        let text = [Bytes::from("a message that does, ".repeat(100))];
        for window in Window::ALL {
            for at in 0..1_000 {
                let message = &noise[at * 60..][..MIN_LENGTH + at];
                assert_eq!(compressed(window, message), None, "{at}");
            }
            let mut out = vec![];
            deflate(window, &text, &mut out).unwrap();
            assert_eq!(peer::read(&out, 1 << window.bits()), text[0]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn another_implementation_reads_the_same_message_whatever_was_sent_before(
            messages in proptest::collection::vec((peer::message(), 0usize..3), 1..4),
            piece in 1usize..5_000,
        ) {
            for (message, window) in messages {
                let window = Window::ALL[window];
                let pieces: Vec<Bytes> = message.chunks(piece).map(Bytes::copy_from_slice).collect();
                let mut out = vec![];
                let outcome = deflate(window, &pieces, &mut out);
                prop_assert_eq!(outcome.ok(), compressed(window, &message).map(|_| ()), "in one piece");
                if outcome.is_ok() {
                    prop_assert!(out.len() < message.len());
                    prop_assert_eq!(out.capacity(), out.len());
                    let size = [256, 4_096, 32_768][window as usize];
                    prop_assert!(peer::read(&out, size) == message);
                }
            }
        }
    }
}
