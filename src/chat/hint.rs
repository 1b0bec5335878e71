//! What a node tells the others when it has committed something: a hint, which may be lost.
//!
//! It has the messages in it, as long as they are small, so that nobody needs to read them from the log. It goes as an
//! ordinary broadcast to a topic that no client can join.
//!
//! # Layout
//! Numbers are little-endian. What follows the known fields is skipped, so that a later version can add some.
//!
//! | field | |
//! |---|---|
//! | version | `u8`: 1 |
//! | epoch | `u64`: of the log |
//! | node | `u64`: the sender, which hears it too |
//! | head | 2 × `u64`: the id and the revision that the log has come to |
//! | forgotten | `u64`: messages up to this id are deleted |
//! | events | `u32`: their number; then each of them |
//! | an event | `u8`: 1 a post, 2 a like; `u64` id; `u64` count, `u64` rev, `u64` posted_rev of its likes; `u32` length, and so many bytes of its JSON without the likes |

use super::{
    follower::{Event, Place},
    message::{Likes, Message},
};

/// The topic of the hints.
pub(super) const TOPIC: &str = "$chat:log";

/// The event of a hint.
pub(super) const EVENT: &str = "committed";

const VERSION: u8 = 1;

/// Bytes of messages in one hint: 64 KiB. One that is longer by itself is not in any; its id is.
const MOST: usize = 64 << 10;

const POSTED: u8 = 1;
const LIKED: u8 = 2;

/// What was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) epoch: u64,
    pub(super) node: u64,
    /// How far the log has come.
    pub(super) head: Place,
    /// Messages up to this id are deleted.
    pub(super) forgotten: u64,
    pub(super) events: Vec<Event>,
}

impl Hint {
    /// It as the payloads of one or more broadcasts.
    pub(super) fn encode(&self) -> Vec<Vec<u8>> {
        let (mut payloads, mut count, mut events) = (Vec::new(), 0_u32, Vec::new());
        for event in &self.events {
            let encoded = encoded(event);
            if encoded.len() > MOST {
                continue;
            }
            if events.len() + encoded.len() > MOST {
                payloads.push(self.payload(count, &events));
                (count, events) = (0, Vec::new());
            }
            count += 1;
            events.extend(encoded);
        }
        payloads.push(self.payload(count, &events));
        payloads
    }

    fn payload(&self, count: u32, events: &[u8]) -> Vec<u8> {
        let mut payload = vec![VERSION];
        for number in [self.epoch, self.node, self.head.id, self.head.rev, self.forgotten] {
            payload.extend(number.to_le_bytes());
        }
        payload.extend(count.to_le_bytes());
        payload.extend(events);
        payload
    }

    /// Of a payload; none if it is of another version, or no hint.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut rest = payload.strip_prefix(&[VERSION])?;
        let rest = &mut rest;
        let (epoch, node) = (u64(rest)?, u64(rest)?);
        let (head, forgotten) = (Place { id: u64(rest)?, rev: u64(rest)? }, u64(rest)?);
        let count = u32(rest)?;
        let events = (0..count).map(|_| event(rest)).collect::<Option<_>>()?;
        Some(Self { epoch, node, head, forgotten, events })
    }
}

fn encoded(event: &Event) -> Vec<u8> {
    let kind = match event {
        Event::Posted(_) => POSTED,
        Event::Liked(_) => LIKED,
    };
    let message = event.message();
    let (likes, body) = (message.likes(), message.body());
    let mut bytes = vec![kind];
    for number in [message.id(), likes.count, likes.rev, likes.posted_rev] {
        bytes.extend(number.to_le_bytes());
    }
    // no message is as long as 4 GiB
    bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(body.into_bytes());
    bytes
}

fn event(rest: &mut &[u8]) -> Option<Event> {
    let kind = *rest.split_off_first()?;
    let id = u64(rest)?;
    let likes = Likes { count: u64(rest)?, rev: u64(rest)?, posted_rev: u64(rest)? };
    let length = usize::try_from(u32(rest)?).ok()?;
    let body = std::str::from_utf8(rest.split_off(..length)?).ok()?;
    let message = Message::from_body(id, body, likes)?;
    match kind {
        POSTED => Some(Event::Posted(message)),
        LIKED => Some(Event::Liked(message)),
        _ => None,
    }
}

fn u64(rest: &mut &[u8]) -> Option<u64> {
    rest.split_off(..8)?.try_into().ok().map(u64::from_le_bytes)
}

fn u32(rest: &mut &[u8]) -> Option<u32> {
    rest.split_off(..4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::message::Draft, *};

    fn message(id: u64, content: &str) -> Message {
        Draft::new(content, Some(3), None).unwrap().message(id, 2, Some(b"\"three\""))
    }

    fn hint(events: Vec<Event>) -> Hint {
        Hint { epoch: 7, node: 8, head: Place { id: 9, rev: 10 }, forgotten: 4, events }
    }

    #[test]
    fn what_was_encoded_is_decoded_and_what_is_added_behind_is_skipped() {
        let hint =
            hint(vec![Event::Posted(message(9, "a \u{0}🔥")), Event::Liked(message(1, "b").liked(10))]);
        let [payload] = &hint.encode()[..] else { panic!("more than one") };
        assert_eq!(Hint::decode(payload), Some(hint.clone()));
        assert_eq!(Hint::decode(&[payload, &b"more"[..]].concat()), Some(hint));
        for end in 0..payload.len() {
            assert_eq!(Hint::decode(&payload[..end]), None, "{end}");
        }
        assert_eq!(Hint::decode(&[&[2], &payload[1..]].concat()), None);
    }

    /// Nodes of this version and the next run side by side.
    #[test]
    fn the_layout_is_this() {
        let body = r#"{"id":9,"content":"x"}"#;
        let likes = Likes { count: 1, rev: 3, posted_rev: 2 };
        let event = Event::Liked(Message::from_body(9, body, likes).unwrap());
        let number = u64::to_le_bytes;
        let fields = [7, 8, 9, 10, 4].map(number).concat();
        let liked = [&[2][..], &[9, 1, 3, 2].map(number).concat(), &[22, 0, 0, 0], body.as_bytes()].concat();
        assert_eq!(hint(vec![event]).encode(), [[&[1][..], &fields, &[1, 0, 0, 0], &liked].concat()]);
    }

    #[test]
    fn many_messages_are_several_hints_and_one_that_is_too_long_is_none() {
        let long = "x".repeat(30_000);
        let mut events: Vec<_> = (1..=5).map(|id| Event::Posted(message(id, &long))).collect();
        let all = events.clone();
        events.insert(2, Event::Posted(message(9, &"x".repeat(70_000))));
        let hints: Vec<_> =
            hint(events).encode().iter().map(|payload| Hint::decode(payload).unwrap()).collect();
        assert!(hints.iter().all(|hint| hint.head.id == 9));
        assert_eq!(hints.iter().map(|hint| hint.events.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(hints.into_iter().flat_map(|hint| hint.events).collect::<Vec<_>>(), all);
        assert_eq!(hint(vec![]).encode().len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(mut bytes: Vec<u8>) {
            let _ = Hint::decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = Hint::decode(&bytes);
        }
    }
}
