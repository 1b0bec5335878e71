//! Older messages, of which the history may have the newest only.

use hinotori::{Payload, PayloadError};

use super::{super::message::Message, Limit};

/// The newest messages that are older than one.
#[derive(Debug)]
pub(in crate::chat) struct Before {
    /// What the history has of them, as JSON, the newest first.
    messages: Vec<Vec<u8>>,
    /// What else is asked for, if anything: messages older than this one, within what is left of the limit.
    pub(in crate::chat) rest: Option<(u64, Limit)>,
}

impl Before {
    /// Of the ids and the JSON of messages that a history has, the newest first. It ends with the first that is beyond the
    /// limit, though one message may have any length.
    pub(super) fn of<'a>(id: u64, limit: Limit, newest: impl Iterator<Item = (u64, &'a [u8])>) -> Self {
        let (mut first, mut rest, mut messages) = (id, limit, Vec::new());
        for (id, json) in newest {
            if rest.messages == 0 || (json.len() > rest.bytes && !messages.is_empty()) {
                return Self { messages, rest: None };
            }
            (first, rest.messages, rest.bytes) =
                (id, rest.messages - 1, rest.bytes.saturating_sub(json.len()));
            messages.push(json.to_vec());
        }
        let is_short = first > 1 && rest.messages > 0 && rest.bytes > 0;
        Self { messages, rest: is_short.then_some((first, rest)) }
    }

    /// `{"messages": […]}`, the oldest first; `older` are those that the history has not.
    pub(in crate::chat) fn payload(self, older: &[Message]) -> Result<Payload, PayloadError> {
        let bytes: usize = older.iter().map(|message| message.json().len()).sum();
        // a log returns one message of any length, which is one too many here
        let is_beyond = !self.messages.is_empty() && self.rest.is_some_and(|(_, rest)| bytes > rest.bytes);
        let messages =
            older.iter().filter(|_| !is_beyond).map(Message::json).chain(self.messages.into_iter().rev());
        let messages = messages.collect::<Vec<_>>().join(&b","[..]);
        Payload::raw_json([&br#"{"messages":["#[..], &messages, b"]}"].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(limit: Limit) -> (usize, Option<u64>) {
        let newest = [(9, &b"[9]"[..]), (8, b"[88888]"), (7, b"[7]")].into_iter();
        let before = Before::of(10, limit, newest);
        (before.messages.len(), before.rest.map(|(first, _)| first))
    }

    #[test]
    fn it_ends_at_the_number_or_at_the_bytes_and_else_asks_for_older_ones() {
        for (messages, bytes, expected) in [
            (1, 100, (1, None)),
            (3, 100, (3, None)),
            (4, 100, (3, Some(7))),
            (4, 9, (1, None)),
            (4, 1, (1, None)),
            (4, 13, (3, None)),
            (4, 14, (3, Some(7))),
        ] {
            assert_eq!(before(Limit { messages, bytes }), expected, "{messages} messages, {bytes} bytes");
        }
    }

    #[test]
    fn nothing_is_older_than_the_first_message() {
        let all = |id| Before::of(id, Limit { messages: 5, bytes: 100 }, std::iter::empty()).rest.is_some();
        assert_eq!([0, 1, 2].map(all), [false, false, true]);
    }
}
