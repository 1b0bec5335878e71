//! A request of a long poll that is passed on to the node that has its session, and the answer.
//!
//! # Layout
//! Each is sent in fragments, which are the payloads of envelopes for one node. Integers are little-endian. Bytes that
//! follow a request or an answer belong to later versions and are ignored.
//!
//! | bytes of a fragment | what |
//! |---|---|
//! | 8 | number of the request, which its answer has too; the node that passes it on counts from 1 |
//! | 4, 4 | number of the fragment, from 0, and of all fragments, not 0 |
//! | … | a part of the request or answer |
//!
//! | bytes of a request | what |
//! |---|---|
//! | 1 | see [`Asked`] |
//! | 2, … | the session's token behind its length |
//! | 4, … | the body behind its length; empty for a GET |
//!
//! | bytes of an answer | what |
//! |---|---|
//! | 2 | status |
//! | 2, … | the session's next token behind its length; empty for a POST |
//! | 4 | number of messages; each is text behind its length in 4 bytes |

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::reader::Reader;

/// Bytes of a request or answer in one fragment.
const FRAGMENT: usize = 64 * 1024;

/// Bytes that a fragment takes besides its own while others are missing.
const OVERHEAD: usize = 128;

/// How long fragments are kept while others are missing.
const AGE: Duration = Duration::from_secs(10);

/// What a client wants of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Asked {
    /// A GET: what is queued for it.
    Poll = 0,
    /// A POST whose body is one message.
    Message = 1,
    /// A POST whose body has a message in each line.
    Lines = 2,
}

/// A request that is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// What the client wants.
    pub asked: Asked,
    /// The token that the client has.
    pub token: ByteString,
    /// The body of a POST.
    pub body: Bytes,
}

impl Passed {
    /// The bytes of the request. A token of more than 65,535 bytes, which is none, is sent as an empty one.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(7 + self.token.len() + self.body.len());
        bytes.put_u8(self.asked as u8);
        put_token(&mut bytes, &self.token);
        put_long(&mut bytes, &self.body);
        bytes.freeze()
    }

    /// Reads a request. `None` if it is not one.
    #[must_use]
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let mut reader = Reader(bytes);
        let asked = match reader.u8()? {
            0 => Asked::Poll,
            1 => Asked::Message,
            2 => Asked::Lines,
            _ => return None,
        };
        Some(Self { asked, token: reader.short_text()?, body: reader.long()? })
    }
}

/// The answer to a request that was passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, as in the body of the client's answer.
    pub status: u16,
    /// The token for the client's next request.
    pub token: ByteString,
    /// The messages for the client, each a text.
    pub messages: Vec<Bytes>,
}

impl Answer {
    /// The status of a request that was not carried out, because too much waits.
    pub const BUSY: u16 = 503;

    /// An answer with nothing but a status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, token: ByteString::new(), messages: vec![] }
    }

    /// The bytes of the answer.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let length: usize = self.messages.iter().map(|message| 4 + message.len()).sum();
        let mut bytes = BytesMut::with_capacity(8 + self.token.len() + length);
        bytes.put_u16_le(self.status);
        put_token(&mut bytes, &self.token);
        bytes.put_u32_le(u32::try_from(self.messages.len()).unwrap_or(u32::MAX));
        self.messages.iter().for_each(|message| put_long(&mut bytes, message));
        bytes.freeze()
    }

    /// Reads an answer. The messages share its memory. `None` if it is not one.
    #[must_use]
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (status, token) = (reader.u16()?, reader.short_text()?);
        let mut messages = vec![];
        for _ in 0..reader.u32()? {
            messages.push(reader.text()?.into_bytes());
        }
        Some(Self { status, token, messages })
    }
}

fn put_token(bytes: &mut BytesMut, token: &str) {
    let token = if u16::try_from(token.len()).is_ok() { token } else { "" };
    bytes.put_u16_le(token.len() as u16);
    bytes.put_slice(token.as_bytes());
}

/// Bytes of more than 4 GiB, which no message has, are cut.
fn put_long(bytes: &mut BytesMut, long: &[u8]) {
    let length = u32::try_from(long.len()).unwrap_or(u32::MAX);
    bytes.put_u32_le(length);
    bytes.put_slice(&long[..length as usize]);
}

/// A part of a request or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The number of the request.
    pub id: u64,
    /// The number of this fragment.
    pub index: u32,
    /// How many there are.
    pub count: u32,
    /// The bytes of the request or answer.
    pub bytes: Bytes,
}

impl Fragment {
    /// The fragments of a request or answer, each of up to 64 KiB.
    pub fn all(id: u64, mut whole: Bytes) -> impl ExactSizeIterator<Item = Self> {
        let count = whole.len().div_ceil(FRAGMENT).max(1) as u32;
        (0..count).map(move |index| {
            let bytes = whole.split_to(whole.len().min(FRAGMENT));
            Self { id, index, count, bytes }
        })
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(16 + self.bytes.len());
        payload.put_u64_le(self.id);
        payload.put_u32_le(self.index);
        payload.put_u32_le(self.count);
        payload.put_slice(&self.bytes);
        payload.freeze()
    }

