//! Reads the text of a message with serde_json. `json.rs` must give the same result; only tests and the fuzzer use
//! this.
//!
//! Each level is parsed again by serde_json, recursively: slow, but obviously correct.

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{from_str, value::RawValue};

use super::{MAX_DEPTH, MAX_NAME, Message, Payload, Ref, Serializer};

/// The message in a text, if it is one and may be forwarded.
pub fn decode(serializer: Serializer, text: &[u8]) -> Option<Message> {
    let text = std::str::from_utf8(text).ok()?;
    let raw: &RawValue = from_str(text).ok()?;
    if !is_fit(raw.get(), 1) {
        return None;
    }
    let [join_ref, reference, topic, event, payload] = match serializer {
        Serializer::V1 => v1(raw.get())?,
        Serializer::V2 | Serializer::V2User => *from_str::<Vec<&RawValue>>(raw.get()).ok()?.first_chunk()?,
    };
    Some(Message {
        join_ref: reference_of(join_ref.get())?,
        reference: reference_of(reference.get())?,
        topic: name(topic.get())?.into(),
        event: name(event.get())?.into(),
        payload: Payload::from_json(Bytes::copy_from_slice(payload.get().as_bytes())),
        weight: text.len(),
    })
}

fn v1(json: &str) -> Option<[&RawValue; 5]> {
    let Entries(entries) = from_str(json).ok()?;
    let all = |name: &str| -> Vec<&RawValue> {
        entries.iter().filter(|(key, _)| key == name).map(|(_, value)| *value).collect()
    };
    let one = |name| <[&RawValue; 1]>::try_from(all(name)).ok().map(|[value]| value);
    let join_ref = if all("join_ref").is_empty() { Some(RawValue::NULL) } else { one("join_ref") };
    Some([join_ref?, one("ref")?, one("topic")?, one("event")?, one("payload")?])
}

fn reference_of(json: &str) -> Option<Ref> {
    match json.as_bytes().first()? {
        b'"' => Some(Ref::Text(name(json)?.into())),
        b'n' => Some(Ref::Null),
        b'-' | b'0'..=b'9' if json.len() <= MAX_NAME => Some(Ref::Number(json.into())),
        _ => None,
    }
}

fn name(json: &str) -> Option<String> {
    from_str(json).ok().filter(|name: &String| name.len() <= MAX_NAME)
}

/// Whether well-formed JSON at this depth may be forwarded.
fn is_fit(json: &str, depth: usize) -> bool {
    let is_part_fit = |part: &&RawValue| is_fit(part.get(), depth + 1);
    match json.as_bytes().first() {
        Some(b'[') => {
            depth <= MAX_DEPTH
                && from_str::<Vec<&RawValue>>(json).is_ok_and(|parts| parts.iter().all(is_part_fit))
        }
        Some(b'{') => {
            depth <= MAX_DEPTH
                && from_str::<Entries<'_>>(json)
                    .is_ok_and(|Entries(entries)| entries.iter().all(|(_, part)| is_part_fit(part)))
        }
        // serde_json accepts half a character as long as it does not build the string
        Some(b'"') => from_str::<String>(json).is_ok(),
        // serde_json rounds the last digits differently, which matters at the limit
        Some(b'-' | b'0'..=b'9') if json.contains(['.', 'e', 'E']) => json.parse().is_ok_and(f64::is_finite),
        _ => true,
    }
}

