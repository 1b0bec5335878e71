//! The payload of a message: JSON or bytes.
//!
//! JSON is kept as text, so a payload that is only forwarded is never parsed into a value.

use std::{borrow::Cow, error::Error, fmt, iter::successors, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// The payload of a message, in either direction.
///
/// Cheap to clone: the bytes are shared.
///
/// ```
/// # use hinotori_protocol::wire::{IntoPayload, Payload};
/// use serde_json::json;
///
/// #[derive(serde::Deserialize)]
/// struct Post {
///     body: String,
/// }
///
/// let payload = json!({ "body": "hi" }).into_payload()?;
/// assert_eq!(payload.parse::<Post>()?.body, "hi");
/// assert_eq!(Payload::binary(vec![1, 2]).as_binary(), Some(&[1, 2][..]));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Payload(Kind);

#[derive(Clone)]
enum Kind {
    /// Well-formed JSON text.
    Json(Bytes),
    /// The same, in the pieces of a [`PayloadList`](super::PayloadList), and its length.
    List(Arc<[Bytes]>, usize),
    Binary(Bytes),
    /// The bytes of a user broadcast, behind its event and its metadata, as they are in a frame.
    User {
        parts: Bytes,
        event: u8,
        meta: u8,
    },
}

impl Payload {
    /// `{}`, the payload of a message that needs none.
    #[must_use]
    pub fn empty() -> Self {
        Self(Kind::Json(Bytes::from_static(b"{}")))
    }

    /// Bytes, which travel in a binary frame. A client of version 1 of the protocol cannot be sent them.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Binary(bytes.into()))
    }

    /// `json`, which the caller knows to be well formed.
    pub(crate) fn from_json(json: Bytes) -> Self {
        Self(Kind::Json(json))
    }

    /// The user event and the metadata, of these sizes, and the bytes, which the caller has checked.
    pub(super) fn user(parts: Bytes, event: u8, meta: u8) -> Self {
        Self(Kind::User { parts, event, meta })
    }

    /// The parts of a user broadcast with bytes, and the sizes of the first two.
    pub(crate) fn as_user(&self) -> Option<(&Bytes, u8, u8)> {
        match &self.0 {
            Kind::User { parts, event, meta } => Some((parts, *event, *meta)),
            Kind::Json(_) | Kind::List(..) | Kind::Binary(_) => None,
        }
    }

    /// Whether these are the bytes of a [`UserBroadcast`](super::UserBroadcast). One whose payload is JSON is JSON itself.
    #[must_use]
    pub fn is_user_broadcast(&self) -> bool {
        self.as_user().is_some()
    }

    /// Pieces that are well-formed JSON together.
    pub(super) fn from_list(pieces: Arc<[Bytes]>) -> Self {
        let length = pieces.iter().map(Bytes::len).sum();
        Self(Kind::List(pieces, length))
    }

    /// JSON text that is encoded already: it is checked, but neither parsed into a value nor copied.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the text is not JSON.
    pub fn raw_json(json: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let json = json.into();
        serde_json::from_slice::<&serde_json::value::RawValue>(&json).map_err(PayloadError::Encode)?;
        Ok(Self(Kind::Json(json)))
    }

    /// The text of a JSON payload. It is copied if the payload is made of a [`PayloadList`](super::PayloadList).
    #[must_use]
    pub fn as_json(&self) -> Option<Cow<'_, [u8]>> {
        match &self.0 {
            Kind::Json(json) => Some(Cow::Borrowed(json)),
            Kind::List(pieces, _) => Some(Cow::Owned(pieces.concat())),
            Kind::Binary(_) | Kind::User { .. } => None,
        }
    }

    /// Whether the payload is JSON, and not bytes.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.as_binary().is_none()
    }

    /// The bytes of a binary payload or of a user broadcast.
    #[must_use]
    pub fn as_binary(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Json(_) | Kind::List(..) => None,
            Kind::Binary(bytes) => Some(bytes),
            Kind::User { parts, event, meta } => parts.get(usize::from(*event) + usize::from(*meta)..),
        }
    }

    /// The same bytes, shared.
    #[must_use]
    pub fn to_binary(&self) -> Option<Bytes> {
        match &self.0 {
            Kind::Json(_) | Kind::List(..) => None,
            Kind::Binary(bytes) => Some(bytes.clone()),
            Kind::User { parts, event, meta } => {
                Some(parts.slice(usize::from(*event) + usize::from(*meta)..))
            }
        }
    }

    /// Reads a JSON payload as a `T`. If a key is there twice, the last one counts, as in JavaScript.
    ///
    /// If a callback returns the error with `?`, the client gets it as an error reply and the channel continues.
    ///
    /// # Errors
    /// [`InvalidPayload`], which names the field, if the payload is binary or is not a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, InvalidPayload> {
        let json = self.as_json().ok_or_else(InvalidPayload::binary)?;
        let read = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(&json));
        let read = read.or_else(|error| match with_last_keys(&json, &error) {
            Some(value) => serde_path_to_error::deserialize(value),
            None => Err(error),
        });
        read.map_err(|error| InvalidPayload::read(&error))
    }

    /// The payload as it is sent, in its pieces.
    pub(crate) fn pieces(&self) -> &[Bytes] {
        match &self.0 {
            Kind::Json(bytes) | Kind::Binary(bytes) | Kind::User { parts: bytes, .. } => {
                std::slice::from_ref(bytes)
            }
            Kind::List(pieces, _) => pieces,
        }
    }

    /// Whether its pieces belong to a [`PayloadList`](super::PayloadList).
    pub(super) fn is_list(&self) -> bool {
        matches!(self.0, Kind::List(..))
    }

    /// The length in bytes of the JSON text or the binary payload. A user broadcast's event and metadata count too.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Json(bytes) | Kind::Binary(bytes) | Kind::User { parts: bytes, .. } => bytes.len(),
            Kind::List(_, length) => *length,
        }
    }

    /// Whether it has no bytes, which only a binary payload can.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is a JSON object, the only JSON that a push or a broadcast may carry.
    pub fn is_object(&self) -> bool {
        match &self.0 {
            Kind::Json(json) => json.trim_ascii_start().starts_with(b"{"),
            Kind::List(..) => true,
            Kind::Binary(_) | Kind::User { .. } => false,
        }
    }
}

