//! One frame between nodes.
//!
//! # Layout
//! Integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | `H` |
//! | 1 | version: 1 |
//! | 1 | kind: see [`Kind`]; 2 and 3 are reserved for hints about a log |
//! | 1 | flags |
//! | 8 | incarnation of the sending node |
//! | 8 | number of the frame, counted from 1 per incarnation and kind |
//! | 8 | when it was sent, in microseconds since 1970 |
//! | 2, 2, 4 | lengths of topic, event and payload |
//! | … | topic, event, payload |
//! | 8 | flag 2: incarnation of the only node that it is for |
//! | 8 | flag 4: position of the broadcast, not 0 |
//! | 2, … | flag 8: key of an event that supersedes earlier ones, behind its length |
//! | 1, 1 | flag 16: the payload is a user broadcast's event, metadata and bytes; the lengths of the first two |
//!
//! Flag 1: the payload is bytes instead of JSON. Fields of further flags come at the end, in the order of the flags, so
//! a node that does not know a flag reads everything else. A frame of an unknown version, or of an unknown kind, is
//! for newer nodes only.

use std::{fmt, num::NonZeroU64};

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::reader::Reader;
use crate::wire::{Payload, UserBroadcast};

const MAGIC: u8 = b'H';
const VERSION: u8 = 1;

const BINARY: u8 = 1;
const TO: u8 = 2;
const POSITION: u8 = 4;
const LATEST: u8 = 8;
const USER: u8 = 16;
const KNOWN: u8 = BINARY | TO | POSITION | LATEST | USER;

/// Where the number of the frame is.
const SEQ: std::ops::Range<usize> = 12..20;
const HEADER: usize = 36;

/// What a frame is about. Each kind is a lane: its frames are counted by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// An event for the subscribers of a topic.
    Broadcast = 1,
    /// A [`Heartbeat`](super::Heartbeat); the topic is the node's name.
    Heartbeat = 4,
    /// Changes of presences, a [`Delta`](crate::presence::Delta).
    Delta = 5,
    /// Asks the node that it is for to send its slice. No payload.
    Request = 6,
    /// A [`Part`](crate::presence::Part) of a slice.
    Part = 7,
    /// Like a broadcast, and repeated until every node has it.
    Disconnect = 8,
    /// The node ends. No payload.
    Bye = 9,
    /// A [`Fragment`](super::Fragment) of a request, [`Passed`](super::Passed) on to the node that it is for.
    Pass = 10,
    /// A [`Fragment`](super::Fragment) of the [`Answer`](super::Answer), for the node that passed the request on.
    Answer = 11,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Broadcast,
        Self::Heartbeat,
        Self::Delta,
        Self::Request,
        Self::Part,
        Self::Disconnect,
        Self::Bye,
        Self::Pass,
        Self::Answer,
    ];

    /// The kind of this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// One frame. `S` is `&str` to encode and [`ByteString`], a part of the frame, when decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<S> {
    /// What it is about.
    pub kind: Kind,
    /// Who sends it.
    pub incarnation: u64,
    /// Its number in its lane.
    pub seq: u64,
    /// Microseconds since 1970 by the sender's clock.
    pub sent_at: u64,
    /// A topic, or what the kind makes of it.
    pub topic: S,
    /// An event, or what the kind makes of it.
    pub event: S,
    /// JSON text that has not been checked, or bytes.
    pub payload: Payload,
    /// The only node that it is for.
    pub to: Option<u64>,
    /// The position of a broadcast in the log of its topic.
    pub position: Option<NonZeroU64>,
    /// The key of an event that supersedes earlier ones.
    pub latest: Option<S>,
}

