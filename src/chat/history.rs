//! The newest messages of a chat, kept as the JSON that clients get.
//!
//! The history of all messages shares what is kept, whatever its length.

mod before;
mod like_log;

use std::{collections::VecDeque, ops::Range};

use hinotori::{
    Payload, PayloadError, PayloadList,
    recovery::{Cursor, Missed, Recovery},
};

use super::{
    message::{Likes, Message, event},
    message_log::{Liked, Snapshot},
};
use before::Before;
use like_log::LikeLog;

/// What is kept about one message.
#[derive(Debug)]
struct Entry {
    id: u64,
    /// The position of the content in the JSON, including its quotes.
    content: Range<usize>,
    /// The position of the number of likes.
    likes_at: usize,
    likes: Likes,
}

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// The number of messages, at least 1.
    pub(crate) messages: usize,
    /// Bytes of the messages' JSON, which is what each client that joins is sent.
    pub(crate) bytes: usize,
}

/// The newest messages, in the order of their ids.
#[derive(Debug)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    /// Their JSON.
    messages: PayloadList,
    /// The newest likes, also of messages that are no longer kept.
    likes: LikeLog,
    limit: Limit,
    /// See [`Snapshot::epoch`].
    epoch: u64,
    /// The id of the newest message, or 0.
    last_id: u64,
    /// All messages as the payload of `load_messages`, until a message changes.
    snapshot: Option<Payload>,
}

impl History {
    /// A history that begins with a snapshot of the log and keeps at most `limit`; the oldest messages are dropped first.
    pub(super) fn new(limit: Limit, snapshot: Snapshot) -> Result<Self, PayloadError> {
        let Snapshot { epoch, last_id, newest, liked, .. } = snapshot;
        let (entries, messages, likes) = (VecDeque::new(), PayloadList::new(), LikeLog::new(&liked));
        let mut history = Self { entries, messages, likes, limit, epoch, last_id, snapshot: None };
        for message in newest {
            history.push(&message)?;
        }
        Ok(history)
    }

    /// Adds the next message, which may have likes already, and returns it, as `{"message": M}`.
    pub(super) fn push(&mut self, message: &Message) -> Result<Payload, PayloadError> {
        let json = message.json();
        let event = event(&json)?;
        self.messages.push(Payload::raw_json(json)?)?;
        // nothing below can fail, and a panic above leaves the history unchanged
        self.entries.push_back(Entry {
            id: message.id(),
            content: message.content(),
            likes_at: message.head().len(),
            likes: message.likes(),
        });
        // a snapshot may lack the newest one, if it is damaged
        self.last_id = self.last_id.max(message.id());
        if message.likes().count > 0 {
            self.likes.add(message.into());
        }
        while self.entries.len() > self.limit.messages || self.messages.bytes() > self.limit.bytes {
            self.pop_front();
        }
        self.snapshot = None;
        Ok(event)
    }

    /// Drops messages up to an id.
    pub(super) fn forget(&mut self, up_to: u64) {
        while self.entries.front().is_some_and(|entry| entry.id <= up_to) {
            self.pop_front();
            self.snapshot = None;
        }
    }

    fn pop_front(&mut self) {
        self.entries.pop_front();
        self.messages.pop_front();
    }

    /// Replaces a message, if it is still kept, by the same with its new likes. Returns it, as `{"message": M}`.
    pub(super) fn replace(&mut self, message: &Message) -> Result<Payload, PayloadError> {
        let json = message.json();
        let event = event(&json)?;
        if let Some(index) = self.index(message.id().into()) {
            self.messages.replace(index, Payload::raw_json(json)?)?;
            if let Some(entry) = self.entries.get_mut(index) {
                entry.likes = message.likes();
            }
            self.snapshot = None;
        }
        self.likes.add(message.into());
        Ok(event)
    }

    /// A message, if it is still kept.
    pub(super) fn get(&self, id: i128) -> Option<Message> {
        let index = self.index(id)?;
        let Entry { id, content, likes_at, likes } = self.entries.get(index)?;
        let head = self.messages.get(index)?.get(..*likes_at)?;
        Some(Message::from_parts(*id, head.to_vec(), content.clone(), *likes))
    }

    /// The content of a message as JSON, if it is still kept.
    pub(super) fn content(&self, id: i128) -> Option<&[u8]> {
        let index = self.index(id)?;
        self.messages.get(index)?.get(self.entries.get(index)?.content.clone())
    }

    /// All messages from the oldest to the newest, as `{"messages": […]}`.
    pub(super) fn load(&mut self) -> Payload {
        self.snapshot.get_or_insert_with(|| self.messages.payload("messages")).clone()
    }