/// All keys and values of an object, repeated ones included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = vec![];
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::*,
        sample::{Index, select},
    };

    use bytestring::ByteString;

    use super::*;
    use crate::wire::DecodeError;

    /// Tokens of JSON, and what is nearly one.
    const TOKENS: &str = r#"
        [ ] { } , : {} [] {] [} null true false nul truex " \ "" "7" "phoenix" "heartbeat" "topic" "t\u006fpic"
        "event" "payload" "ref" "join_ref" "more_than_eight_bytes" "café" "👋" "\n\"\\\/" "\x" "\u00e9" "\u+123"
        "\u00" "\ud83d\udc4b" "\uD83D" "\udc4b" "\ud83dx\udc4b" "\ud83d\u0041" "\ud800\udfff" "\ud800\ue000"
        "\udbff\udc00" "\ud7ff" "\\ud83d" 0 -0 7 - +1 01 1. .5 1.50 1e5 1E+05 1e 1e- -1.0e-7 --1 0x1 NaN
        12345678901234567890123 1e308 1e309 -1E+400 1.5e-999 0e999 1.7976931348623157e308 1.7976931348623159e308
    "#;

    /// Tokens with space and what else would not show.
    const UNSEEN: &[&str] = &[
        " ",
        "\t",
        "\r\n",
        "\0",
        "\u{b}",
        "\u{a0}",
        "\u{feff}",
        "\"\n\"",
        "\"1234567\u{1f}\"",
        "\"12345678\0\"",
        "\"\u{7f}\u{2028}\"",
    ];

    fn token() -> impl Strategy<Value = String> {
        prop_oneof![
            15 => select(TOKENS.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned),
            3 => select(UNSEEN).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
            1 => (MAX_NAME..MAX_NAME + 2).prop_map(|length| format!("\"{}\"", "n".repeat(length))),
            1 => (MAX_NAME..MAX_NAME + 2).prop_map(|length| "9".repeat(length)),
            1 => (307_usize..311, select(&["", ".5", "e0", "e1", ".0e-1"][..])).prop_map(|(length, end)| "9".repeat(length) + end),
            1 => (125_usize..130).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
            1 => (125_usize..130).prop_map(|depth| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth)),
        ]
    }

    /// The parts of an array or an object, as tokens: its commas and brackets put between and around them.
    fn bracketed(open: &str, parts: &[Vec<String>], close: &str) -> Vec<String> {
        [vec![open.to_owned()], parts.join(&",".to_owned()), vec![close.to_owned()]].concat()
    }

    /// The tokens of JSON that is mostly well formed.
    fn value() -> impl Strategy<Value = Vec<String>> {
        let text = "\"(\\PC{0,12}|[a-z]{0,20}|\\\\u[0-9a-f]{4})\"";
        let leaf = prop_oneof![
            text.prop_map(|text| vec![text]),
            "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?".prop_map(|number| vec![number]),
            token().prop_map(|token| vec![token]),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let entry =
                (text, inner.clone()).prop_map(|(key, value)| [vec![key, ":".into()], value].concat());
            prop_oneof![
                vec(inner, 0..4).prop_map(|parts| bracketed("[", &parts, "]")),
                vec(entry, 0..4).prop_map(|parts| bracketed("{", &parts, "}")),
            ]
        })
    }

    fn reference() -> impl Strategy<Value = Vec<String>> {
        prop_oneof![3 => "\"[0-9]{1,3}\"", 2 => "null", 1 => "[0-9]{1,2}", 1 => token()]
            .prop_map(|json| vec![json])
    }

    fn name() -> impl Strategy<Value = Vec<String>> {
        prop_oneof![3 => "\"[a-z_:]{1,12}\"", 1 => token()].prop_map(|json| vec![json])
    }

    fn payload() -> impl Strategy<Value = Vec<String>> {
        prop_oneof![1 => Just(vec!["{}".into()]), 3 => value()]
    }

    fn v1() -> impl Strategy<Value = Vec<String>> {
        let keyed = |key: &'static str, value: BoxedStrategy<Vec<String>>| {
            value.prop_map(move |value| [vec![key.into(), ":".into()], value].concat()).boxed()
        };
        let entry = |key, value: BoxedStrategy<Vec<String>>| keyed(key, value).prop_map(|entry| vec![entry]);
        let required = (
            entry("\"topic\"", name().boxed()),
            entry("\"event\"", name().boxed()),
            entry("\"payload\"", payload().boxed()),
            entry("\"ref\"", reference().boxed()),
        );
        let more = prop_oneof![
            2 => keyed("\"join_ref\"", reference().boxed()),
            2 => keyed("\"x\"", value().boxed()),
            1 => keyed("\"t\\u006fpic\"", name().boxed()),
            1 => keyed("\"ref\"", reference().boxed()),
        ];
        (required, vec(more, 0..3))
            .prop_map(|((a, b, c, d), more)| [a, b, c, d, more].concat())
            .prop_shuffle()
            .prop_map(|entries| bracketed("{", &entries, "}"))
    }

    fn v2() -> impl Strategy<Value = Vec<String>> {
        let parts = (reference(), reference(), name(), name(), payload(), vec(value(), 0..3))
            .prop_map(|(a, b, c, d, e, more)| [vec![a, b, c, d, e], more].concat());
        let heartbeat = prop_oneof!["\"[0-9]{0,22}\"", "\"\\PC{0,4}\"", token()].prop_map(|reference| {
            [vec!["[null,".into(), reference], vec![",\"phoenix\",\"heartbeat\",{}]".into()]].concat()
        });
        prop_oneof![4 => parts.prop_map(|parts| bracketed("[", &parts, "]")), 1 => heartbeat]
    }

    /// The tokens of a message as clients write them, mostly.
    fn message() -> impl Strategy<Value = (Serializer, Vec<String>)> {
        prop_oneof![(Just(Serializer::V1), v1()), (Just(Serializer::V2), v2())]
    }

    fn compare(serializer: Serializer, text: impl Into<Bytes>) -> Result<(), TestCaseError> {
        let text = text.into();
        let found = match ByteString::try_from(text.clone()) {
            Ok(text) => serializer.decode_text(&text),
            Err(_) => Err(DecodeError::Utf8("message")),
        };
        let expected = decode(serializer, &text);
        prop_assert_eq!(found.as_ref().ok(), expected.as_ref(), "{:?}: {:?}", text, found);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_message_is_what_serde_json_reads_in_it((serializer, tokens) in message()) {
            compare(serializer, tokens.concat())?;
        }

        #[test]
        fn a_message_with_other_tokens_is_what_serde_json_reads_in_it(
            (serializer, mut tokens) in message(),
            edits in vec((any::<Index>(), proptest::option::of(token()), 0_usize..2), 1..3),
        ) {
            for (place, inserted, removed) in edits {
                let at = place.index(tokens.len() + 1);
                let end = tokens.len().min(at + removed);
                tokens.splice(at..end, inserted);
            }
            compare(serializer, tokens.concat())?;
        }

        #[test]
        fn a_message_with_one_other_byte_is_what_serde_json_reads_in_it(
            (serializer, tokens) in message(),
            place in any::<Index>(),
            byte in prop_oneof![any::<u8>(), select(&b"[]{},:\"\\u0123456789eE+-. \t\n\0\x1f\x7f"[..])],
        ) {
            let mut text = tokens.concat().into_bytes();
            let at = place.index(text.len());
            text[at] = byte;
            compare(serializer, text)?;
        }

        #[test]
        fn tokens_in_any_order_are_what_serde_json_reads_in_them(
            tokens in vec(token(), 0..16),
            (open, close) in select(&[("[", "]"), ("{", "}"), ("", ""), ("[1,\"2\",\"t\",\"e\",", "]")][..]),
        ) {
            for serializer in [Serializer::V1, Serializer::V2] {
                compare(serializer, format!("{open}{}{close}", tokens.concat()))?;
            }
        }
    }
}
