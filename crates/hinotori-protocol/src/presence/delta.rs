//! What the owner of a slice sends: changes, or all of it in parts.
//!
//! # Layout
//! Integers are little-endian. A text, and JSON, is behind its length in 4 bytes.
//!
//! | what | bytes |
//! |---|---|
//! | delta | the version before and after it, 8 each; then the steps, one per version |
//! | step | the topic; 4: how many leave; their clocks, 8 each; 1: whether one joins; the join |
//! | part | the version of the slice, 8; its index and the number of parts, 4 each; then, until the end, a topic and a join each |
//! | join | its clock, 8; its key; its meta as JSON, with the `phx_ref` |

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::state::Meta;
use crate::cluster::reader::Reader;

/// One change of a topic: what one diff tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where.
    pub topic: Arc<str>,
    /// The clocks of those that leave.
    pub left: Vec<u64>,
    /// Who joins.
    pub joined: Option<Join>,
}

/// A presence of a slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// The clock of its [`Tag`](super::Tag); the replica is the incarnation.
    pub clock: u64,
    /// The key under which it is tracked.
    pub key: Arc<str>,
    /// Its meta, with the `phx_ref`.
    pub meta: Arc<Meta>,
}

/// Changes of a slice from one version to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// The version before the first step. Each step adds one.
    pub from: u64,
    /// The changes in their order.
    pub steps: Vec<Step>,
}

/// A part of a whole slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The version of the slice. Only parts of the same version belong together.
    pub version: u64,
    /// Which of the parts it is.
    pub index: u32,
    /// How many there are.
    pub count: u32,
    /// Some of the presences, with their topics.
    pub joins: Vec<(Arc<str>, Join)>,
}

impl Delta {
    /// The version after the last step.
    #[must_use]
    pub fn to(&self) -> u64 {
        self.from.saturating_add(self.steps.len() as u64)
    }

    /// The payload of its frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64_le(self.from);
        bytes.put_u64_le(self.to());
        self.steps.iter().for_each(|step| step.encode(&mut bytes));
        bytes.freeze()
    }

    /// Reads a payload. `None` if it is not one.
    #[must_use]
    pub fn decode(payload: Bytes) -> Option<Self> {
        let mut reader = Reader(payload);
        let (from, to) = (reader.u64()?, reader.u64()?);
        let mut steps = vec![];
        while !reader.is_empty() {
            steps.push(Step::decode(&mut reader)?);
        }
        let delta = Self { from, steps };
        (from.checked_add(delta.steps.len() as u64) == Some(to)).then_some(delta)
    }
}

impl Step {
    /// Bytes that it takes in a frame, at most.
    pub(super) fn cost(&self) -> usize {
        32 + self.topic.len() + 8 * self.left.len() + self.joined.as_ref().map_or(0, Join::cost)
    }

    fn encode(&self, bytes: &mut BytesMut) {
        put_text(bytes, self.topic.as_bytes());
        bytes.put_u32_le(self.left.len() as u32);
        self.left.iter().for_each(|clock| bytes.put_u64_le(*clock));
        bytes.put_u8(self.joined.is_some().into());
        if let Some(join) = &self.joined {
            join.encode(bytes);
        }
    }

    fn decode(reader: &mut Reader) -> Option<Self> {
        let topic = text(reader)?;
        let count = reader.u32()?;
        let mut left = vec![];
        for _ in 0..count {
            left.push(reader.u64()?);
        }
        let joined = match reader.u8()? {
            0 => None,
            1 => Some(Join::decode(reader)?),
            _ => return None,
        };
        Some(Self { topic, left, joined })
    }
}

impl Join {
    /// Bytes that it takes in a frame, about: a meta counts as what it takes in memory, which is more.
    pub(super) fn cost(&self) -> usize {
        64 + self.key.len() + weight(&self.meta)
    }

    fn encode(&self, bytes: &mut BytesMut) {
        bytes.put_u64_le(self.clock);
        put_text(bytes, self.key.as_bytes());
        // a map with keys that are strings always serializes
        put_text(bytes, &serde_json::to_vec(&*self.meta).unwrap_or_default());
    }

    fn decode(reader: &mut Reader) -> Option<Self> {
        let (clock, key) = (reader.u64()?, text(reader)?);
        let meta = serde_json::from_slice(&reader.long()?).ok()?;
        Some(Self { clock, key, meta: Arc::new(meta) })
    }
}

