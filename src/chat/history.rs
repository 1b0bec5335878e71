//! The messages of a chat, kept as the JSON that clients get.
//!
//! A message is written once, when it is posted. Its count of likes stands at its end, so that a like writes that count
//! anew and nothing else; a history is copied together, not written again.

use std::{collections::VecDeque, ops::Range};

use hinotori::{Payload, PayloadError};

/// One message: `{"id", "content", "reply_to_id", "reply_to_content", "timestamp", "likes"}`.
#[derive(Debug)]
struct Entry {
    json: Vec<u8>,
    /// Where the content stands in the JSON, with its quotes.
    content: Range<usize>,
    /// Where the count of likes begins.
    likes_at: usize,
    likes: u64,
}

/// How much of the past is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Messages, at least 1.
    pub(crate) messages: usize,
    /// Bytes of their JSON, which is what each client that joins is sent.
    pub(crate) bytes: usize,
}

/// The newest messages, with ids that count from 1.
#[derive(Debug)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    /// The id of the oldest message that is kept.
    first_id: u64,
    limit: Limit,
    /// Bytes of all entries.
    bytes: usize,
    /// All messages as the payload of `load_messages`, until one changes.
    snapshot: Option<Payload>,
}

impl History {
    /// Keeps at most so much; the oldest messages go first.
    pub(super) fn new(limit: Limit) -> Self {
        Self { entries: VecDeque::new(), first_id: 1, limit, bytes: 0, snapshot: None }
    }

    /// Adds a message and returns it, as `{"message": M}`.
    pub(super) fn post(
        &mut self,
        content: &str,
        reply_to: Option<i128>,
        timestamp: &str,
    ) -> Result<Payload, PayloadError> {
        let id = self.first_id + self.entries.len() as u64;
        let entry = self.write(id, content, reply_to, timestamp)?;
        let message = event(&entry)?;
        // nothing below can fail: what a panic above leaves behind is the history as it was
        self.bytes += entry.json.len();
        self.entries.push_back(entry);
        while self.entries.len() > self.limit.messages || self.bytes > self.limit.bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.json.len();
            self.first_id += 1;
        }
        self.snapshot = None;
        Ok(message)
    }

    /// Adds a like to a message and returns it, as `{"message": M}`; none if there is no such message.
    pub(super) fn like(&mut self, id: i128) -> Result<Option<Payload>, PayloadError> {
        let Some(entry) = self.index(id).and_then(|index| self.entries.get_mut(index)) else {
            return Ok(None);
        };
        entry.likes += 1;
        self.bytes -= entry.json.len();
        write_likes(entry);
        self.bytes += entry.json.len();
        self.snapshot = None;
        event(entry).map(Some)
    }

    /// All messages from the oldest to the newest, as `{"messages": […]}`.
    pub(super) fn load(&mut self) -> Result<Payload, PayloadError> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(snapshot.clone());
        }
        let size: usize = self.entries.iter().map(|entry| entry.json.len() + 1).sum();
        let mut json = Vec::with_capacity(size + 16);
        json.extend_from_slice(br#"{"messages":["#);
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(&entry.json);
        }
        json.extend_from_slice(b"]}");
        let snapshot = Payload::raw_json(json)?;
        self.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// How many messages are kept.
    pub(super) fn messages(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all messages that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn write(
        &self,
        id: u64,
        content: &str,
        reply_to: Option<i128>,
        timestamp: &str,
    ) -> Result<Entry, PayloadError> {
        let mut json = format!(r#"{{"id":{id},"content":"#).into_bytes();
        let start = json.len();
        serde_json::to_writer(&mut json, content).map_err(PayloadError::Encode)?;
        let content = start..json.len();
        json.extend_from_slice(br#","reply_to_id":"#);
        serde_json::to_writer(&mut json, &reply_to).map_err(PayloadError::Encode)?;
        json.extend_from_slice(br#","reply_to_content":"#);
        json.extend_from_slice(reply_to.and_then(|id| self.content(id)).unwrap_or(b"null"));
        json.extend_from_slice(format!(r#","timestamp":"{timestamp}","likes":"#).as_bytes());
        let mut entry = Entry { likes_at: json.len(), json, content, likes: 0 };
        write_likes(&mut entry);
        entry.json.shrink_to_fit();
        Ok(entry)
    }

    /// The content of a message as JSON, if it is still kept.
    fn content(&self, id: i128) -> Option<&[u8]> {
        let entry = self.entries.get(self.index(id)?)?;
        entry.json.get(entry.content.clone())
    }

    fn index(&self, id: i128) -> Option<usize> {
        usize::try_from(id.checked_sub(i128::from(self.first_id))?).ok()
    }
}

fn write_likes(entry: &mut Entry) {
    entry.json.truncate(entry.likes_at);
    entry.json.extend_from_slice(entry.likes.to_string().as_bytes());
    entry.json.push(b'}');
}

fn event(entry: &Entry) -> Result<Payload, PayloadError> {
    Payload::raw_json([br#"{"message":"#, &entry.json[..], b"}"].concat())
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
        value(&history.load().unwrap())["messages"].as_array().unwrap().clone()
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
        assert_eq!(history.bytes, history.entries.iter().map(|entry| entry.json.len()).sum::<usize>());
        history.post(&"x".repeat(5_000), None, NOW).unwrap();
        assert!(messages(&mut history).is_empty(), "one that is too long for the history is not kept in it");
        let next = value(&history.post("next", None, NOW).unwrap());
        assert_eq!(next["message"]["id"], 52);
    }

    #[test]
    fn a_snapshot_is_shared_until_something_changes() {
        let mut history = self::history(10);
        history.post("a", None, NOW).unwrap();
        let first = history.load().unwrap();
        assert_eq!(first.as_json().unwrap().as_ptr(), history.load().unwrap().as_json().unwrap().as_ptr());
        history.like(1).unwrap();
        assert_ne!(first, history.load().unwrap());
    }

    #[test]
    fn a_like_rewrites_the_end_of_one_message_whatever_the_length_of_the_history() {
        let mut history = self::history(1_000);
        for _ in 0..1_000 {
            history.post("x", None, NOW).unwrap();
        }
        let before: Vec<*const u8> = history.entries.iter().map(|entry| entry.json.as_ptr()).collect();
        history.like(500).unwrap();
        let after: Vec<*const u8> = history.entries.iter().map(|entry| entry.json.as_ptr()).collect();
        assert_eq!(before, after, "no message was written anew");
        assert!(history.snapshot.is_none(), "and no snapshot was made");
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
