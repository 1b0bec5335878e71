//! Reads an event and its payload as one value of an enum that has a variant for each event.
//!
//! serde is given an enum whose variant is the event's name and whose content is the payload. No combined text is
//! written first, and an event without a variant is distinguished from a payload that does not match its variant.

use std::{borrow::Cow, error::Error, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor},
    forward_to_deserialize_any,
};
use serde_path_to_error::Track;

use super::{InvalidPayload, Payload, payload::with_last_keys};

/// Why an event and its payload are not a value of an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventError {
    /// The enum has no variant for this event. It crashes the channel, as `cx.unhandled(event)` does. A variant with
    /// `#[serde(other)]` catches all other events instead.
    Unhandled(String),
    /// The payload does not match the event's variant. The client gets the error's text in an error reply.
    Invalid(InvalidPayload),
    /// The type is not an enum in serde's default (externally tagged) form: it must not use `tag`, `content` or
    /// `untagged`. Holds serde's message.
    NotAnEnum(String),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unhandled(event) => write!(f, "event {event:?} is not handled"),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::NotAnEnum(why) => write!(f, "events are read as an enum with a variant for each: {why}"),
        }
    }
}

impl Error for EventError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // its text is already part of this error's
            Self::Invalid(invalid) => invalid.source(),
            Self::Unhandled(_) | Self::NotAnEnum(_) => None,
        }
    }
}

impl Payload {
    /// Reads an event and this payload as an enum that has a variant for each event. A variant with fields is read from
    /// an object, a variant with a single value from whatever that value accepts, and a unit variant ignores the
    /// payload. Use it if a channel's events deserve a type; a `match` on the event works as well.
    ///
    /// ```
    /// use hinotori_protocol::wire::{EventError, IntoPayload, Payload};
    /// use serde::Deserialize;
    /// use serde_json::json;
    ///
    /// #[derive(Debug, PartialEq, Deserialize)]
    /// #[serde(rename_all = "snake_case")]
    /// enum Event {
    ///     /// `push("new_message", { body: "hi" })`
    ///     NewMessage { body: String },
    ///     /// `push("move", [1, 2])`
    ///     Move(i32, i32),
    ///     /// `push("typing")`
    ///     Typing,
    /// }
    ///
    /// let payload = json!({ "body": "hi" }).into_payload()?;
    /// assert_eq!(payload.parse_event::<Event>("new_message")?, Event::NewMessage { body: "hi".to_owned() });
    /// assert_eq!(payload.parse_event::<Event>("typing")?, Event::Typing);
    ///
    /// let invalid = Payload::empty().parse_event::<Event>("new_message").unwrap_err();
    /// assert_eq!(invalid.to_string(), "invalid payload: missing field `body`");
    /// let unhandled = payload.parse_event::<Event>("dance").unwrap_err();
    /// assert_eq!(unhandled, EventError::Unhandled("dance".to_owned()));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`EventError::Unhandled`] if the enum has no variant for the event, [`EventError::Invalid`] if the payload does
    /// not match it or is binary, [`EventError::NotAnEnum`] if `T` is anything else. If a callback passes the error on
    /// with `?`, an invalid payload gets an error reply, and the other two crash the channel.
    pub fn parse_event<T: DeserializeOwned>(&self, event: &str) -> Result<T, EventError> {
        let json = self.as_json();
        let content = json.as_deref().map_or(Content::Binary, Content::Text);
        let read =
            T::deserialize(Typed { event, content }).or_else(|why| match with_last_keys_of(&json, &why) {
                Some(value) => T::deserialize(Typed { event, content: Content::Value(value) }),
                None => Err(why),
            });
        read.map_err(|why| match why {
            Why::Unhandled => EventError::Unhandled(event.to_owned()),
            Why::Binary => EventError::Invalid(InvalidPayload::binary()),
            Why::Invalid(error) => EventError::Invalid(InvalidPayload::read(&error)),
            Why::NotAnEnum(why) => EventError::NotAnEnum(why),
        })
    }
}

/// Same as [`Payload::parse`]: if a key occurs twice, the last one counts.
fn with_last_keys_of(json: &Option<Cow<'_, [u8]>>, why: &Why) -> Option<serde_json::Value> {
    match why {
        Why::Invalid(error) => with_last_keys(json.as_ref()?, error),
        _ => None,
    }
}

/// The deserializer that serde reads an enum from.
struct Typed<'de> {
    event: &'de str,
    content: Content<'de>,
}

enum Content<'de> {
    Text(&'de [u8]),
    Value(serde_json::Value),
    Binary,
}

impl<'de> Typed<'de> {
    fn read<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Why> {
        match self.content {
            Content::Text(json) => read(&mut serde_json::Deserializer::from_slice(json), seed),
            Content::Value(value) => read(value, seed),
            Content::Binary => Err(Why::Binary),
        }
    }
}

fn read<'de, D, S>(json: D, seed: S) -> Result<S::Value, Why>
where
    D: Deserializer<'de, Error = serde_json::Error>,
    S: DeserializeSeed<'de>,
{
    let mut track = Track::new();
    let read = seed.deserialize(serde_path_to_error::Deserializer::new(json, &mut track));
    read.map_err(|error| Why::Invalid(serde_path_to_error::Error::new(track.path(), error)))
}

/// Carries an [`EventError`] through serde.
#[derive(Debug)]
enum Why {
    Unhandled,
    Binary,
    Invalid(serde_path_to_error::Error<serde_json::Error>),
    NotAnEnum(String),
}

