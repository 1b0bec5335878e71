//! One message of the chat, as the JSON that clients get: `{"id", "content", "reply_to_id", "reply_to_content",
//! "timestamp", "likes"}`.
//!
//! A message is written once, when it is posted. Its count of likes stands at its end, so that a like writes that count
//! anew and nothing else.

use std::{collections::HashMap, ops::Range};

use hinotori::{BoxError, Payload, PayloadError};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description,
};

/// ISO 8601 in UTC with microseconds, as Elixir's `DateTime` is written.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// What stands before the count of likes.
const LIKES: &[u8] = br#","likes":"#;

/// The greatest id, and the most likes, that are imported: what JavaScript can count to.
const MOST: u64 = (1 << 53) - 1;

/// A message that has no id yet.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The content as JSON.
    content: Vec<u8>,
    /// The id of the message that it answers.
    reply_to: Option<i128>,
    /// The name that its client gave it, so that it can be posted again without being there twice.
    nonce: Option<String>,
    /// When it was posted, in UTC.
    posted_at: OffsetDateTime,
}

impl Draft {
    /// A message that is posted now.
    pub(super) fn new(
        content: &str,
        reply_to: Option<i128>,
        nonce: Option<String>,
    ) -> Result<Self, PayloadError> {
        let content = serde_json::to_vec(content).map_err(PayloadError::Encode)?;
        Ok(Self { content, reply_to, nonce, posted_at: OffsetDateTime::now_utc() })
    }

    /// Bytes of its content as JSON, and of its nonce.
    pub(super) fn bytes(&self) -> usize {
        self.content.len() + self.nonce.as_ref().map_or(0, String::len)
    }

    /// The name that its client gave it.
    pub(super) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// The id of the message that it answers.
    pub(super) fn reply_to(&self) -> Option<i128> {
        self.reply_to
    }