    /// What a client missed, or else all messages.
    pub(super) fn since(&mut self, cursor: Cursor) -> Result<Recovery, PayloadError> {
        let recovery = self.missed(cursor)?;
        match recovery.why_not() {
            None => Ok(recovery),
            Some(_) => recovery.or_push("load_messages", self.load()),
        }
    }

    fn missed(&self, cursor: Cursor) -> Result<Recovery, PayloadError> {
        let last = cursor.last_seen_id();
        let first = self.entries.partition_point(|entry| entry.id <= last);
        let posted = (first..self.entries.len()).filter_map(|index| self.messages.element(index));
        let recovery = Recovery::new(cursor, self.epoch, self.last_id, posted)?;
        if recovery.why_not().is_some() {
            return Ok(recovery);
        }
        // likes since the last one that the client has was posted: it may know some of them
        let rev = match last {
            0 => Some(0),
            _ => self.index(last.into()).and_then(|index| Some(self.entries.get(index)?.likes.posted_rev)),
        };
        match rev.and_then(|rev| self.likes.since(rev)) {
            Some(liked) => {
                recovery.changed("liked", liked.filter(|liked| liked.id <= last).map(Liked::payload))
            }
            None => Ok(Recovery::missed(Missed::TooOld, self.epoch, self.last_id)),
        }
    }

    /// The newest messages with a smaller id, within a limit.
    pub(super) fn before(&self, id: u64, limit: Limit) -> Before {
        let end = self.entries.partition_point(|entry| entry.id < id);
        let newest =
            (0..end).rev().filter_map(|index| Some((self.entries.get(index)?.id, self.messages.get(index)?)));
        Before::of(id, limit, newest)
    }

    /// How many messages are kept.
    pub(super) fn messages(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all messages that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.messages.bytes()
    }

