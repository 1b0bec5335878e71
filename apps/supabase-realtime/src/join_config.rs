//! How a client asks for a channel: the `config` of its join.

use serde_json::{Map, Value};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinConfig {
    /// Whether broadcasts are answered.
    pub(crate) ack: bool,
    /// Whether the client hears its own broadcasts.
    pub(crate) to_self: bool,
    /// Under which key the client is present, if it chooses one.
    pub(crate) key: Option<String>,
    /// Whether the client is sent who is present. Clients before 2025 do not say, and expect it.
    pub(crate) presence: bool,
    pub(crate) private: bool,
    /// Whether it wants changes of a database.
    pub(crate) postgres_changes: bool,
}

impl Default for JoinConfig {
    fn default() -> Self {
        let (ack, to_self, private, postgres_changes) = (false, false, false, false);
        Self { ack, to_self, key: None, presence: true, private, postgres_changes }
    }
}

impl JoinConfig {
    /// Reads the `config` of a join's payload. One that has any field of another type counts as no config at all, as in
    /// Supabase Realtime.
    pub(crate) fn read(payload: &Value) -> Self {
        let config = Fields::of(payload.get("config"));
        config.and_then(|config| Self::checked(&config)).unwrap_or_default()
    }

    fn checked(config: &Fields<'_>) -> Option<Self> {
        let (broadcast, presence) = (config.map("broadcast")?, config.map("presence")?);
        Some(Self {
            ack: broadcast.flag("ack", false)?,
            to_self: broadcast.flag("self", false)?,
            key: presence.text("key")?.filter(|key| !key.is_empty()),
            presence: presence.flag("enabled", true)?,
            private: config.flag("private", false)?,
            postgres_changes: config.has_any("postgres_changes")?,
        })
    }
}

/// The fields of an object, which may be absent. `None` is a field of another type.
struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    fn of(value: Option<&'a Value>) -> Option<Self> {
        match value {
            None | Some(Value::Null) => Some(Self(None)),
            Some(Value::Object(fields)) => Some(Self(Some(fields))),
            Some(_) => None,
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.and_then(|fields| fields.get(name)).filter(|value| !value.is_null())
    }

    fn map(&self, name: &str) -> Option<Self> {
        Self::of(self.get(name))
    }

    /// A boolean, or its name in any case.
    fn flag(&self, name: &str, default: bool) -> Option<bool> {
        match self.get(name) {
            None => Some(default),
            Some(value) => flag(value),
        }
    }

    fn text(&self, name: &str) -> Option<Option<String>> {
        match self.get(name) {
            None => Some(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())),
        }
    }

    fn has_any(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            None => Some(false),
            Some(value) => value.as_array().map(|elements| !elements.is_empty()),
        }
    }
}

/// A boolean, or its name in any case.
pub(crate) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(name) if name.eq_ignore_ascii_case("true") => Some(true),
        Value::String(name) if name.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: Value) -> JoinConfig {
        JoinConfig::read(&json!({ "config": config }))
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        for payload in [json!({}), json!({ "config": null }), json!({ "config": {} }), json!(null), json!([])]
        {
            assert_eq!(JoinConfig::read(&payload), JoinConfig::default(), "{payload}");
        }
        let sparse = json!({ "broadcast": { "ack": null, "more": 1 }, "presence": { "key": "" }, "new": [] });
        assert_eq!(read(sparse), JoinConfig::default());
    }

    #[test]
    fn everything_may_be_said_and_booleans_also_as_text() {
        let all = |yes: Value, no: Value| {
            read(json!({
                "broadcast": { "ack": yes, "self": yes, "replay": { "since": 1 } },
                "presence": { "key": "ann", "enabled": no },
                "private": yes,
                "postgres_changes": [{ "event": "*" }],
            }))
        };
        let expected = JoinConfig {
            ack: true,
            to_self: true,
            key: Some("ann".to_owned()),
            presence: false,
            private: true,
            postgres_changes: true,
        };
        assert_eq!(all(json!(true), json!(false)), expected);
        assert_eq!(all(json!("True"), json!("FALSE")), expected);
    }

    #[test]
    fn a_field_of_another_type_makes_all_of_it_default() {
        for (at, wrong) in [
            ("/broadcast", json!([])),
            ("/broadcast/ack", json!("yes")),
            ("/broadcast/self", json!(1)),
            ("/presence", json!("on")),
            ("/presence/key", json!(7)),
            ("/presence/enabled", json!({})),
            ("/private", json!("")),
            ("/postgres_changes", json!({})),
        ] {
            let mut config = json!({
                "broadcast": { "ack": true, "self": true },
                "presence": { "key": "ann", "enabled": false },
                "private": true,
                "postgres_changes": [],
            });
            assert_ne!(read(config.clone()), JoinConfig::default());
            *config.pointer_mut(at).unwrap() = wrong;
            assert_eq!(read(config), JoinConfig::default(), "{at}");
        }
    }
}
