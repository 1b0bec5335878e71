//! The messages of a chat, kept as the JSON that clients get.
//!
//! A message is encoded once, when it is posted. The number of likes is at its end, so a like rewrites only that
//! number. The history of all messages shares what is kept, whatever its length.

use std::{collections::VecDeque, ops::Range};

use hinotori::{Payload, PayloadError, PayloadList};

/// What is kept about one message: `{"id", "content", "reply_to_id", "reply_to_content", "timestamp", "likes"}`.
#[derive(Debug)]
struct Entry {
    /// The position of the content in the JSON, including its quotes.
    content: Range<usize>,
    /// The position of the number of likes.
    likes_at: usize,
    likes: u64,
}

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// The number of messages, at least 1.
    pub(crate) messages: usize,
    /// Bytes of the messages' JSON, which is what each client that joins is sent.
    pub(crate) bytes: usize,
}

/// The newest messages, with ids that count from 1.
#[derive(Debug)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    /// Their JSON.
    messages: PayloadList,
    /// The id of the oldest message that is kept.
    first_id: u64,
    limit: Limit,
    /// All messages as the payload of `load_messages`, until a message changes.
    snapshot: Option<Payload>,
}

impl History {
    /// A history that keeps at most `limit`; the oldest messages are dropped first.
    pub(super) fn new(limit: Limit) -> Self {
        Self { entries: VecDeque::new(), messages: PayloadList::new(), first_id: 1, limit, snapshot: None }
    }

    /// Adds a message and returns it, as `{"message": M}`.
    pub(super) fn post(
        &mut self,
        content: &str,
        reply_to: Option<i128>,
        timestamp: &str,
    ) -> Result<Payload, PayloadError> {
        let id = self.first_id + self.entries.len() as u64;
        let (json, entry) = self.write(id, content, reply_to, timestamp)?;
        let message = event(&json)?;
        self.messages.push(Payload::raw_json(json)?)?;
        // nothing below can fail, and a panic above leaves the history unchanged
        self.entries.push_back(entry);
        while self.entries.len() > self.limit.messages || self.messages.bytes() > self.limit.bytes {
            self.entries.pop_front();
            self.messages.pop_front();
            self.first_id += 1;
        }
        self.snapshot = None;
        Ok(message)
    }

    /// Adds a like to a message and returns it, as `{"message": M}`. `None` if there is no such message.
    pub(super) fn like(&mut self, id: i128) -> Result<Option<Payload>, PayloadError> {
        let Some(index) = self.index(id) else { return Ok(None) };
        let (Some(entry), Some(json)) = (self.entries.get_mut(index), self.messages.get(index)) else {
            return Ok(None);
        };
        let json = with_likes(json.get(..entry.likes_at).unwrap_or_default(), entry.likes + 1);
        let message = event(&json)?;
        self.messages.replace(index, Payload::raw_json(json)?)?;
        entry.likes += 1;
        self.snapshot = None;
        Ok(Some(message))
    }

    /// All messages from the oldest to the newest, as `{"messages": […]}`.
    pub(super) fn load(&mut self) -> Payload {
        self.snapshot.get_or_insert_with(|| self.messages.payload("messages")).clone()
    }

    /// How many messages are kept.
    pub(super) fn messages(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all messages that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.messages.bytes()
    }