/// Equal if the kind and the bytes are the same, in any pieces.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |payload: &Self| payload.pieces().concat();
        let sizes = |payload: &Self| payload.as_user().map(|(_, event, meta)| (event, meta));
        self.is_json() == other.is_json()
            && sizes(self) == sizes(other)
            && self.len() == other.len()
            && bytes(self) == bytes(other)
    }
}

impl Eq for Payload {}

/// The JSON with only the last of equal keys, if these caused `error`: types derived with serde refuse them, while
/// maps, values and other receivers take the last one.
pub(super) fn with_last_keys(
    json: &[u8],
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Option<serde_json::Value> {
    let is_twice = error.inner().to_string().starts_with("duplicate field");
    is_twice.then(|| serde_json::from_slice(json).ok()).flatten()
}

impl Default for Payload {
    fn default() -> Self {
        Self::empty()
    }
}

/// Shows only the length: payloads hold what users wrote, which should not be logged.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_json() { "json" } else { "binary" };
        write!(f, "Payload({kind}, {} bytes)", self.len())
    }
}

/// A client's payload that is not what the channel expects. The client is answered with its text as the `reason`.
///
/// A callback may return it directly, as the [`source`](Error::source) of its own error, or within an `anyhow::Error`,
/// with or without context. An error that keeps only its text is treated like any other error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPayload(Wrong);

impl InvalidPayload {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(Wrong { field: None, text: what.into() })
    }

    /// `path: what is wrong there`, without serde_json's line and column.
    pub(super) fn read(error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let what = error.inner().to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        let path = Some(error.path().to_string()).filter(|path| path != ".");
        let text = path.iter().map(|path| format!("{path}: ")).collect::<String>() + what;
        // serde says where it is missing
        let missing = what.strip_prefix("missing field `").and_then(|what| what.strip_suffix('`'));
        let field = match (path, missing) {
            (Some(path), Some(missing)) => Some(format!("{path}.{missing}")),
            (path, missing) => path.or(missing.map(str::to_owned)),
        };
        Self(Wrong { field, text })
    }

    /// The field that is missing or wrong: `body`, `author.age`, `tags[0]`. `None` if it is the payload as a whole, which
    /// is bytes or another kind of JSON, or if serde does not say where it is wrong, as in a `#[serde(flatten)]` or a
    /// `#[serde(tag = "…")]`. Use it to answer with a shape of your own. A key of a map is the client's to choose, and so is
    /// a field that `#[serde(deny_unknown_fields)]` refuses.
    ///
    /// ```
    /// use hinotori_protocol::wire::{IntoPayload, Payload};
    /// use serde_json::json;
    ///
    /// #[derive(Debug, serde::Deserialize)]
    /// struct Post {
    ///     body: String,
    ///     tags: Vec<String>,
    /// }
    ///
    /// let wrong = |payload: Payload| payload.parse::<Post>().unwrap_err();
    /// assert_eq!(wrong(json!({ "body": "hi", "tags": [1] }).into_payload()?).field(), Some("tags[0]"));
    /// assert_eq!(wrong(json!({}).into_payload()?).field(), Some("body"));
    /// assert_eq!(wrong(Payload::binary(vec![0])).field(), None);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// Bytes, where JSON is read.
    pub(super) fn binary() -> Self {
        Self::new("expected JSON, got a binary payload")
    }

    /// The invalid payload behind an error: the error itself, or its cause.
    ///
    /// ```
    /// use std::{error::Error, io};
    /// use hinotori_protocol::wire::{InvalidPayload, Payload};
    ///
    /// let invalid = Payload::empty().parse::<u8>().unwrap_err();
    /// let error: Box<dyn Error + Send + Sync> = io::Error::other(invalid.clone()).into();
    /// assert_eq!(InvalidPayload::find(&*error), Some(invalid));
    /// ```
    #[must_use]
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut causes = successors(Some(error), |cause| (**cause).source());
        causes.find_map(|cause| cause.downcast_ref::<Wrong>()).cloned().map(Self)
    }
}

