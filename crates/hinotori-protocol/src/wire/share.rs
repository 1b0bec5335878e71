//! Parts of a client's bytes: a part shares the memory of the whole, and so keeps the whole alive.
//!
//! What waits for a client or a channel is limited by its own length. A short part of a long whole would defeat that
//! limit: a client could fill the memory with the bytes around its messages. Such a part is copied.

use bytes::Bytes;

/// Bytes beyond itself that a part may keep alive, however short it is.
const REST: usize = 1024;

/// A part of a whole. It keeps alive at most its own length again, or [`REST`].
pub(super) fn share(whole: &Bytes, part: &[u8]) -> Bytes {
    if is_small_part(part.len(), whole.len()) { Bytes::copy_from_slice(part) } else { whole.slice_ref(part) }
}

/// Whether a part of this length must be copied out of a whole of this length.
fn is_small_part(part: usize, whole: usize) -> bool {
    whole.saturating_sub(part) > part.max(REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_shares_its_whole_unless_most_of_that_is_something_else() {
        let whole = Bytes::from(vec![b'x'; 10_000]);
        for (part, is_shared) in [(10_000, true), (5_000, true), (4_999, false), (0, false)] {
            let shared = share(&whole, &whole[..part]);
            assert_eq!(shared, whole[..part]);
            assert_eq!(shared.as_ptr() == whole.as_ptr(), is_shared, "{part}");
        }
        let short = whole.slice(..REST);
        assert_eq!(share(&short, &short[..1]).as_ptr(), short.as_ptr(), "a heartbeat is not copied");
    }
}
