//! Presences as clients see them: `{key: {"metas": [{…, "phx_ref"}]}}`.

use serde_json::{Map, Value, json};

use super::state::{Id, Meta};

/// Presences by key, in the shape of `presence_state` and of both halves of `presence_diff`.
pub type Presences = Map<String, Value>;

/// Presences as JSON, with a copy of each meta.
pub fn by_key<'a>(present: impl IntoIterator<Item = (&'a Id, &'a std::sync::Arc<Meta>)>) -> Presences {
    let mut keys = Presences::new();
    for (id, meta) in present {
        let entry = keys.entry(&*id.key).or_insert_with(|| json!({ "metas": [] }));
        if let Some(metas) = entry["metas"].as_array_mut() {
            metas.push(Value::Object(Meta::clone(meta)));
        }
    }
    keys
}