impl fmt::Display for InvalidPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid payload: {}", self.0.text)
    }
}

impl Error for InvalidPayload {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// What is wrong with a payload. It is the source of [`InvalidPayload`], because the latter cannot be reached in an
/// `anyhow::Error` or in errors that delegate everything to another (`#[error(transparent)]`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wrong {
    /// See [`InvalidPayload::field`].
    field: Option<String>,
    /// The field as serde names it, and what is wrong there.
    text: String,
}

/// In a chain of causes it follows the text of [`InvalidPayload`], which has the rest.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sent by the client")
    }
}

impl Error for Wrong {}

/// A value that cannot be sent as a payload.
#[derive(Debug)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value does not serialize to JSON, such as a map whose keys are not strings.
    Encode(serde_json::Error),
    /// The payload of a push or a broadcast is not a JSON object or bytes, which clients expect.
    NotAnObject,
    /// An element of a [`PayloadList`](super::PayloadList), or another part of JSON, is a binary payload.
    NotJson,
    /// The channel has not been joined yet: nothing can be pushed or broadcast from `join`.
    NotJoined,
    /// A field of a [`UserBroadcast`](super::UserBroadcast) with bytes has a size of one byte.
    FieldTooLong {
        /// `event` or `meta`.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(_) => f.write_str("the payload cannot be encoded as JSON"),
            Self::NotAnObject => {
                f.write_str("expected a JSON object or bytes as the payload of a push or broadcast")
            }
            Self::NotJson => f.write_str("expected JSON as a part of JSON, got a binary payload"),
            Self::FieldTooLong { field, length } => {
                write!(f, "{field} of {length} bytes in a user broadcast with bytes: expected at most 255")
            }
            Self::NotJoined => f.write_str("nothing can be sent from join; send yourself a message instead"),
        }
    }
}

impl Error for PayloadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::NotAnObject | Self::NotJson | Self::NotJoined | Self::FieldTooLong { .. } => None,
        }
    }
}

/// Anything that can be sent: a [`Payload`], or any value that serializes to JSON.
pub trait IntoPayload {
    /// The payload, encoded.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the value does not serialize.
    fn into_payload(self) -> Result<Payload, PayloadError>;
}

impl<T: Serialize> IntoPayload for T {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        serde_json::to_vec(&self).map(|json| Payload(Kind::Json(json.into()))).map_err(PayloadError::Encode)
    }
}

impl IntoPayload for Payload {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        Ok(self)
    }
}

