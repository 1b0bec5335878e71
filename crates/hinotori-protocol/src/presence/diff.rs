//! Presences as clients see them: `{key: {"metas": [{…, "phx_ref"}]}}`, and what has changed.

use serde_json::{Map, Value, json};

use super::state::{Meta, Tag};

/// Presences by key, in the shape of `presence_state` and of both halves of `presence_diff`.
pub type Presences = Map<String, Value>;

/// One presence as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub tag: Tag,
    pub key: String,
    pub meta: Meta,
}

impl Seen {
    pub fn new(tag: Tag, key: &str, meta: &Meta) -> Self {
        let mut meta = meta.clone();
        meta.insert("phx_ref".to_owned(), Value::String(tag.phx_ref()));
        Self { tag, key: key.to_owned(), meta }
    }
}

/// Groups presences by key, in their order.
pub fn by_key(presences: impl IntoIterator<Item = Seen>) -> Presences {
    let mut keys = Presences::new();
    for Seen { key, meta, .. } in presences {
        let entry = keys.entry(key).or_insert_with(|| json!({ "metas": [] }));
        if let Some(metas) = entry["metas"].as_array_mut() {
            metas.push(Value::Object(meta));
        }
    }
    keys
}

/// What has changed on one topic since its last diff.
#[derive(Debug, Default)]
pub struct Diff {
    pub joins: Vec<Seen>,
    pub leaves: Vec<Seen>,
}

impl Diff {
    pub fn join(&mut self, presence: Seen) {
        self.joins.push(presence);
    }

    /// Somebody who came and went between two diffs was never there.
    pub fn leave(&mut self, presence: Seen) {
        match self.joins.iter().position(|joined| joined.tag == presence.tag) {
            Some(index) => _ = self.joins.remove(index),
            None => self.leaves.push(presence),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty()
    }
}