impl<S: AsRef<str>> Envelope<S> {
    /// The bytes of the frame.
    ///
    /// # Errors
    /// [`TooLong`] if topic, event or key exceed 65,535 bytes or the payload 4 GiB.
    pub fn encode(&self) -> Result<BytesMut, TooLong> {
        let (topic, event) = (self.topic.as_ref(), self.event.as_ref());
        let latest = self.latest.as_ref().map(AsRef::as_ref);
        let short = |text: &str| u16::try_from(text.len()).map_err(|_| TooLong);
        let latest_len = latest.map(short).transpose()?;
        let length = u32::try_from(self.payload.len()).map_err(|_| TooLong)?;
        let optional = 18 + latest.map_or(0, |latest| 2 + latest.len());
        let mut frame =
            BytesMut::with_capacity(HEADER + topic.len() + event.len() + self.payload.len() + optional);
        frame.put_slice(&[MAGIC, VERSION, self.kind as u8, self.flags()]);
        frame.put_u64_le(self.incarnation);
        frame.put_u64_le(self.seq);
        frame.put_u64_le(self.sent_at);
        frame.put_u16_le(short(topic)?);
        frame.put_u16_le(short(event)?);
        frame.put_u32_le(length);
        frame.put_slice(topic.as_bytes());
        frame.put_slice(event.as_bytes());
        self.payload.pieces().iter().for_each(|piece| frame.put_slice(piece));
        if let Some(to) = self.to {
            frame.put_u64_le(to);
        }
        if let Some(position) = self.position {
            frame.put_u64_le(position.get());
        }
        if let (Some(latest), Some(length)) = (latest, latest_len) {
            frame.put_u16_le(length);
            frame.put_slice(latest.as_bytes());
        }
        if let Some((_, event, meta)) = self.payload.as_user() {
            frame.put_slice(&[event, meta]);
        }
        Ok(frame)
    }

    fn flags(&self) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(!self.payload.is_json(), BINARY)
            | flag(self.to.is_some(), TO)
            | flag(self.position.is_some(), POSITION)
            | flag(self.latest.is_some(), LATEST)
            | flag(self.payload.is_user_broadcast(), USER)
    }
}

/// Changes the number of a frame that is encoded already: it is known only when the frame takes its place in the queue.
pub fn set_seq(frame: &mut BytesMut, seq: u64) {
    if let Some(at) = frame.get_mut(SEQ) {
        at.copy_from_slice(&seq.to_le_bytes());
    }
}

impl Envelope<ByteString> {
    /// Reads a frame. Topic, event and payload share its memory.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn decode(frame: Bytes) -> Result<Self, EnvelopeError> {
        let mut reader = Reader(frame);
        if reader.u8() != Some(MAGIC) {
            return Err(EnvelopeError::Foreign);
        }
        match reader.u8() {
            Some(VERSION) => {}
            Some(version) => return Err(EnvelopeError::Version(version)),
            None => return Err(EnvelopeError::Truncated),
        }
        let number = reader.u8().ok_or(EnvelopeError::Truncated)?;
        let kind = Kind::of(number).ok_or(EnvelopeError::Kind(number))?;
        let (envelope, has_more) = Self::read(kind, &mut reader).ok_or(EnvelopeError::Truncated)??;
        if !has_more && !reader.is_empty() {
            return Err(EnvelopeError::TooMuch(reader.0.len()));
        }
        Ok(envelope)
    }

    /// The envelope, and whether there are fields of unknown flags behind it. `None` if the bytes end before it does.
    fn read(kind: Kind, reader: &mut Reader) -> Option<Result<(Self, bool), EnvelopeError>> {
        let flags = reader.u8()?;
        let (incarnation, seq, sent_at) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (topic, event, payload) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let (topic, event) = (reader.bytes(topic.into())?, reader.bytes(event.into())?);
        let payload = reader.bytes(usize::try_from(payload).ok()?)?;
        let to = if flags & TO != 0 { Some(reader.u64()?) } else { None };
        let position = if flags & POSITION != 0 { Some(reader.u64()?) } else { None };
        let latest = if flags & LATEST != 0 {
            let length = reader.u16()?;
            Some(reader.bytes(length.into())?)
        } else {
            None
        };
        let user = if flags & USER != 0 { Some((reader.u8()?, reader.u8()?)) } else { None };
        let text = |bytes, field| ByteString::try_from(bytes).map_err(|_| EnvelopeError::NotUtf8(field));
        let checked = || {
            let payload = if let Some((event, meta)) = user {
                UserBroadcast::from_parts(payload, event, meta).ok_or(EnvelopeError::UserBroadcast)?
            } else if flags & BINARY != 0 {
                Payload::binary(payload)
            } else {
                Payload::from_json(text(payload, "payload")?.into_bytes())
            };
            let position = position.map(|position| NonZeroU64::new(position).ok_or(EnvelopeError::Position));
            Ok(Self {
                kind,
                incarnation,
                seq,
                sent_at,
                topic: text(topic, "topic")?,
                event: text(event, "event")?,
                payload,
                to,
                position: position.transpose()?,
                latest: latest.map(|latest| text(latest, "key")).transpose()?,
            })
        };
        Some(checked().map(|envelope| (envelope, flags & !KNOWN != 0)))
    }
}

