//! Presences as clients see them: `{key: {"metas": [{…, "phx_ref"}]}}`, and what has changed.

use serde_json::{Map, Value, json};

use super::state::{Meta, Tag};

/// Presences by key, in the shape of `presence_state` and of both halves of `presence_diff`.
pub type Presences = Map<String, Value>;

/// One presence as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Which presence it is.
    pub tag: Tag,
    /// The key under which it is tracked, such as the id of a user.
    pub key: String,
    /// Its meta with its `phx_ref`.
    pub meta: Meta,
}

impl Seen {
    /// The presence `tag`, tracked under `key` with `meta`, to which its `phx_ref` is added.
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
    /// Presences that are new, oldest first.
    pub joins: Vec<Seen>,
    /// Presences that are gone and that an earlier diff or state has shown, in the order in which they left.
    pub leaves: Vec<Seen>,
}

impl Diff {
    /// Adds a presence that is new.
    pub fn join(&mut self, presence: Seen) {
        self.joins.push(presence);
    }

    /// Adds a presence that is gone. One that joined since the last diff is dropped from both lists instead.
    pub fn leave(&mut self, presence: Seen) {
        match self.joins.iter().position(|joined| joined.tag == presence.tag) {
            Some(index) => _ = self.joins.remove(index),
            None => self.leaves.push(presence),
        }
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty()
    }
}