impl de::Error for Why {
    /// serde calls this only for a type that is not an enum, or whose variants are distinguished in another way.
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::NotAnEnum(why.to_string())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Error for Why {}

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Why;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> de::EnumAccess<'de> for Typed<'de> {
    type Error = Why;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Why> {
        let name: de::value::StrDeserializer<'_, de::value::Error> = self.event.into_deserializer();
        let variant = seed.deserialize(name).map_err(|_| Why::Unhandled)?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Typed<'de> {
    type Error = Why;

    fn unit_variant(self) -> Result<(), Why> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Why> {
        self.read(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Why> {
        self.read(Tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        self.read(Struct(fields, visitor))
    }
}

/// The values of a variant, read from an array.
struct Tuple<V>(usize, V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Tuple<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        json.deserialize_tuple(self.0, self.1)
    }
}

/// The fields of a variant, read from an object.
struct Struct<V>(&'static [&'static str], V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Struct<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        json.deserialize_struct("", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::wire::IntoPayload;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Post {
        body: String,
        #[serde(default)]
        tags: Vec<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Cat,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Event {
        Typing,
        NewPost(Post),
        Say { body: String },
        Move(i32, i32),
        Pet { kind: Kind },
    }

    fn payload(value: serde_json::Value) -> Payload {
        value.into_payload().unwrap()
    }

    fn read(event: &str, value: serde_json::Value) -> Result<Event, EventError> {
        payload(value).parse_event(event)
    }

    #[test]
    fn each_kind_of_variant_is_read_from_its_payload() {
        let (body, tags) = ("hi".to_owned(), vec!["a".to_owned()]);
        let post = json!({ "body": "hi", "tags": ["a"] });
        assert_eq!(read("new_post", post), Ok(Event::NewPost(Post { body: body.clone(), tags })));
        assert_eq!(read("say", json!({ "body": "hi", "more": 1 })), Ok(Event::Say { body }));
        assert_eq!(read("move", json!([1, -2])), Ok(Event::Move(1, -2)));
        assert_eq!(read("pet", json!({ "kind": "cat" })), Ok(Event::Pet { kind: Kind::Cat }));
        for ignored in [json!({}), json!([1]), json!(null)] {
            assert_eq!(read("typing", ignored), Ok(Event::Typing));
        }
        assert_eq!(Payload::binary(vec![1]).parse_event("typing"), Ok(Event::Typing));
    }

    #[test]
    fn an_event_without_a_variant_is_told_apart_from_a_payload_that_does_not_fit() {
        for unknown in ["dance", "Typing", ""] {
            assert_eq!(read(unknown, json!({})), Err(EventError::Unhandled(unknown.to_owned())));
        }
        for (event, value, field, expected) in [
            ("new_post", json!({}), Some("body"), "missing field `body`"),
            (
                "new_post",
                json!({ "body": "", "tags": [1] }),
                Some("tags[0]"),
                "tags[0]: invalid type: integer `1`, expected a string",
            ),
            ("say", json!({ "body": 1 }), Some("body"), "body: invalid type: integer `1`, expected a string"),
            (
                "move",
                json!([1]),
                None,
                "invalid length 1, expected tuple variant Event::Move with 2 elements",
            ),
            ("pet", json!({ "kind": "dog" }), Some("kind"), "kind: unknown variant `dog`, expected `cat`"),
        ] {
            let error = read(event, value).unwrap_err();
            let EventError::Invalid(invalid) = &error else { panic!("{error:?}") };
            assert_eq!(InvalidPayload::find(&error).as_ref(), Some(invalid));
            assert_eq!(invalid.field(), field);
            assert_eq!(error.to_string(), format!("invalid payload: {expected}"));
        }
        let binary = Payload::binary(vec![1]).parse_event::<Event>("say").unwrap_err();
        assert_eq!(binary.to_string(), "invalid payload: expected JSON, got a binary payload");
        assert_eq!(InvalidPayload::find(&EventError::Unhandled(String::new())), None);
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_counts() {
        let twice = Payload::raw_json(r#"{"body":1,"body":"a","body":"b"}"#).unwrap();
        let expected = Err("invalid payload: body: invalid type: integer `1`, expected a string".to_owned());
        assert_eq!(twice.parse_event::<Event>("say").map_err(|error| error.to_string()), expected);
        let twice = Payload::raw_json(r#"{"body":"a","body":"b"}"#).unwrap();
        assert_eq!(twice.parse_event::<Event>("say"), Ok(Event::Say { body: "b".to_owned() }));
    }

    #[test]
    fn a_variant_for_all_others_takes_them() {
        #[derive(Debug, PartialEq, Deserialize)]
        enum Some {
            Known,
            #[serde(other)]
            Other,
        }
        let events = ["Known", "dance"].map(|event| Payload::empty().parse_event::<Some>(event));
        assert_eq!(events, [Ok(Some::Known), Ok(Some::Other)]);
    }

    #[test]
    fn a_type_that_is_no_enum_is_a_mistake_of_the_server_and_not_of_the_client() {
        #[derive(Debug, Deserialize)]
        #[serde(tag = "event", content = "payload")]
        enum Tagged {
            #[expect(dead_code, reason = "it is not read")]
            Say(String),
        }
        let payload = payload(json!("hi"));
        let errors = [payload.parse_event::<Post>("say").err(), payload.parse_event::<Tagged>("Say").err()];
        for error in errors.map(Option::unwrap) {
            assert!(matches!(error, EventError::NotAnEnum(_)), "{error:?}");
            assert!(error.to_string().contains("expected"), "{error}");
        }
    }
}