    /// Reads a payload. `None` if it is not one.
    #[must_use]
    pub fn decode(payload: Bytes) -> Option<Self> {
        let mut reader = Reader(payload);
        let (id, index, count) = (reader.u64()?, reader.u32()?, reader.u32()?);
        (index < count).then_some(Self { id, index, count, bytes: reader.0 })
    }
}

/// Requests or answers of which fragments are missing, limited in bytes and in age. Fragments may come in any order and
/// more than once.
#[derive(Debug)]
pub struct Fragments {
    limit: usize,
    /// By sender and number.
    partial: HashMap<(u64, u64), Partial>,
    bytes: usize,
}

#[derive(Debug)]
struct Partial {
    since: Duration,
    count: u32,
    fragments: BTreeMap<u32, Bytes>,
    bytes: usize,
}

impl Fragments {
    /// Room for so many bytes, and for one request or answer of any size.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: HashMap::new(), bytes: 0 }
    }

    /// Whether others of the same request or answer are here.
    #[must_use]
    pub fn has(&self, from: u64, id: u64) -> bool {
        self.partial.contains_key(&(from, id))
    }

    /// Adds a fragment. Returns the request or answer if none is missing any more.
    ///
    /// # Errors
    /// [`NoRoom`] if there is no room for it. What was here of its request or answer is dropped.
    pub fn add(&mut self, now: Duration, from: u64, fragment: Fragment) -> Result<Option<Bytes>, NoRoom> {
        self.expire(now);
        let Fragment { id, index, count, bytes } = fragment;
        if count == 1 {
            return Ok(Some(bytes));
        }
        let key = (from, id);
        let cost = bytes.len() + OVERHEAD;
        let is_alone = self.partial.len() <= usize::from(self.has(from, id));
        if self.bytes + cost > self.limit && !is_alone {
            self.remove(key);
            return Err(NoRoom);
        }
        let new = || Partial { since: now, count, fragments: BTreeMap::new(), bytes: 0 };
        let partial = self.partial.entry(key).or_insert_with(new);
        if count == partial.count && partial.fragments.insert(index, bytes).is_none() {
            partial.bytes += cost;
            self.bytes += cost;
        }
        if partial.fragments.len() < partial.count as usize {
            return Ok(None);
        }
        let whole = self.remove(key).map(|partial| partial.fragments.into_values().collect::<Vec<_>>());
        Ok(whole.map(|fragments| fragments.concat().into()))
    }

    /// Drops what is here of one request or answer.
    pub fn forget(&mut self, from: u64, id: u64) {
        self.remove((from, id));
    }

    /// Drops everything of one sender.
    pub fn left(&mut self, from: u64) {
        self.remove_if(|(of, _), _| of == from);
    }

    /// Drops what has stayed incomplete for 10 s.
    pub fn expire(&mut self, now: Duration) {
        self.remove_if(|_, partial| now.saturating_sub(partial.since) > AGE);
    }

    fn remove_if(&mut self, is_over: impl Fn((u64, u64), &Partial) -> bool) {
        let bytes = &mut self.bytes;
        self.partial.retain(|key, partial| {
            let stays = !is_over(*key, partial);
            *bytes -= if stays { 0 } else { partial.bytes };
            stays
        });
    }

    fn remove(&mut self, key: (u64, u64)) -> Option<Partial> {
        let partial = self.partial.remove(&key)?;
        self.bytes -= partial.bytes;
        Some(partial)
    }
}

/// There is no room for another fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many bytes of requests or answers wait for their other fragments")
    }
}