impl IntoPayload for &Payload {
    fn into_payload(self) -> Result<Payload, PayloadError> {
        Ok(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Post {
        #[expect(dead_code, reason = "only whether it parses is of interest")]
        author: Author,
    }

    #[derive(Debug, Deserialize)]
    struct Author {
        #[expect(dead_code, reason = "only whether it parses is of interest")]
        age: u8,
    }

    fn error_of(value: serde_json::Value) -> String {
        value.into_payload().unwrap().parse::<Post>().unwrap_err().to_string()
    }

    #[test]
    fn an_invalid_payload_names_the_field() {
        assert_eq!(
            error_of(json!({ "author": { "age": "old" } })),
            "invalid payload: author.age: invalid type: string \"old\", expected u8"
        );
        assert_eq!(error_of(json!({ "author": {} })), "invalid payload: author: missing field `age`");
        assert_eq!(error_of(json!({})), "invalid payload: missing field `author`");
        let field = |value: serde_json::Value| {
            value.into_payload().unwrap().parse::<Post>().unwrap_err().field().map(str::to_owned)
        };
        assert_eq!(field(json!({ "author": { "age": "old" } })).as_deref(), Some("author.age"));
        assert_eq!(field(json!({ "author": {} })).as_deref(), Some("author.age"));
        assert_eq!(field(json!({})).as_deref(), Some("author"));
        assert_eq!(field(json!(1)), None);

        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields, tag = "kind")]
        enum Item {
            Book { _pages: u8 },
        }
        let field = |value: serde_json::Value| {
            value.into_payload().unwrap().parse::<Item>().unwrap_err().field().map(str::to_owned)
        };
        assert_eq!(field(json!({ "kind": "Book", "_pages": "many" })), None, "serde does not say where");
        assert_eq!(field(json!({ "kind": "Book" })).as_deref(), Some("_pages"));
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let unknown = json!({ "any": 1 }).into_payload().unwrap().parse::<Nothing>().unwrap_err();
        assert_eq!(unknown.field(), Some("any"));
        let binary = Payload::binary(vec![0]).parse::<Post>().unwrap_err().to_string();
        assert_eq!(binary, "invalid payload: expected JSON, got a binary payload");
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_counts_whatever_is_read() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Named {
            user_id: String,
            #[serde(default)]
            of: Vec<Named>,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(tag = "kind")]
        enum Tagged {
            Named { user_id: String },
        }
        let parse = |json: &'static str| Payload::from_json(Bytes::from_static(json.as_bytes()));
        let twice = parse(r#"{"user_id":"ann","user_id":1,"user_id":"bob"}"#);
        let bob = || Named { user_id: "bob".into(), of: vec![] };
        assert_eq!(twice.parse::<Named>().unwrap(), bob());
        assert_eq!(twice.parse::<serde_json::Value>().unwrap(), json!({ "user_id": "bob" }));
        let nested = parse(r#"{"of":[],"user_id":"x","of":[{"user_id":"ann","user_id":"bob"}]}"#);
        assert_eq!(nested.parse::<Named>().unwrap(), Named { user_id: "x".into(), of: vec![bob()] });
        let map = parse(r#"{"a":1,"a":2}"#).parse::<HashMap<String, u8>>().unwrap();
        assert_eq!(map, HashMap::from([("a".to_owned(), 2)]));
        let tagged = parse(r#"{"kind":"Named","user_id":"ann","user_id":"bob"}"#);
        assert_eq!(tagged.parse::<Tagged>().unwrap(), Tagged::Named { user_id: "bob".into() });
        let wrong = parse(r#"{"user_id":"ann","user_id":1}"#).parse::<Named>().unwrap_err();
        let expected = "invalid payload: user_id: invalid type: integer `1`, expected a string";
        assert_eq!(wrong.to_string(), expected);
    }

    #[test]
    fn an_invalid_payload_is_found_behind_any_number_of_causes() {
        #[derive(Debug)]
        struct Outer(Box<dyn Error + Send + Sync>, bool);

        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("could not post")
            }
        }

        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                // as `#[error(transparent)]` does
                if self.1 { self.0.source() } else { Some(&*self.0) }
            }
        }

        let invalid = Payload::empty().parse::<Post>().unwrap_err();
        for outer in [
            Outer(invalid.clone().into(), false),
            Outer(invalid.clone().into(), true),
            Outer(Outer(invalid.clone().into(), true).into(), false),
        ] {
            assert_eq!(InvalidPayload::find(&outer).as_ref(), Some(&invalid));
        }
        assert_eq!(InvalidPayload::find(&Outer("something else".into(), false)), None);
        assert_eq!(InvalidPayload::find(&Outer(invalid.to_string().into(), false)), None);
    }

    #[test]
    fn a_value_that_is_not_json_is_an_error_and_not_a_panic() {
        let keys = HashMap::from([(vec![1], 2)]);
        assert!(matches!(keys.into_payload(), Err(PayloadError::Encode(_))));
        assert!(Payload::raw_json("{\"a\":").is_err());
        assert!(Payload::raw_json("{\"a\":1} 2").is_err());
    }

    #[test]
    fn debug_never_shows_the_content() {
        let payload = json!({ "secret": "x" }).into_payload().unwrap();
        assert_eq!(format!("{payload:?}"), "Payload(json, 14 bytes)");
    }

    #[test]
    fn only_objects_are_objects() {
        assert!(Payload::empty().is_object());
        assert!(Payload::from_json(Bytes::from_static(b" \n{}")).is_object());
        for json in ["[]", "1", "\"{\"", "null"] {
            assert!(!Payload::from_json(Bytes::from_static(json.as_bytes())).is_object(), "{json}");
        }
    }
}
