//! When two JSON values are the same conversation: times, presence references and tokens differ from run to run.

use serde_json::Value;

/// Times and presence references keep their place, not their value.
pub(crate) fn normal(value: &Value) -> Value {
    match value {
        Value::String(text) if is_time(text) => Value::from("<time>"),
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match name.as_str() {
                "phx_ref" | "phx_ref_prev" => (name.clone(), Value::from("<phx_ref>")),
                "online_at" => (name.clone(), Value::from("<time>")),
                _ => (name.clone(), normal(value)),
            })
            .collect(),
        other => other.clone(),
    }
}

/// `2024-05-06T07:08:09Z`, with or without decimals of a second.
pub(crate) fn is_time(text: &str) -> bool {
    let shape = "dddd-dd-ddTdd:dd:dd";
    let fits = |(c, s): (char, char)| if s == 'd' { c.is_ascii_digit() } else { c == s };
    let (Some(stamp), Some(rest)) = (text.get(..shape.len()), text.get(shape.len()..)) else { return false };
    let decimals =
        rest.strip_suffix('Z').map(|rest| rest.strip_prefix('.').map_or((rest, true), |d| (d, false)));
    stamp.chars().zip(shape.chars()).all(fits)
        && decimals.is_some_and(|(digits, none)| {
            digits.is_empty() == none && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Equal as JSON: the order of keys never matters, and `1` is `1.0`.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || (x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64()
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_whole_utc_timestamps_are_times() {
        for time in ["2024-05-06T07:08:09Z", "2024-05-06T07:08:09.1Z", "2024-05-06T07:08:09.123456Z"] {
            assert!(is_time(time), "{time}");
        }
        for other in [
            "",
            "2024-05-06",
            "2024-05-06T07:08:09",
            "2024-05-06T07:08:09.Z",
            "2024-05-06T07:08:09+01:00",
            "at 2024-05-06T07:08:09Z",
        ] {
            assert!(!is_time(other), "{other}");
        }
    }

    #[test]
    fn references_and_times_lose_their_value_at_any_depth() {
        let metas = json!({"u": {"metas": [{"phx_ref": "a", "online_at": "1", "at": "2024-05-06T07:08:09Z", "n": 1}]}});
        let wanted = json!({"u": {"metas": [{"phx_ref": "<phx_ref>", "online_at": "<time>", "at": "<time>", "n": 1}]}});
        assert_eq!(normal(&metas), wanted);
    }

    #[test]
    fn numbers_are_the_same_by_value_and_nothing_else_is_converted() {
        assert!(same(&json!({"a": 1, "b": [2.0]}), &json!({"b": [2], "a": 1.0})));
        for (a, b) in [
            (json!(1), json!("1")),
            (json!(null), json!(false)),
            (json!([1]), json!([1, 1])),
            (json!({}), json!([])),
        ] {
            assert!(!same(&a, &b), "{a} {b}");
        }
    }
}
