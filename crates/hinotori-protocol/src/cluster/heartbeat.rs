//! What a node says of itself each second.
//!
//! # Layout
//! The payload of an envelope whose topic is the node's name. Integers are little-endian. Bytes that follow belong to
//! later versions and are ignored.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the last number of the lane of broadcasts |
//! | 8 | the last number of the lane of disconnects |
//! | 8 | the oldest disconnect that is still kept and repeated, or the next one |
//! | 2 | number of slices; each is a name behind its length in 2 bytes, 8 bytes of version, 8 of digest |
//! | 2 | number of acknowledgments; each is an incarnation and the number up to which its disconnects have arrived |

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::reader::Reader;

/// The state of a node, by which others notice what they have lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// The last number of the lane of broadcasts.
    pub broadcasts: u64,
    /// The last number of the lane of disconnects.
    pub disconnects: u64,
    /// Disconnects below this are not repeated any more.
    pub kept_from: u64,
    /// The slices of presences that the node owns.
    pub slices: Vec<Announced>,
    /// Disconnects of other nodes that have arrived.
    pub acks: Vec<Ack>,
}

/// The state of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The name of the presences.
    pub name: ByteString,
    /// How many changes there were.
    pub version: u64,
    /// See [`Slice::digest`](crate::presence::Slice::digest).
    pub digest: u64,
}

/// All disconnects of a node up to a number have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The node that sent them.
    pub incarnation: u64,
    /// The number of the last one.
    pub up_to: u64,
}

impl Heartbeat {
    /// The payload. A name of more than 65,535 bytes is cut; of slices and acknowledgments, only the first 65,535 are
    /// included.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        const MOST: usize = u16::MAX as usize;
        let mut bytes = BytesMut::with_capacity(64 + 16 * self.acks.len());
        let put_count = |bytes: &mut BytesMut, count: usize| bytes.put_u16_le(count.min(MOST) as u16);
        bytes.put_u64_le(self.broadcasts);
        bytes.put_u64_le(self.disconnects);
        bytes.put_u64_le(self.kept_from);
        put_count(&mut bytes, self.slices.len());
        for Announced { name, version, digest } in self.slices.iter().take(MOST) {
            let end = (0..=name.len().min(MOST)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
            put_count(&mut bytes, end);
            bytes.put_slice(&name.as_bytes()[..end]);
            bytes.put_u64_le(*version);
            bytes.put_u64_le(*digest);
        }
        put_count(&mut bytes, self.acks.len());
        for Ack { incarnation, up_to } in self.acks.iter().take(MOST) {
            bytes.put_u64_le(*incarnation);
            bytes.put_u64_le(*up_to);
        }
        bytes.freeze()
    }

    /// Reads a payload. `None` if it is not one.
    #[must_use]
    pub fn decode(payload: Bytes) -> Option<Self> {
        let mut reader = Reader(payload);
        let (broadcasts, disconnects, kept_from) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let mut slices = vec![];
        for _ in 0..reader.u16()? {
            let (name, version, digest) = (reader.short_text()?, reader.u64()?, reader.u64()?);
            slices.push(Announced { name, version, digest });
        }
        let mut acks = vec![];
        for _ in 0..reader.u16()? {
            acks.push(Ack { incarnation: reader.u64()?, up_to: reader.u64()? });
        }
        Some(Self { broadcasts, disconnects, kept_from, slices, acks })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heartbeats() -> impl Strategy<Value = Heartbeat> {
        let announced = any::<(String, u64, u64)>().prop_map(|(name, version, digest)| Announced {
            name: name.into(),
            version,
            digest,
        });
        let ack = any::<(u64, u64)>().prop_map(|(incarnation, up_to)| Ack { incarnation, up_to });
        (any::<[u64; 3]>(), prop::collection::vec(announced, 0..4), prop::collection::vec(ack, 0..4))
            .prop_map(|([broadcasts, disconnects, kept_from], slices, acks)| Heartbeat {
                broadcasts,
                disconnects,
                kept_from,
                slices,
                acks,
            })
    }

    #[test]
    fn these_are_the_bytes_that_nodes_of_other_versions_send_and_expect() {
        let heartbeat = Heartbeat {
            broadcasts: 1,
            disconnects: 2,
            kept_from: 3,
            slices: vec![Announced { name: "p".into(), version: 4, digest: 5 }],
            acks: vec![Ack { incarnation: 6, up_to: 7 }],
        };
        let wanted = [
            &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 0, 1, 0, b'p', 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(heartbeat.encode(), wanted.concat());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_whatever_follows(heartbeat in heartbeats(), more: Vec<u8>) {
            let bytes = [&heartbeat.encode()[..], &more].concat();
            prop_assert_eq!(Heartbeat::decode(bytes.into()), Some(heartbeat));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Heartbeat::decode(bytes.into());
        }
    }
}