    /// A message without likes, and what is kept about it.
    fn write(
        &self,
        id: u64,
        content: &str,
        reply_to: Option<i128>,
        timestamp: &str,
    ) -> Result<(Vec<u8>, Entry), PayloadError> {
        let mut json = format!(r#"{{"id":{id},"content":"#).into_bytes();
        let start = json.len();
        serde_json::to_writer(&mut json, content).map_err(PayloadError::Encode)?;
        let content = start..json.len();
        json.extend_from_slice(br#","reply_to_id":"#);
        serde_json::to_writer(&mut json, &reply_to).map_err(PayloadError::Encode)?;
        json.extend_from_slice(br#","reply_to_content":"#);
        json.extend_from_slice(reply_to.and_then(|id| self.content(id)).unwrap_or(b"null"));
        json.extend_from_slice(format!(r#","timestamp":"{timestamp}","likes":"#).as_bytes());
        let entry = Entry { content, likes_at: json.len(), likes: 0 };
        Ok((with_likes(&json, 0), entry))
    }

    /// The content of a message as JSON, if it is still kept.
    fn content(&self, id: i128) -> Option<&[u8]> {
        let index = self.index(id)?;
        self.messages.get(index)?.get(self.entries.get(index)?.content.clone())
    }

    fn index(&self, id: i128) -> Option<usize> {
        usize::try_from(id.checked_sub(i128::from(self.first_id))?).ok()
    }
}

/// A message, assembled from everything before the number of likes, and that number.
fn with_likes(before: &[u8], likes: u64) -> Vec<u8> {
    [before, likes.to_string().as_bytes(), b"}"].concat()
}

fn event(message: &[u8]) -> Result<Payload, PayloadError> {
    Payload::raw_json([br#"{"message":"#, message, b"}"].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2025-01-01T00:00:00.000000Z";

    fn history(messages: usize) -> History {
        History::new(Limit { messages, bytes: usize::MAX })
    }

    fn value(payload: &Payload) -> Value {
        payload.parse().unwrap()
    }

    fn messages(history: &mut History) -> Vec<Value> {
        value(&history.load())["messages"].as_array().unwrap().clone()
    }

    #[test]
    fn a_message_has_all_its_fields_and_ids_count_from_one() {
        let mut history = self::history(10);
        assert_eq!(
            value(&history.post("hi \"there\" <b>\u{7}", None, NOW).unwrap()),
            json!({ "message": {
                "id": 1, "content": "hi \"there\" <b>\u{7}", "likes": 0,
                "reply_to_id": null, "reply_to_content": null, "timestamp": NOW,
            } })
        );
        let reply = value(&history.post("yes", Some(1), NOW).unwrap());
        assert_eq!(reply["message"]["id"], 2);
        assert_eq!(reply["message"]["reply_to_content"], "hi \"there\" <b>\u{7}");
    }

    #[test]
    fn a_reply_to_what_is_not_there_keeps_its_id_and_quotes_nothing() {
        let mut history = self::history(10);
        for id in [0, 1, 99, -1, i128::from(u64::MAX), i128::from(i64::MIN)] {
            let message = &value(&history.post("x", Some(id), NOW).unwrap())["message"];
            assert_eq!(message["reply_to_id"].to_string(), id.to_string());
            if id != 1 {
                assert_eq!(message["reply_to_content"], Value::Null, "{id}");
            }
        }
    }

    #[test]
    fn a_like_changes_one_message_and_an_unknown_id_none() {
        let mut history = self::history(10);
        for content in ["a", "b"] {
            history.post(content, None, NOW).unwrap();
        }
        for likes in 1..=10 {
            assert_eq!(value(&history.like(2).unwrap().unwrap())["message"]["likes"], likes);
        }
        assert_eq!(messages(&mut history).iter().map(|m| m["likes"].clone()).collect::<Vec<_>>(), [0, 10]);
        for id in [0, 3, -1, i128::MIN, i128::MAX] {
            assert_eq!(history.like(id).unwrap(), None, "{id}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_ids_go_on() {
        let mut history = self::history(3);
        for n in 1..=5 {
            history.post(&n.to_string(), None, NOW).unwrap();
        }
        assert_eq!(messages(&mut history).iter().map(|m| m["id"].clone()).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(history.like(2).unwrap(), None);
        assert_eq!(value(&history.like(3).unwrap().unwrap())["message"]["content"], "3");
        let reply = value(&history.post("late", Some(1), NOW).unwrap());
        assert_eq!(reply["message"]["reply_to_content"], Value::Null);
        assert_eq!(reply["message"]["id"], 6);
    }

    #[test]
    fn the_oldest_go_when_the_bytes_are_too_many_and_likes_count() {
        let mut history = History::new(Limit { messages: 100, bytes: 1_000 });
        for _ in 0..50 {
            history.post("twenty characters ...", None, NOW).unwrap();
        }
        let kept = messages(&mut history);
        assert!((3..10).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.last().unwrap()["id"], 50);
        for _ in 0..20 {
            history.like(50).unwrap();
        }
        let kept = messages(&mut history);
        assert_eq!(history.bytes(), kept.iter().map(|message| message.to_string().len()).sum::<usize>());
        history.post(&"x".repeat(5_000), None, NOW).unwrap();
        assert!(messages(&mut history).is_empty(), "one that is too long for the history is not kept in it");
        let next = value(&history.post("next", None, NOW).unwrap());
        assert_eq!(next["message"]["id"], 52);
    }

    #[test]
    fn a_history_that_was_sent_stays_as_it_was() {
        let mut history = self::history(10);
        history.post("a", None, NOW).unwrap();
        let first = history.load();
        assert_eq!(first, history.load());
        history.like(1).unwrap();
        assert_ne!(first, history.load());
        assert_eq!(value(&first)["messages"][0]["likes"], 0);
    }

    proptest! {
        #[test]
        fn any_content_comes_back_equal(contents in proptest::collection::vec(any::<String>(), 1..8)) {
            let mut history = self::history(5);
            for (at, content) in contents.iter().enumerate() {
                history.post(content, Some(at as i128), NOW).unwrap();
            }
            let kept = messages(&mut history);
            for (message, content) in kept.iter().rev().zip(contents.iter().rev()) {
                prop_assert_eq!(message["content"].as_str().unwrap(), content);
            }
        }
    }
}
