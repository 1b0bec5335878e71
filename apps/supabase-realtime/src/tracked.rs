//! A client's presence on a channel: what it tracks, under one key.

use hinotori::{Context, Payload, PresenceError};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::realtime_channel::RealtimeChannel;

type Meta = Map<String, Value>;

/// What a client wants of its presence.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    Track(Meta),
    Untrack,
    /// What is neither.
    Nothing,
}

/// The payload of an event `presence`.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    event: Value,
    #[serde(default = "empty")]
    payload: Value,
}

fn empty() -> Value {
    Value::Object(Map::new())
}

impl Change {
    /// Reads the payload of an event `presence`. `None` if what is to be tracked is no object.
    pub(crate) fn read(payload: &Payload) -> Option<Self> {
        // an array would be read as the fields in their order
        let Message { event, payload } = payload.is_object().then(|| payload.parse().ok())??;
        let is = |name: &str| event.as_str().is_some_and(|event| event.eq_ignore_ascii_case(name));
        match payload {
            Value::Object(meta) if is("track") => Some(Self::Track(meta)),
            _ if is("track") => None,
            _ if is("untrack") => Some(Self::Untrack),
            _ => Some(Self::Nothing),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tracked {
    key: String,
    /// What was tracked last, as the client sent it.
    meta: Option<Meta>,
}

impl Tracked {
    /// Nothing yet, under this key or one of its own.
    pub(crate) fn new(key: Option<String>) -> Self {
        Self { key: key.unwrap_or_else(|| Uuid::new_v4().to_string()), meta: None }
    }

    /// Tracks this, in place of what was tracked before. The same again changes nothing.
    pub(crate) async fn track(
        &mut self,
        cx: &Context<RealtimeChannel>,
        meta: Meta,
    ) -> Result<(), PresenceError> {
        let presence = &cx.socket().project.presence;
        match &self.meta {
            Some(tracked) if *tracked == meta => return Ok(()),
            Some(_) => presence.update(cx, &self.key, |old| old.clone_from(&meta))?,
            None => presence.track(cx, &self.key, &meta).await?,
        }
        self.meta = Some(meta);
        Ok(())
    }

    /// Tracks nothing.
    pub(crate) fn untrack(&mut self, cx: &Context<RealtimeChannel>) {
        if self.meta.take().is_some() {
            cx.socket().project.presence.untrack(cx, &self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use hinotori::IntoPayload;
    use serde_json::json;

    use super::*;

    fn read(payload: Value) -> Option<Change> {
        Change::read(&payload.into_payload().unwrap())
    }

    #[test]
    fn a_change_is_named_in_any_case() {
        let meta = json!({ "n": 1 }).as_object().unwrap().clone();
        let track = json!({ "type": "presence", "event": "TRACK", "payload": { "n": 1 } });
        assert_eq!(read(track), Some(Change::Track(meta)));
        assert_eq!(read(json!({ "event": "Untrack" })), Some(Change::Untrack));
        assert_eq!(read(json!({ "event": "track" })), Some(Change::Track(Map::new())));
        for other in [json!({}), json!({ "event": 7 }), json!({ "event": "tracks", "payload": 1 })] {
            assert_eq!(read(other.clone()), Some(Change::Nothing), "{other}");
        }
    }

    #[test]
    fn only_an_object_can_be_tracked() {
        for payload in [json!(1), json!("x"), json!([{}]), json!(null), json!(true)] {
            let track = json!({ "event": "track", "payload": payload });
            assert_eq!(read(track), None, "{payload}");
        }
        assert_eq!(read(json!(["track", {}])), None);
        assert_eq!(Change::read(&Payload::binary(vec![1])), None);
    }
}