impl Part {
    /// The payload of its frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64_le(self.version);
        bytes.put_u32_le(self.index);
        bytes.put_u32_le(self.count);
        for (topic, join) in &self.joins {
            put_text(&mut bytes, topic.as_bytes());
            join.encode(&mut bytes);
        }
        bytes.freeze()
    }

    /// Reads a payload. `None` if it is not one.
    #[must_use]
    pub fn decode(payload: Bytes) -> Option<Self> {
        let mut reader = Reader(payload);
        let (version, index, count) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let mut joins = vec![];
        while !reader.is_empty() {
            joins.push((text(&mut reader)?, Join::decode(&mut reader)?));
        }
        (index < count).then_some(Self { version, index, count, joins })
    }
}

fn put_text(bytes: &mut BytesMut, text: &[u8]) {
    bytes.put_u32_le(text.len() as u32);
    bytes.put_slice(text);
}

fn text(reader: &mut Reader) -> Option<Arc<str>> {
    reader.text().map(|text| Arc::from(&*text))
}

/// The length of a meta as JSON, roughly.
fn weight(meta: &Meta) -> usize {
    use serde_json::Value;

    fn of(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 24,
            Value::String(text) => 2 + text.len(),
            Value::Array(values) => 2 + values.iter().map(|value| 1 + of(value)).sum::<usize>(),
            Value::Object(map) => weight(map),
        }
    }
    2 + meta.iter().map(|(name, value)| 4 + name.len() + of(value)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joins() -> impl Strategy<Value = Join> {
        (any::<(u64, String)>(), prop::collection::btree_map(any::<String>(), any::<String>(), 0..3))
            .prop_map(|((clock, key), meta)| {
                let meta = meta.into_iter().map(|(name, value)| (name, value.into())).collect();
                Join { clock, key: key.into(), meta: Arc::new(meta) }
            })
    }

    fn steps() -> impl Strategy<Value = Step> {
        (any::<(String, Vec<u64>)>(), prop::option::of(joins())).prop_map(|((topic, left), joined)| Step {
            topic: topic.into(),
            left,
            joined,
        })
    }

    #[test]
    fn these_are_the_bytes_that_nodes_of_other_versions_send_and_expect() {
        let join =
            Join { clock: 5, key: "u".into(), meta: Arc::new(Meta::from_iter([("a".into(), 1.into())])) };
        let joined = [&[5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'u', 7, 0, 0, 0][..], b"{\"a\":1}"].concat();
        let topic = [2, 0, 0, 0, b't', b'1'];
        let step = Step { topic: "t1".into(), left: vec![3], joined: Some(join.clone()) };
        let delta = Delta { from: 8, steps: vec![step] };
        let left = [1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1];
        let wanted = [&[8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0], &topic[..], &left, &joined].concat();
        assert_eq!(delta.encode(), wanted);
        let part = Part { version: 9, index: 0, count: 1, joins: vec![("t1".into(), join)] };
        let wanted = [&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], &topic[..], &joined].concat();
        assert_eq!(part.encode(), wanted);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            from in 0..u64::MAX / 2, steps in prop::collection::vec(steps(), 0..5),
            joins in prop::collection::vec((any::<String>(), joins()), 0..5), index: u16,
        ) {
            let cost: usize = steps.iter().map(Step::cost).sum();
            let delta = Delta { from, steps };
            prop_assert!(delta.encode().iter().filter(|byte| byte.is_ascii_alphanumeric()).count() <= cost + 16);
            prop_assert_eq!(Delta::decode(delta.encode()), Some(delta));
            let joins = joins.into_iter().map(|(topic, join)| (topic.into(), join)).collect();
            let part = Part { version: from, index: index.into(), count: 70_000, joins };
            prop_assert_eq!(Part::decode(part.encode()), Some(part));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, steps in prop::collection::vec(steps(), 0..3), at: usize, to: u8) {
            let _ = (Delta::decode(bytes.clone().into()), Part::decode(bytes.into()));
            let mut changed = Delta { from: 1, steps }.encode().to_vec();
            let at = at % changed.len();
            changed[at] = to;
            let _ = (Delta::decode(changed.clone().into()), Part::decode(changed.into()));
        }
    }
}