    fn index(&self, id: i128) -> Option<usize> {
        let id = u64::try_from(id).ok()?;
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{super::message::Draft, *};

    fn history(messages: usize) -> History {
        limited(Limit { messages, bytes: usize::MAX })
    }

    fn limited(limit: Limit) -> History {
        History::new(limit, Snapshot { epoch: 7, last_id: 0, last_rev: 0, newest: vec![], liked: vec![] })
            .unwrap()
    }

    fn post(history: &mut History, id: u64, content: &str) -> Value {
        value(&history.push(&Draft::new(content, None, None).unwrap().message(id, 0, None)).unwrap())
    }

    fn push(history: &mut History, id: u64, rev: u64) {
        history.push(&Draft::new("x", None, None).unwrap().message(id, rev, None)).unwrap();
    }

    fn like(history: &mut History, id: i128) -> Value {
        let message = history.get(id).unwrap().liked(1);
        value(&history.replace(&message).unwrap())["message"]["likes"].clone()
    }

    fn value(payload: &Payload) -> Value {
        payload.parse().unwrap()
    }

    fn messages(history: &mut History) -> Vec<Value> {
        value(&history.load())["messages"].as_array().unwrap().clone()
    }

    #[test]
    fn a_like_changes_one_message_and_an_unknown_id_is_none() {
        let mut history = self::history(10);
        for (id, content) in [(1, "a"), (2, "b")] {
            post(&mut history, id, content);
        }
        for likes in 1..=10 {
            assert_eq!(like(&mut history, 2), likes);
        }
        assert_eq!(messages(&mut history).iter().map(|m| m["likes"].clone()).collect::<Vec<_>>(), [0, 10]);
        for id in [0, 3, -1, i128::MIN, i128::MAX] {
            assert_eq!(history.get(id), None, "{id}");
            assert_eq!(history.content(id), None, "{id}");
        }
    }

    #[test]
    fn the_oldest_go_first() {
        let mut history = self::history(3);
        for id in 1..=5 {
            post(&mut history, id, &id.to_string());
        }
        assert_eq!(messages(&mut history).iter().map(|m| m["id"].clone()).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!((history.get(2), history.content(2)), (None, None));
        assert_eq!(history.content(3), Some(&b"\"3\""[..]));
        // one that went while it was liked is told all the same, and does not come back
        let gone = Draft::new("1", None, None).unwrap().message(1, 0, None).liked(1);
        assert_eq!(value(&history.replace(&gone).unwrap())["message"]["likes"], 1);
        assert_eq!(messages(&mut history).len(), 3);
    }

    #[test]
    fn an_id_that_is_left_out_moves_no_other() {
        let mut history = self::history(3);
        for id in [1, 2, 4, 9] {
            post(&mut history, id, &id.to_string());
        }
        assert_eq!(history.get(3), None);
        for id in [2, 4, 9] {
            assert_eq!(history.get(id).unwrap().quote(), format!("\"{id}\"").as_bytes());
        }
    }

    #[test]
    fn the_oldest_go_when_the_bytes_are_too_many_and_likes_count() {
        let mut history = limited(Limit { messages: 100, bytes: 1_000 });
        for id in 1..=50 {
            post(&mut history, id, "twenty characters ...");
        }
        let kept = messages(&mut history);
        assert!((3..10).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.last().unwrap()["id"], 50);
        for _ in 0..20 {
            like(&mut history, 50);
        }
        let kept = messages(&mut history);
        assert_eq!(history.bytes(), kept.iter().map(|message| message.to_string().len()).sum::<usize>());
        post(&mut history, 51, &"x".repeat(5_000));
        assert!(messages(&mut history).is_empty(), "one that is too long for the history is not kept in it");
        assert_eq!(post(&mut history, 52, "next")["message"]["id"], 52);
    }

    /// Ids of messages, and ids with likes.
    type Missed = (Vec<u64>, Vec<(u64, u64)>);

    /// What a client with the epoch 7 is told, or why not.
    fn missed(history: &mut History, last: u64) -> Result<Missed, String> {
        let reply = value(&history.since(Cursor::new(last, Some(7))).unwrap().reply());
        if reply["recovered"] == false {
            return Err(reply["reason"].as_str().unwrap().to_owned());
        }
        let number = |value: &Value, key: &str| value[key].as_u64().unwrap();
        let all = |key: &str| reply[key].as_array().unwrap().clone();
        let posted = all("messages").iter().map(|message| number(message, "id")).collect();
        Ok((posted, all("liked").iter().map(|liked| (number(liked, "id"), number(liked, "likes"))).collect()))
    }

    #[test]
    fn who_comes_back_is_told_what_was_posted_and_liked_since_and_nothing_else() {
        let (mut history, mut rev) = (self::history(5), 0);
        let mut like = |history: &mut History, id: i128| {
            rev += 1;
            let message = history.get(id).unwrap().liked(rev);
            history.replace(&message).unwrap();
            rev
        };
        assert_eq!(missed(&mut history, 0), Ok((vec![], vec![])));
        push(&mut history, 1, 0);
        push(&mut history, 2, 0);
        like(&mut history, 1);
        push(&mut history, 3, 1);
        like(&mut history, 1);
        like(&mut history, 2);
        assert_eq!(missed(&mut history, 0), Ok((vec![1, 2, 3], vec![])));
        assert_eq!(missed(&mut history, 1), Ok((vec![2, 3], vec![(1, 2)])));
        assert_eq!(missed(&mut history, 2), Ok((vec![3], vec![(1, 2), (2, 1)])));
        assert_eq!(missed(&mut history, 3), Ok((vec![], vec![(1, 2), (2, 1)])));
        push(&mut history, 4, 3);
        assert_eq!(missed(&mut history, 4), Ok((vec![], vec![])));
        // likes of messages that have gone are told as well
        like(&mut history, 1);
        for id in 5..=8 {
            push(&mut history, id, 4);
        }
        assert_eq!(missed(&mut history, 4), Ok((vec![5, 6, 7, 8], vec![(1, 3)])));
        assert_eq!(missed(&mut history, 3), Err("too_old".to_owned()));
        assert_eq!(missed(&mut history, 0), Err("too_old".to_owned()));
        assert_eq!(missed(&mut history, 9), Err("ahead".to_owned()));
        let other = history.since(Cursor::new(8, Some(8))).unwrap();
        assert_eq!(value(&other.reply())["reason"], "epoch");
    }

    #[test]
    fn a_history_that_was_sent_stays_as_it_was() {
        let mut history = self::history(10);
        post(&mut history, 1, "a");
        let first = history.load();
        assert_eq!(first, history.load());
        like(&mut history, 1);
        assert_ne!(first, history.load());
        assert_eq!(value(&first)["messages"][0]["likes"], 0);
    }

    proptest! {
        #[test]
        fn any_content_comes_back_equal(contents in proptest::collection::vec(any::<String>(), 1..8)) {
            let mut history = self::history(5);
            for (id, content) in (1..).zip(&contents) {
                post(&mut history, id, content);
            }
            let kept = messages(&mut history);
            for (message, content) in kept.iter().rev().zip(contents.iter().rev()) {
                prop_assert_eq!(message["content"].as_str().unwrap(), content);
            }
        }
    }
}
