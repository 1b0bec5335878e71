//! Connect params: a query string, parsed by the rules of Plug.
//!
//! `a=1` is a string, `a[b]=1` a map, `a[]=1` a list, and they nest. If a string is repeated, the last one counts.
//! Names that are nested in a list share one element: `u[][a]=1&u[][b]=2` is a list of one map.
//!
//! # Source
//! Plug `lib/plug/conn/query.ex`, 1.20.0-dev.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Levels of nested maps and lists. A name that is nested deeper is taken literally.
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
    /// Parses a query string, without its `?`. `None` if it is not UTF-8 after unescaping.
    #[must_use]
    pub fn parse(query: &str) -> Option<Self> {
        let mut params = Level::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (unescape(name)?, unescape(value)?);
            params.insert(&keys(&name), value);
        }
        Some(Self(params.into_map()))
    }

    /// The param of this name, if it is a string.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// All params, as JSON.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Removes and returns a param.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }
}

/// `+` is a space, `%XX` a byte; an invalid escape is left unchanged.
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

/// The keys of a name: `user[tags][]` has `user`, `tags`, and `None`.
fn keys(name: &str) -> Vec<Option<&str>> {
    let nested =
        name.find('[').filter(|at| *at > 0).and_then(|at| Some((at, name[at + 1..].strip_suffix(']')?)));
    let Some((at, inner)) = nested else { return vec![Some(name)] };
    let inner = inner.split("][").map(|key| (!key.is_empty()).then_some(key));
    let keys: Vec<_> = [Some(&name[..at])].into_iter().chain(inner).collect();
    if keys.len() > 1 + MAX_DEPTH { vec![Some(name)] } else { keys }
}

/// All entries under one name: the root, or what names with the same prefix share.
///
/// Whether it is a map or a list is decided by its last entry, when everything has been read. Everything nested under
/// one key is in one level, however often the key occurs and whatever else it is.
#[derive(Debug, Default)]
struct Level {
    /// In order of arrival: a key, and a text unless the entry stands for the level that is [nested](Self::nested)
    /// under the key.
    entries: Vec<(Option<String>, Option<String>)>,
    nested: HashMap<Option<String>, Level>,
}

impl Level {
    fn insert(&mut self, keys: &[Option<&str>], value: String) {
        let Some((key, rest)) = keys.split_first() else { return };
        let key = key.map(str::to_owned);
        if rest.is_empty() {
            self.entries.push((key, Some(value)));
            return;
        }
        let nested = self.nested.entry(key).or_insert_with_key(|key| {
            self.entries.push((key.clone(), None));
            Self::default()
        });
        nested.insert(rest, value);
    }

    /// A list if the last entry has no key. Entries of the other kind are dropped.
    fn into_value(mut self) -> Value {
        if !matches!(self.entries.last(), Some((None, _))) {
            return Value::Object(self.into_map());
        }
        let entries = std::mem::take(&mut self.entries).into_iter().filter(|(key, _)| key.is_none());
        entries.map(|(key, text)| self.value(&key, text)).collect()
    }