    /// When it was posted, in microseconds since the epoch.
    pub(super) fn posted_at(&self) -> i64 {
        i64::try_from(self.posted_at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
    }

    /// The message with its id, without likes; `quote` is the content, as JSON, of the message that it answers, and `rev` the
    /// topic's revision.
    pub(super) fn message(&self, id: u64, rev: u64, quote: Option<&[u8]>) -> Message {
        let mut head = start(id);
        let at = head.len();
        head.extend_from_slice(&self.content);
        let content = at..head.len();
        let reply_to = self.reply_to.map_or_else(|| "null".to_owned(), |id| id.to_string());
        let timestamp = self.posted_at.format(TIMESTAMP).unwrap_or_default();
        head.extend_from_slice(format!(r#","reply_to_id":{reply_to},"reply_to_content":"#).as_bytes());
        head.extend_from_slice(quote.unwrap_or(b"null"));
        head.extend_from_slice(format!(r#","timestamp":"{timestamp}""#).as_bytes());
        head.extend_from_slice(LIKES);
        Message { id, head, content, likes: Likes { count: 0, rev, posted_rev: rev } }
    }
}

/// How often a message was liked, and when it was last.
///
/// "When" is a revision of the topic: each like of any message makes the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Likes {
    /// The number of likes.
    pub(crate) count: u64,
    /// The topic's revision since the last like.
    pub(crate) rev: u64,
    /// The topic's revision when the message was posted.
    pub(crate) posted_rev: u64,
}

/// A message that was posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    id: u64,
    /// Its JSON up to the count of likes.
    head: Vec<u8>,
    /// Where the content stands in it, with its quotes.
    content: Range<usize>,
    likes: Likes,
}

impl Message {
    /// Of the parts that [`Message::head`], [`Message::content`] and [`Message::likes`] give.
    pub(super) fn from_parts(id: u64, head: Vec<u8>, content: Range<usize>, likes: Likes) -> Self {
        Self { id, head, content, likes }
    }

    /// Of what [`Message::body`] gave; none if `body` is no such thing.
    pub(super) fn from_body(id: u64, body: &str, likes: Likes) -> Option<Self> {
        let fields: HashMap<&str, &RawValue> = serde_json::from_str(body).ok()?;
        let at = start(id).len();
        let content = at..at + fields.get("content")?.get().len();
        let head = [body.strip_suffix('}')?.as_bytes(), LIKES].concat();
        let is_ours = head.starts_with(&start(id))
            && head.get(content.clone()) == Some(fields.get("content")?.get().as_bytes());
        is_ours.then_some(Self { id, head, content, likes })
    }

    /// Its JSON without the likes.
    pub(super) fn body(&self) -> String {
        let body = [self.head.strip_suffix(LIKES).unwrap_or(&self.head), b"}"].concat();
        String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Its JSON up to the count of likes.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Where the content stands in its JSON, with its quotes.
    pub(super) fn content(&self) -> Range<usize> {
        self.content.clone()
    }

    /// The content, as JSON.
    pub(super) fn quote(&self) -> &[u8] {
        self.head.get(self.content.clone()).unwrap_or_default()
    }

    pub(super) fn likes(&self) -> Likes {
        self.likes
    }

    /// The same with one like more, which makes the revision `rev`.
    pub(super) fn liked(self, rev: u64) -> Self {
        let likes = Likes { count: self.likes.count + 1, rev, ..self.likes };
        Self { likes, ..self }
    }

    /// Its JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        [&self.head, self.likes.count.to_string().as_bytes(), b"}"].concat()
    }
}

/// A message as it was exported.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(super) message: Message,
    /// When it was posted, in microseconds since the epoch.
    pub(super) posted_at: i64,
}

impl Imported {
    /// Of the JSON of a message.
    pub(super) fn parse(json: &str) -> Result<Self, BoxError> {
        #[derive(Deserialize)]
        struct Fields {
            id: u64,
            content: String,
            reply_to_id: Option<i128>,
            reply_to_content: Option<String>,
            timestamp: String,
            likes: u64,
        }
        let Fields { id, content, reply_to_id, reply_to_content, timestamp, likes } =
            serde_json::from_str(json)?;
        if [id, likes].into_iter().any(|number| number > MOST) {
            return Err(format!("the id and the likes must be at most {MOST}").into());
        }
        let posted_at = PrimitiveDateTime::parse(&timestamp, TIMESTAMP)?.assume_utc();
        let draft = Draft { posted_at, ..Draft::new(&content, reply_to_id, None)? };
        let quote = reply_to_content.map(|quote| serde_json::to_vec(&quote)).transpose()?;
        let message = draft.message(id, 0, quote.as_deref());
        let likes = Likes { count: likes, ..message.likes() };
        Ok(Self { message: Message { likes, ..message }, posted_at: draft.posted_at() })
    }

    pub(super) fn id(&self) -> u64 {
        self.message.id
    }

    /// Numbers its likes as those of a topic whose revision was `rev`, and returns its revision then.
    pub(super) fn number(&mut self, rev: u64) -> u64 {
        self.message.likes.rev = rev + u64::from(self.message.likes.count > 0);
        self.message.likes.rev
    }
}

/// The payload of `new_message` and `message_liked`: `{"message": M}`.
pub(super) fn event(json: &[u8]) -> Result<Payload, PayloadError> {
    Payload::raw_json([br#"{"message":"#, json, b"}"].concat())
}

/// The beginning of a message's JSON, up to its content.
fn start(id: u64) -> Vec<u8> {
    format!(r#"{{"id":{id},"content":"#).into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_message_has_all_its_fields() {
        let draft = Draft::new("hi \"there\" <b>\u{7}", None, None).unwrap();
        let mut message: Value = serde_json::from_slice(&draft.message(1, 0, None).json()).unwrap();
        let timestamp = message["timestamp"].take();
        let shape = timestamp.as_str().unwrap().chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
        assert_eq!(shape.collect::<String>(), "0000-00-00T00:00:00.000000Z");
        let rest = json!({
            "id": 1, "content": "hi \"there\" <b>\u{7}", "likes": 0,
            "reply_to_id": null, "reply_to_content": null, "timestamp": null,
        });
        assert_eq!(message, rest);
    }

    #[test]
    fn what_is_no_message_is_not_imported() {
        let good = json!({
            "id": 1, "content": "x", "reply_to_id": null, "reply_to_content": null,
            "timestamp": "2026-01-02T03:04:05.000006Z", "likes": 2,
        });
        let imported = Imported::parse(&good.to_string()).unwrap();
        assert_eq!((imported.id(), imported.posted_at % 1_000_000), (1, 6));
        for (field, value) in [
            ("id", json!(-1)),
            ("content", json!(7)),
            ("timestamp", json!("yesterday")),
            ("likes", json!("2")),
            ("likes", json!(1_u64 << 53)),
            ("id", json!(u64::MAX)),
            ("reply_to_id", json!("1")),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(Imported::parse(&bad.to_string()).is_err(), "{bad}");
        }
        assert!(Imported::parse("").is_err());
    }

    #[test]
    fn what_is_no_body_of_that_message_is_none() {
        let body = Draft::new("x", None, None).unwrap().message(7, 0, None).body();
        let likes = Likes { count: 0, rev: 0, posted_rev: 0 };
        assert!(Message::from_body(7, &body, likes).is_some());
        for (id, body) in [(8, body.as_str()), (7, ""), (7, "{}"), (7, r#"{"content":"x"}"#), (7, "[1]")] {
            assert_eq!(Message::from_body(id, body, likes), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn a_body_gives_the_same_message_back(content: String, quote: Option<String>, id: u64, count: u64) {
            let quote = quote.map(|quote| serde_json::to_vec(&quote).unwrap());
            let draft = Draft::new(&content, quote.as_ref().map(|_| 3), None).unwrap();
            let message = draft.message(id, 5, quote.as_deref());
            let likes = Likes { count, ..message.likes() };
            let message = Message { likes, ..message };
            prop_assert_eq!(Message::from_body(id, &message.body(), likes), Some(message.clone()));
            prop_assert_eq!(serde_json::from_slice::<String>(message.quote()).unwrap(), content);
        }
    }
}