impl std::error::Error for NoRoom {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn these_are_the_bytes_that_nodes_of_other_versions_send_and_expect() {
        let passed = Passed { asked: Asked::Lines, token: "t".into(), body: Bytes::from_static(b"[]") };
        assert_eq!(passed.encode(), &[2, 1, 0, b't', 2, 0, 0, 0, b'[', b']'][..]);
        assert_eq!([Asked::Poll, Asked::Message, Asked::Lines].map(|asked| asked as u8), [0, 1, 2]);
        let answer = Answer { status: 200, token: "t".into(), messages: vec![Bytes::from_static(b"[]")] };
        assert_eq!(answer.encode(), &[200, 0, 1, 0, b't', 1, 0, 0, 0, 2, 0, 0, 0, b'[', b']'][..]);
        let fragment = Fragment { id: 1, index: 2, count: 3, bytes: Bytes::from_static(b"x") };
        let wanted = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[2, 0, 0, 0, 3, 0, 0, 0, b'x']].concat();
        assert_eq!(fragment.encode(), wanted);
    }

    #[test]
    fn a_request_that_is_cut_or_of_an_unknown_kind_is_none() {
        let whole = Passed { asked: Asked::Poll, token: "token".into(), body: Bytes::new() }.encode();
        for length in 0..whole.len() {
            assert_eq!(Passed::decode(whole.slice(..length)), None);
        }
        assert_eq!(Passed::decode([&[3], &whole[1..]].concat().into()), None);
        let nothing = Fragment { id: 1, index: 0, count: 1, bytes: Bytes::new() }.encode();
        assert!(Fragment::decode(nothing.clone()).is_some());
        // of no fragments, this is the first
        assert_eq!(Fragment::decode([&nothing[..12], &[0; 4]].concat().into()), None);
    }

    fn fragment(id: u64, index: u32, count: u32, length: usize) -> Fragment {
        Fragment { id, index, count, bytes: vec![index as u8; length].into() }
    }

    #[test]
    fn what_does_not_fit_is_refused_whole_but_one_of_any_size_fits_alone() {
        let mut fragments = Fragments::new(1_000);
        assert_eq!(fragments.add(NOW, 1, fragment(1, 0, 2, 5_000)), Ok(None));
        assert_eq!(fragments.add(NOW, 1, fragment(2, 0, 2, 1)), Err(NoRoom));
        assert_eq!(fragments.add(NOW, 1, fragment(3, 0, 1, 9_000)).map(|whole| whole.is_some()), Ok(true));
        assert_eq!(fragments.add(NOW, 1, fragment(1, 1, 2, 5_000)).map(|whole| whole.is_some()), Ok(true));
        assert_eq!((fragments.bytes, fragments.partial.len()), (0, 0));
        assert_eq!(fragments.add(NOW, 1, fragment(4, 0, 2, 500)), Ok(None));
        assert_eq!(fragments.add(NOW, 2, fragment(4, 0, 3, 100)), Ok(None));
        assert_eq!(fragments.add(NOW, 2, fragment(4, 1, 3, 500)), Err(NoRoom));
        assert!(fragments.has(1, 4) && !fragments.has(2, 4));
    }

    #[test]
    fn what_stays_incomplete_is_dropped_after_ten_seconds_or_with_its_sender() {
        let mut fragments = Fragments::new(1_000);
        assert_eq!(fragments.add(NOW, 1, fragment(1, 0, 2, 1)), Ok(None));
        assert_eq!(fragments.add(NOW + AGE, 1, fragment(2, 0, 2, 1)), Ok(None));
        assert!(fragments.has(1, 1));
        assert_eq!(fragments.add(NOW + AGE + AGE, 2, fragment(3, 0, 2, 1)), Ok(None));
        assert!(!fragments.has(1, 1) && fragments.has(1, 2) && fragments.has(2, 3));
        fragments.expire(NOW + AGE + AGE);
        assert!(fragments.has(1, 2));
        fragments.expire(NOW + AGE + AGE + Duration::from_millis(1));
        assert!(!fragments.has(1, 2));
        assert_eq!(fragments.add(NOW + AGE + AGE, 1, fragment(4, 0, 2, 1)), Ok(None));
        fragments.left(1);
        fragments.forget(2, 3);
        assert_eq!((fragments.bytes, fragments.partial.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_whatever_follows(
            asked in prop::sample::select(vec![Asked::Poll, Asked::Message, Asked::Lines]),
            status: u16, token: String, body: Vec<u8>, messages: Vec<String>, more: Vec<u8>,
        ) {
            let passed = Passed { asked, token: token.clone().into(), body: body.into() };
            prop_assert_eq!(Passed::decode([&passed.encode()[..], &more].concat().into()), Some(passed));
            let messages = messages.into_iter().map(Bytes::from).collect();
            let answer = Answer { status, token: token.into(), messages };
            prop_assert_eq!(Answer::decode([&answer.encode()[..], &more].concat().into()), Some(answer));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = (Passed::decode(bytes.clone()), Answer::decode(bytes.clone()), Fragment::decode(bytes));
        }

        /// Two requests, whose fragments come mixed, more than once, in any order.
        #[test]
        fn fragments_in_any_order_are_the_whole_once_it_is_complete(
            lengths in [0..5 * FRAGMENT, 0..5 * FRAGMENT], swaps: Vec<(usize, usize)>, again: Vec<usize>,
        ) {
            let whole = lengths.map(|length| Bytes::from_iter((0..length).map(|n| (n % 251) as u8)));
            let of = |n: usize| Fragment::all(n as u64, whole[n].clone());
            let mut sent: Vec<_> = of(0).chain(of(1)).collect();
            again.iter().for_each(|at| sent.push(sent[at % sent.len()].clone()));
            swaps.iter().for_each(|(a, b)| { let n = sent.len(); sent.swap(a % n, b % n) });
            let (mut fragments, mut done) = (Fragments::new(usize::MAX), [false; 2]);
            for fragment in sent {
                let fragment = Fragment::decode(fragment.encode()).unwrap();
                let n = fragment.id as usize;
                // as receivers do, with what they have had already
                if done[n] { continue }
                if let Some(all) = fragments.add(NOW, 7, fragment).unwrap() {
                    prop_assert_eq!(&all, &whole[n]);
                    done[n] = true;
                }
            }
            prop_assert_eq!((done, fragments.bytes), ([true; 2], 0));
        }
    }
}