    /// The last value of each key.
    fn into_map(mut self) -> Map<String, Value> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries.filter_map(|(key, text)| Some((key.clone()?, self.value(&key, text)))).collect()
    }

    /// The value of an entry.
    fn value(&mut self, key: &Option<String>, text: Option<String>) -> Value {
        match text {
            Some(text) => Value::String(text),
            None => self.nested.remove(key).unwrap_or_default().into_value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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
        assert_eq!(parsed("a[b]=1&a[b]=2"), json!({ "a": { "b": "2" } }));
        assert_eq!(parsed("=1&a[b]=2"), json!({ "": "1", "a": { "b": "2" } }));
    }

    #[test]
    fn all_that_is_nested_in_a_list_is_one_element() {
        assert_eq!(parsed("u[][n]=1&u[][n]=2"), json!({ "u": [{ "n": "2" }] }));
        assert_eq!(parsed("u[][a]=1&u[][b]=2"), json!({ "u": [{ "a": "1", "b": "2" }] }));
        assert_eq!(parsed("u[][]=1&u[][]=2"), json!({ "u": [["1", "2"]] }));
        assert_eq!(
            parsed("u[]=1&u[][n]=2&u[]=3&u[][m]=4"),
            json!({ "u": ["1", { "n": "2", "m": "4" }, "3"] })
        );
        assert_eq!(parsed("u[][n][]=1&u[][n][]=2"), json!({ "u": [{ "n": ["1", "2"] }] }));
        assert_eq!(
            parsed("u[a][][n]=1&u[b][][n]=2"),
            json!({ "u": { "a": [{ "n": "1" }], "b": [{ "n": "2" }] } })
        );
    }

    #[test]
    fn what_came_last_decides_between_a_string_a_map_and_a_list() {
        assert_eq!(parsed("a=1&a[b]=2"), json!({ "a": { "b": "2" } }));
        assert_eq!(parsed("a[b]=1&a=2"), json!({ "a": "2" }));
        // the map was there before the string, and is not there anew
        assert_eq!(parsed("a[b]=1&a=2&a[c]=3"), json!({ "a": "2" }));
        assert_eq!(parsed("a=1&a[]=2"), json!({ "a": ["2"] }));
        assert_eq!(parsed("a[]=1&a=2"), json!({ "a": "2" }));
        assert_eq!(parsed("a[]=1&a[b]=2"), json!({ "a": { "b": "2" } }));
        assert_eq!(parsed("a[b]=1&a[]=2"), json!({ "a": ["2"] }));
        assert_eq!(parsed("a[b]=1&a[]=2&a[c]=3"), json!({ "a": { "b": "1", "c": "3" } }));
        assert_eq!(parsed("a[][n]=1&a[b]=2&a[][n]=3"), json!({ "a": { "b": "2" } }));
    }

    #[test]
    fn escapes_are_decoded_and_what_is_none_is_kept() {
        assert_eq!(parsed("q=a%20b+c%2B%26%3D&q2=%E3%81%82"), json!({ "q": "a b c+&=", "q2": "あ" }));
        assert_eq!(parsed("q=%zz%2&%+1=x"), json!({ "q": "%zz%2", "% 1": "x" }));
        assert_eq!(parsed("a%5Bb%5D=1"), json!({ "a": { "b": "1" } }));
        assert_eq!(Params::parse("q=%ff"), None);
    }

    #[test]
    fn odd_names_are_read_as_plug_reads_them_and_too_deep_ones_as_strings() {
        assert_eq!(
            parsed("[a]=1&b[=2&c]=3&[]=4&]=5"),
            json!({ "[a]": "1", "b[": "2", "c]": "3", "[]": "4", "]": "5" })
        );
        assert_eq!(parsed("a[b]c[d]=1"), json!({ "a": { "b]c[d": "1" } }));
        assert_eq!(parsed("a[b]c=1"), json!({ "a[b]c": "1" }));
        assert_eq!(
            parsed("a[[]=1&b[]]=2&c[]][d]=3"),
            json!({ "a": { "[": "1" }, "b": { "]": "2" }, "c": { "]": { "d": "3" } } })
        );
        let deepest = format!("a{}=1", "[b]".repeat(MAX_DEPTH));
        assert_eq!(parsed(&deepest).pointer(&format!("/a{}", "/b".repeat(MAX_DEPTH))), Some(&json!("1")));
        let deep = format!("a{}=1", "[b]".repeat(5_000));
        assert_eq!(Params::parse(&deep).unwrap().0.len(), 1, "no recursion without bound");
    }

    /// Plug's own way, line by line: a list of entries for each level, which is named as it is written, the newest
    /// first.
    mod plug {
        use std::collections::HashMap;

        use serde_json::{Map, Value};

        #[derive(Clone)]
        enum Entry {
            Text(String),
            Pointer(String),
        }

        type Levels = HashMap<String, Vec<(Option<String>, Entry)>>;

        /// No name is written like this one.
        const ROOT: &str = "root";

        pub(super) fn decode(pairs: &[(String, String)]) -> Value {
            let mut levels = Levels::from([(ROOT.to_owned(), vec![])]);
            for (name, value) in pairs {
                let mut entry = Entry::Text(value.clone());
                for (level, key) in keys(name) {
                    if let Some(entries) = levels.get_mut(&level) {
                        entries.insert(0, (key, entry));
                        break;
                    }
                    levels.insert(level.clone(), vec![(key, entry)]);
                    entry = Entry::Pointer(level);
                }
            }
            map(&levels[ROOT], &levels)
        }

        /// The level and the key of each part of a name, the innermost first.
        fn keys(name: &str) -> Vec<(String, Option<String>)> {
            let root = |key: &str| (ROOT.to_owned(), Some(key.to_owned()));
            let Some(at) = name.find('[').filter(|at| *at > 0 && name.ends_with(']')) else {
                return vec![root(name)];
            };
            let mut keys = vec![root(&name[..at])];
            let (mut level, mut start) = (format!(".{}", &name[..at]), at + 1);
            while let Some(length) = name[start..].find("][") {
                keys.push((
                    level,
                    Some(name[start..start + length].to_owned()).filter(|key| !key.is_empty()),
                ));
                level = format!(".{}", &name[..start + length + 1]);
                start += length + 2;
            }
            keys.push((level, Some(name[start..name.len() - 1].to_owned()).filter(|key| !key.is_empty())));
            keys.reverse();
            keys
        }

        fn value(entry: &Entry, levels: &Levels) -> Value {
            match entry {
                Entry::Text(text) => Value::from(text.as_str()),
                Entry::Pointer(level) => match &levels[level][..] {
                    entries @ [(None, _), ..] => {
                        let listed = entries.iter().rev().filter(|(key, _)| key.is_none());
                        listed.map(|(_, entry)| value(entry, levels)).collect()
                    }
                    entries => map(entries, levels),
                },
            }
        }

        fn map(entries: &[(Option<String>, Entry)], levels: &Levels) -> Value {
            let named =
                entries.iter().rev().filter_map(|(key, entry)| Some((key.clone()?, value(entry, levels))));
            Value::Object(named.collect::<Map<String, Value>>())
        }
    }

    proptest! {
        #[test]
        fn any_names_are_nested_as_plug_nests_them(
            pairs in proptest::collection::vec(("([ab]|[ab](\\[[ab]?\\]){0,3}|[ab\\[\\]]{1,9})", "[0-9]"), 0..8),
        ) {
            let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            prop_assert_eq!(parsed(&query.join("&")), plug::decode(&pairs), "{:?}", query);
        }
    }
}