/// A topic, event or payload is too long for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the topic, event or key exceeds 65,535 bytes, or the payload 4 GiB")
    }
}

impl std::error::Error for TooLong {}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The first byte is not that of a frame.
    Foreign,
    /// A version that this node does not know.
    Version(u8),
    /// A kind that this node does not know.
    Kind(u8),
    /// The bytes end before the frame does.
    Truncated,
    /// So many bytes follow that belong to no flag.
    TooMuch(usize),
    /// This field is text, and not UTF-8.
    NotUtf8(&'static str),
    /// The position is 0.
    Position,
    /// The payload is not a user broadcast of the sizes that are given for it.
    UserBroadcast,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a frame of hinotori: the first byte is not H"),
            Self::Version(version) => write!(f, "expected a frame of version {VERSION}, got {version}"),
            Self::Kind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            Self::Truncated => f.write_str("the frame is truncated"),
            Self::TooMuch(bytes) => write!(f, "{bytes} bytes follow the frame"),
            Self::NotUtf8(field) => write!(f, "the {field} is not UTF-8"),
            Self::Position => f.write_str("the position is 0"),
            Self::UserBroadcast => f.write_str("the payload is not a user broadcast"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::IntoPayload;

    fn broadcast() -> Envelope<&'static str> {
        Envelope {
            kind: Kind::Broadcast,
            incarnation: 0x0123_4567_89ab_cdef,
            seq: 3,
            sent_at: 1_764_280_000_000_000,
            topic: "room:1",
            event: "shout",
            payload: Payload::raw_json("{\"n\":1}").unwrap(),
            to: None,
            position: None,
            latest: None,
        }
    }

    fn hex(frame: &[u8]) -> String {
        frame.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn these_are_the_bytes_that_nodes_of_other_versions_send_and_expect() {
        let plain = broadcast();
        let head = "48010100efcdab8967452301 0300000000000000 0030af729a440600 0600 0500 07000000";
        let text = "726f6f6d3a31 73686f7574 7b226e223a317d";
        assert_eq!(hex(&plain.encode().unwrap()), format!("{head}{text}").replace(' ', ""));
        let full = Envelope {
            payload: Payload::binary(vec![1, 2, 3]),
            to: Some(7),
            position: NonZeroU64::new(9),
            latest: Some("k"),
            kind: Kind::Disconnect,
            ..plain.clone()
        };
        let head = "4801080fefcdab8967452301 0300000000000000 0030af729a440600 0600 0500 03000000";
        let text = "726f6f6d3a31 73686f7574 010203 0700000000000000 0900000000000000 01006b";
        assert_eq!(hex(&full.encode().unwrap()), format!("{head}{text}").replace(' ', ""));
        let user = UserBroadcast::new("é", Payload::binary(vec![1, 2, 3])).unwrap().into_payload().unwrap();
        let frame = Envelope { payload: user, event: "broadcast", ..plain };
        let head = "48010111efcdab8967452301 0300000000000000 0030af729a440600 0600 0900 05000000";
        let text = "726f6f6d3a31 62726f616463617374 c3a9010203 0200";
        assert_eq!(hex(&frame.encode().unwrap()), format!("{head}{text}").replace(' ', ""));
        assert_eq!(Kind::ALL.map(|kind| kind as u8), [1, 4, 5, 6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn fields_that_a_later_version_adds_behind_an_unknown_flag_are_skipped_and_other_bytes_are_an_error() {
        let mut frame = broadcast().encode().unwrap();
        frame.put_slice(b"more");
        assert_eq!(Envelope::decode(frame.clone().freeze()), Err(EnvelopeError::TooMuch(4)));
        frame[3] |= 0x80;
        assert_eq!(Envelope::decode(frame.freeze()).unwrap().topic, "room:1");
    }

    #[test]
    fn a_frame_of_another_version_or_kind_is_told_apart_from_a_broken_one() {
        let frame = broadcast().encode().unwrap();
        let with = |at: usize, byte: u8| {
            let mut frame = frame.clone();
            frame[at] = byte;
            Envelope::decode(frame.freeze()).unwrap_err()
        };
        assert_eq!(with(0, b'h'), EnvelopeError::Foreign);
        assert_eq!(with(1, 2), EnvelopeError::Version(2));
        assert_eq!(with(2, 3), EnvelopeError::Kind(3));
        assert_eq!(with(36, 0xff), EnvelopeError::NotUtf8("topic"));
        assert_eq!(with(28, 0xff), EnvelopeError::Truncated);
        for length in 0..frame.len() {
            let cut = Envelope::decode(frame.clone().freeze().slice(..length));
            assert!(cut.is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn a_user_broadcast_whose_sizes_are_not_those_of_its_parts_is_refused() {
        let user = UserBroadcast {
            meta: Some(Payload::empty()),
            ..UserBroadcast::new("é", Payload::binary(vec![1])).unwrap()
        };
        let frame = Envelope { payload: user.into_payload().unwrap(), ..broadcast() }.encode().unwrap();
        assert_eq!(Envelope::decode(frame.clone().freeze()).unwrap().payload.as_binary(), Some(&[1][..]));
        for (event, meta) in [(1, 3), (2, 4), (2, 1), (2, 255), (255, 255)] {
            let mut frame = frame.clone();
            let end = frame.len();
            frame[end - 2..].copy_from_slice(&[event, meta]);
            assert_eq!(Envelope::decode(frame.freeze()), Err(EnvelopeError::UserBroadcast), "{event} {meta}");
        }
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        let long = "x".repeat(65_536);
        let fits = Envelope { topic: &long[1..], event: &long[1..], ..envelope_of(&long) };
        assert!(fits.encode().is_ok());
        assert_eq!(Envelope { topic: &*long, ..envelope_of("t") }.encode(), Err(TooLong));
        assert_eq!(Envelope { event: &*long, ..envelope_of("t") }.encode(), Err(TooLong));
        assert_eq!(Envelope { latest: Some(&*long), ..envelope_of("t") }.encode(), Err(TooLong));
    }

    fn envelope_of(topic: &str) -> Envelope<&str> {
        Envelope {
            kind: Kind::Broadcast,
            incarnation: 1,
            seq: 1,
            sent_at: 1,
            topic,
            event: "",
            payload: Payload::empty(),
            to: None,
            position: None,
            latest: None,
        }
    }

    fn envelopes() -> impl Strategy<Value = Envelope<String>> {
        let payload = prop_oneof![
            any::<Vec<u8>>().prop_map(Payload::binary),
            ("\\PC{0,30}", any::<Vec<u8>>()).prop_map(|(event, bytes)| {
                UserBroadcast::new(event, Payload::binary(bytes)).unwrap().into_payload().unwrap()
            }),
            any::<String>().prop_map(|text| Payload::from_json(text.into_bytes().into())),
        ];
        let head = (prop::sample::select(&Kind::ALL[..]), any::<[u64; 3]>());
        let optional = (any::<Option<u64>>(), any::<Option<NonZeroU64>>(), any::<Option<String>>());
        (head, any::<[String; 2]>(), payload, optional).prop_map(
            |(head, [topic, event], payload, optional)| {
                let ((kind, [incarnation, seq, sent_at]), (to, position, latest)) = (head, optional);
                Envelope { kind, incarnation, seq, sent_at, topic, event, payload, to, position, latest }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(envelope in envelopes(), seq: u64) {
            let mut frame = envelope.encode().unwrap();
            set_seq(&mut frame, seq);
            let decoded = Envelope::decode(frame.freeze()).unwrap();
            prop_assert_eq!(decoded.topic, &envelope.topic);
            prop_assert_eq!(decoded.event, &envelope.event);
            prop_assert_eq!(decoded.latest.as_deref(), envelope.latest.as_deref());
            prop_assert_eq!(decoded.payload, envelope.payload);
            prop_assert_eq!(
                (decoded.kind, decoded.incarnation, decoded.seq, decoded.sent_at, decoded.to, decoded.position),
                (envelope.kind, envelope.incarnation, seq, envelope.sent_at, envelope.to, envelope.position)
            );
        }

        #[test]
        fn any_bytes_are_read_or_refused(start in envelopes(), changes: Vec<(usize, u8)>, end: Vec<u8>) {
            let mut frame = start.encode().unwrap();
            frame.put_slice(&end);
            for (at, byte) in changes {
                let at = at % frame.len();
                frame[at] = byte;
            }
            if let Ok(envelope) = Envelope::decode(frame.freeze()) {
                let again = Envelope::decode(envelope.encode().unwrap().freeze());
                prop_assert_eq!(again, Ok(envelope));
            }
        }
    }
}
