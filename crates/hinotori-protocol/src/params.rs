//! Connect params: what a query string says, by the rules of Plug.
//!
//! `a=1` is a string, `a[b]=1` a map, `a[]=1` a list, nested at will; of a repeated string the last counts. Where two
//! shapes of one name conflict, the later one wins.
//!
//! # Source
//! Plug `lib/plug/conn/query.ex`.

use serde_json::{Map, Value};

/// Maps and lists within each other; a deeper name is read as the string that it is.
const MAX_DEPTH: usize = 16;

/// The params of a connect request.
///
/// ```
/// # use hinotori_protocol::params::Params;
/// let params = Params::parse("user[id]=7&tag[]=a&tag[]=b&name=%E9%B3%A5").unwrap();
/// assert_eq!(params.get("name"), Some("鳥"));
/// assert_eq!(params.as_map()["user"]["id"], "7");
/// assert_eq!(params.as_map()["tag"], serde_json::json!(["a", "b"]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Map<String, Value>);

impl Params {
    /// Reads a query string, without its `?`. None if an escape in it is not UTF-8.
    #[must_use]
    pub fn parse(query: &str) -> Option<Self> {
        let mut params = Map::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (unescape(name)?, unescape(value)?);
            insert(&mut params, &name, value);
        }
        Some(Self(params))
    }

    /// A param that is a string.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// All params, as JSON.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Takes a param out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }
}

/// `+` is a space, `%XX` a byte; what is no escape stays as it stands.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten().and_then(|hex| {
            let hex = std::str::from_utf8(hex)
                .ok()
                .filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            u8::from_str_radix(hex, 16).ok()
        });
        rest = if escaped.is_some() { &after[2..] } else { after };
        bytes.push(escaped.unwrap_or(if first == b'+' { b' ' } else { first }));
    }
    String::from_utf8(bytes).ok()
}

/// One part of a name behind its first: `[key]` or `[]`.
fn segments(name: &str) -> Option<(&str, Vec<&str>)> {
    let (root, rest) = name.split_at(name.find('[')?);
    let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
    let keys: Vec<&str> = inner.split("][").collect();
    (!root.is_empty() && keys.len() <= MAX_DEPTH).then_some((root, keys))
}

fn insert(params: &mut Map<String, Value>, name: &str, value: String) {
    match segments(name) {
        Some((root, keys)) => put(params.entry(root).or_insert(Value::Null), &keys, value),
        None => _ = params.insert(name.to_owned(), Value::String(value)),
    }
}

/// Puts a value behind the keys, making maps and lists on the way.
fn put(slot: &mut Value, keys: &[&str], value: String) {
    match keys {
        [] => *slot = Value::String(value),
        ["", rest @ ..] => {
            let Some(list) = shaped(slot, Value::is_array, || Value::Array(vec![])).as_array_mut() else {
                return;
            };
            // `u[][n]=1&u[][n]=2` are two maps
            list.push(Value::Null);
            if let Some(last) = list.last_mut() {
                put(last, rest, value);
            }
        }
        [key, rest @ ..] => {
            let Some(map) = shaped(slot, Value::is_object, || Value::Object(Map::new())).as_object_mut()
            else {
                return;
            };
            put(map.entry(*key).or_insert(Value::Null), rest, value);
        }
    }
}

/// The slot, emptied first if it is of another shape.
fn shaped(slot: &mut Value, fits: impl Fn(&Value) -> bool, empty: impl Fn() -> Value) -> &mut Value {
    if !fits(slot) {
        *slot = empty();
    }
    slot
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(query: &str) -> Value {
        Value::Object(Params::parse(query).unwrap().0)
    }

    #[test]
    fn strings_lists_maps_and_their_nesting() {
        assert_eq!(parsed(""), json!({}));
        assert_eq!(parsed("a=1&b=&c&&a=2"), json!({ "a": "2", "b": "", "c": "" }));
        assert_eq!(parsed("a[b]=1&a[c][]=2&a[c][]=3"), json!({ "a": { "b": "1", "c": ["2", "3"] } }));
        assert_eq!(parsed("k[0]=a&a[b][c]=1"), json!({ "k": { "0": "a" }, "a": { "b": { "c": "1" } } }));
        assert_eq!(parsed("u[][n]=1&u[][n]=2"), json!({ "u": [{ "n": "1" }, { "n": "2" }] }));
    }

    #[test]
    fn escapes_are_decoded_and_what_is_none_is_kept() {
        assert_eq!(parsed("q=a%20b+c%2B%26%3D&q2=%E3%81%82"), json!({ "q": "a b c+&=", "q2": "あ" }));
        assert_eq!(parsed("q=%zz%2&%+1=x"), json!({ "q": "%zz%2", "% 1": "x" }));
        assert_eq!(parsed("a%5Bb%5D=1"), json!({ "a": { "b": "1" } }));
        assert_eq!(Params::parse("q=%ff"), None);
    }

    #[test]
    fn odd_names_are_strings_and_conflicts_end_in_the_later_shape() {
        assert_eq!(parsed("[a]=1&b[=2&c]=3"), json!({ "[a]": "1", "b[": "2", "c]": "3" }));
        assert_eq!(parsed("a=1&a[b]=2"), json!({ "a": { "b": "2" } }));
        assert_eq!(parsed("a[]=1&a=2"), json!({ "a": "2" }));
        let deep = format!("a{}=1", "[b]".repeat(5_000));
        assert_eq!(Params::parse(&deep).unwrap().0.len(), 1, "no recursion without bound");
    }
}
