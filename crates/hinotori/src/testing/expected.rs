//! What an assertion expects of a payload.

use serde_json::Value;

/// The argument of [`assert_push`](super::TestSocket::assert_push) and the other assertions: a value that the payload
/// must equal, a value that it must be [`like`], or a closure that checks it.
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
    /// Whether a payload matches.
    fn fits(&self, payload: &Value) -> bool;

    /// Describes the expectation in the message of a failed assertion.
    fn describe(&self) -> String;
}

/// Matches exactly this payload.
impl Expected for Value {
    fn fits(&self, payload: &Value) -> bool {
        self == payload
    }

    fn describe(&self) -> String {
        self.to_string()
    }
}

/// Matches if a closure returns true. The closure must name the type of its argument: `|payload: &Value| …`.
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

/// Matches a payload that has at least these keys on every level, with matching values; arrays must have the same
/// length (Phoenix's patterns in `assert_push`).
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
