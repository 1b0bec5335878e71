//! Frames as payloads of notifications.
//!
//! A payload is text of less than 8,000 bytes, and a transaction may send many: all of them arrive, one behind the other and
//! before those of the next transaction. So the frames of a transaction are one row of bytes, which is cut into as few
//! payloads as possible: many small frames share one, and a large one takes several.
//!
//! # Layout
//! A payload is base64 (with padding) of its number within the row, from 0 (u32), and of a part of the row. The row is one
//! frame behind the other, each its length (u32) and its bytes. Numbers are little-endian. As they differ, PostgreSQL does not
//! take two payloads of a transaction for the same one and send it once.
//!
//! # Source
//! `NOTIFY_PAYLOAD_MAX_LENGTH` and the queue of PostgreSQL `src/backend/commands/async.c`, 12 to 18.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Buf, Bytes, BytesMut};

/// Bytes of a number.
const NUMBER: usize = 4;

/// Bytes of a payload before base64, which makes 7,996 of them.
const PIECE: usize = 5_997;

/// Cuts frames into payloads.
pub(crate) fn cut<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> Vec<String> {
    let mut row = vec![];
    for frame in frames {
        // no frame has 4 GiB
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        row.extend_from_slice(&length.to_le_bytes());
        row.extend_from_slice(frame);
    }
    let piece = |(number, part): (u32, &[u8])| BASE64_STANDARD.encode([&number.to_le_bytes(), part].concat());
    (0..).zip(row.chunks(PIECE - NUMBER)).map(piece).collect()
}

/// Puts payloads together again.
#[derive(Default)]
pub(crate) struct Joiner {
    /// The connection whose payloads arrive, and the number of its next one.
    next: Option<(i32, u32)>,
    /// What has arrived of the next frame, and its length before it.
    row: BytesMut,
}

impl Joiner {
    /// Takes a payload that a connection has sent, and calls `frame` with each frame that is whole now. A frame of which a
    /// payload is missing is dropped, and so is everything else that no [`cut`] has made.
    pub(crate) fn take(&mut self, from: i32, payload: &str, mut frame: impl FnMut(Bytes)) {
        let Ok(piece) = BASE64_STANDARD.decode(payload) else { return };
        let Some((number, part)) = piece.split_first_chunk().map(|(n, part)| (u32::from_le_bytes(*n), part))
        else {
            return;
        };
        if number == 0 {
            self.row = BytesMut::new();
        } else if self.next != Some((from, number)) {
            self.next = None;
            self.row = BytesMut::new();
            return;
        }
        self.next = number.checked_add(1).map(|next| (from, next));
        self.row.extend_from_slice(part);
        while let Some(length) = self.row.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
            && let Some(bytes) = self.row.get(NUMBER..).and_then(|rest| rest.get(..length))
        {
            // a copy, as whoever keeps it must not keep all of the row
            frame(Bytes::copy_from_slice(bytes));
            self.row.advance(NUMBER + length);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined<'a>(payloads: impl IntoIterator<Item = (i32, &'a str)>) -> Vec<Bytes> {
        let (mut joiner, mut frames) = (Joiner::default(), vec![]);
        for (from, payload) in payloads {
            joiner.take(from, payload, |frame| frames.push(frame));
        }
        frames
    }

    fn frames() -> impl Strategy<Value = Vec<Bytes>> {
        let short = prop::collection::vec(any::<u8>(), 0..40);
        let long = prop_oneof![5_980..6_000usize, 11_970..12_000usize, 0..100_000usize];
        let frame = prop_oneof![9 => short, 1 => long.prop_map(|length| vec![7; length])];
        prop::collection::vec(frame.prop_map(Bytes::from), 1..30)
    }

    proptest! {
        #[test]
        fn what_is_cut_is_put_together_and_fits(frames in frames()) {
            let payloads = cut(&frames);
            prop_assert!(payloads.iter().all(|payload| payload.len() < 8_000));
            let bytes: usize = frames.iter().map(|frame| NUMBER + frame.len()).sum();
            prop_assert_eq!(payloads.len(), bytes.div_ceil(PIECE - NUMBER));
            prop_assert_eq!(joined(payloads.iter().map(|payload| (1, &**payload))), frames);
        }

        #[test]
        fn what_is_incomplete_is_not_mixed_with_what_follows(one in frames(), other in frames(), lost in any::<prop::sample::Index>()) {
            let (mut cut_short, whole) = (cut(&one), cut(&other));
            let lost = lost.index(cut_short.len());
            cut_short.remove(lost);
            let payloads = cut_short.iter().map(|payload| (1, &**payload));
            let all = joined(payloads.chain(whole.iter().map(|payload| (2, &**payload))));
            let (before, after) = all.split_at(all.len() - other.len());
            prop_assert_eq!(after, &other[..]);
            prop_assert_eq!(before, &one[..before.len()]);
        }

        #[test]
        fn what_nobody_has_cut_is_ignored(payloads in prop::collection::vec((0..3, ".{0,40}"), 0..20), frames in frames()) {
            let (mut joiner, mut got) = (Joiner::default(), vec![]);
            for (from, payload) in &payloads {
                joiner.take(*from, payload, |_| ());
            }
            for payload in cut(&frames) {
                joiner.take(7, &payload, |frame| got.push(frame));
            }
            prop_assert_eq!(got, frames);
        }
    }
}
