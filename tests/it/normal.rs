//! When two JSON values are the same conversation: times, presence references and tokens differ from run to run.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

/// Times and presence references keep their place, not their value. The references must be what they should be, which the
/// server on `port` is asked for by [`Refs`].
pub(crate) fn normal(port: u16, value: &Value) -> Value {
    static REFS: Mutex<Option<Refs>> = Mutex::new(None);
    let mut refs = REFS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(why) = refs.get_or_insert_default().take(port, value) {
        panic!("{why} in {value}");
    }
    hidden(value)
}

fn hidden(value: &Value) -> Value {
    match value {
        Value::String(text) if is_time(text) => Value::from("<time>"),
        Value::Array(items) => items.iter().map(hidden).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match name.as_str() {
                "phx_ref" | "phx_ref_prev" => (name.clone(), Value::from("<phx_ref>")),
                "online_at" => (name.clone(), Value::from("<time>")),
                _ => (name.clone(), hidden(value)),
            })
            .collect(),
        other => other.clone(),
    }
}

/// Which meta each `phx_ref` belongs to, of all servers that the tests have started. No two metas have the same one, not of
/// two servers either: phoenix.js would keep what a former life of its server said.
#[derive(Default)]
struct Refs {
    metas: HashMap<String, Meta>,
}

/// A meta under its key, as the server on a port told it.
type Meta = (u16, String, Value);

impl Refs {
    /// Takes in what a server told.
    ///
    /// # Errors
    /// What is wrong with a `phx_ref` in it.
    fn take(&mut self, port: u16, value: &Value) -> Result<(), String> {
        let mut found = vec![];
        find(value, "", &mut found);
        for (at, (key, meta)) in found.iter().enumerate() {
            let phx_ref = meta["phx_ref"].as_str().filter(|phx_ref| (1..=20).contains(&phx_ref.len()));
            let phx_ref = phx_ref.ok_or_else(|| format!("{} is no short text", meta["phx_ref"]))?;
            if found[..at].iter().any(|(_, other)| other["phx_ref"] == meta["phx_ref"]) {
                return Err(format!("{phx_ref} is there twice"));
            }
            let new = (port, (*key).to_owned(), (*meta).clone());
            let known = self.metas.entry(phx_ref.to_owned()).or_insert_with(|| new.clone());
            if *known != new {
                return Err(format!("{phx_ref} is known as that of {known:?}"));
            }
        }
        Ok(())
    }
}

/// All metas in a value, with their keys.
fn find<'a>(value: &'a Value, key: &'a str, found: &mut Vec<(&'a str, &'a Value)>) {
    match value {
        Value::Object(fields) if fields.contains_key("phx_ref") => found.push((key, value)),
        Value::Object(fields) => {
            for (name, value) in fields {
                find(value, if name == "metas" { key } else { name }, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| find(item, key, found)),
        _ => {}
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
        assert_eq!(hidden(&metas), wanted);
    }

    /// A presence under a key.
    fn tells(key: &str, phx_ref: &str, n: u32) -> Value {
        json!({ "joins": { key: { "metas": [{ "phx_ref": phx_ref, "n": n }] } }, "leaves": {} })
    }

    #[test]
    fn a_reference_that_is_told_again_is_that_of_the_same_meta_of_the_same_server() {
        let mut refs = Refs::default();
        refs.take(1, &tells("u", "a", 1)).unwrap();
        refs.take(1, &json!([null, null, "t", "presence_state", tells("u", "a", 1)["joins"]])).unwrap();
        refs.take(1, &tells("u", "b", 1)).unwrap();
        for (port, other) in [(1, tells("u", "a", 2)), (1, tells("v", "a", 1)), (2, tells("u", "a", 1))] {
            let why = refs.take(port, &other).unwrap_err();
            assert!(why.starts_with("a is known as"), "{why}");
        }
        let mut both = tells("u", "c", 1);
        both["leaves"] = both["joins"].clone();
        assert_eq!(refs.take(1, &both), Err("c is there twice".to_owned()));
        for bad in ["", "a reference that is far too long"] {
            refs.take(1, &tells("u", bad, 1)).unwrap_err();
        }
        refs.take(1, &json!({ "metas": [{ "phx_ref": 1 }] })).unwrap_err();
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
