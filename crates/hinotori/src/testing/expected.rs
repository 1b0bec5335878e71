//! What an assertion expects of a payload.

use serde_json::Value;

/// What [`assert_push`](super::TestSocket::assert_push) and the other assertions take: a value that the payload must equal, one
/// that it must be [`like`], or a closure that says whether it is right.
///
/// ```
/// use hinotori::testing::{Expected, like};
/// use serde_json::{Value, json};
///
/// let payload = json!({ "id": 7, "user": { "name": "ann", "age": 30 } });
/// assert!(like(json!({ "user": { "name": "ann" } })).fits(&payload));
/// assert!(!json!({ "id": 7 }).fits(&payload));
/// assert!((|payload: &Value| payload["id"].is_u64()).fits(&payload));
/// ```
pub trait Expected {
    /// Whether a payload is what is expected.
    fn fits(&self, payload: &Value) -> bool;

    /// What is expected, for the message of an assertion that fails.
    fn describe(&self) -> String;
}

/// The very payload.
impl Expected for Value {
    fn fits(&self, payload: &Value) -> bool {
        self == payload
    }

    fn describe(&self) -> String {
        self.to_string()
    }
}

/// What a closure says is right; it needs the type of its argument: `|payload: &Value| …`.
impl<F: Fn(&Value) -> bool> Expected for F {
    fn fits(&self, payload: &Value) -> bool {
        self(payload)
    }

    fn describe(&self) -> String {
        "what a closure says is right".to_owned()
    }
}

/// See [`like`].
#[derive(Debug, Clone, PartialEq)]
pub struct Like(Value);

/// A payload that has at least these keys, on every level, with values like these; lists are of the same length (Phoenix's
/// patterns in `assert_push`).
#[must_use]
pub fn like(pattern: Value) -> Like {
    Like(pattern)
}

impl Expected for Like {
    fn fits(&self, payload: &Value) -> bool {
        is_like(&self.0, payload)
    }

    fn describe(&self) -> String {
        format!("something like {}", self.0)
    }
}

fn is_like(pattern: &Value, value: &Value) -> bool {
    match (pattern, value) {
        (Value::Object(pattern), Value::Object(value)) => {
            pattern.iter().all(|(key, pattern)| value.get(key).is_some_and(|value| is_like(pattern, value)))
        }
        (Value::Array(pattern), Value::Array(value)) => {
            let mut pairs = pattern.iter().zip(value);
            pattern.len() == value.len() && pairs.all(|(pattern, value)| is_like(pattern, value))
        }
        (pattern, value) => pattern == value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn more_keys_are_like_fewer_and_nothing_else_is() {
        let payload = json!({ "a": 1, "list": [{ "b": 2, "c": null }, 3] });
        for pattern in [json!({}), json!({ "a": 1 }), json!({ "list": [{ "b": 2 }, 3] }), payload.clone()] {
            assert!(like(pattern.clone()).fits(&payload), "{pattern}");
        }
        for pattern in [
            json!({ "a": 2 }),
            json!({ "d": null }),
            json!({ "list": [{ "b": 2 }] }),
            json!({ "list": [{ "b": 3 }, 3] }),
            json!([]),
            json!(null),
        ] {
            assert!(!like(pattern.clone()).fits(&payload), "{pattern}");
        }
    }
}
