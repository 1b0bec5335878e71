//! Recovery: a client that was away for a moment gets exactly what it missed, in the reply to its next join.
//!
//! It works for any channel whose messages have *positions*: 1, 2, 3 and so on without a gap, in a *source* that can be
//! asked for the messages after a position, such as a table, or the [`Backlog`] in memory. The client is an unmodified
//! phoenix.js.
//!
//! # On the wire
//! The client joins with `{"last_seen_id": n, "epoch": e}`: the position of the last message that it has, and the
//! number that names the source's history, which it knows from the reply to its previous join. With its first join it
//! sends 0 and `null`. The reply has everything after `n`:
//!
//! ```json
//! {"recovered": true, "epoch": 81985529, "last_id": 7, "messages": [{"id": 6}, {"id": 7}]}
//! ```
//!
//! or says why the client must load the whole history, which is [pushed](Recovery::or_push) right after the reply:
//!
//! ```json
//! {"recovered": false, "reason": "too_old", "epoch": 81985529, "last_id": 7}
//! ```
//!
//! | `reason` | when |
//! |---|---|
//! | `epoch` | the source's history is another one, as after a restart without a store; each first join |
//! | `ahead` | the client has seen more than the source has |
//! | `too_old` | the source no longer has all of it, or it is more than [`MAX_MESSAGES`] or [`MAX_BYTES`] |
//!
//! A reply never has a part of what the client missed. A client that sends no `last_seen_id` gets the reply that the
//! channel gives without recovery.
//!
//! # In the channel
//! ```
//! use std::sync::Arc;
//! use hinotori::{Channel, Context, Join, Payload, Reply, recovery::Backlog};
//! # use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};
//! # struct UserSocket { scores: Arc<Backlog> }
//! # impl SocketHandler for UserSocket {
//! #     async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
//! #         Ok(Self { scores: info.app_data::<Arc<Backlog>>().cloned().ok_or("no scores")? })
//! #     }
//! #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Scores>("scores"); }
//! # }
//! struct Scores;
//!
//! impl Channel for Scores {
//!     type Socket = UserSocket;
//!     type Info = ();
//!
//!     async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> hinotori::Result<Join<Self>> {
//!         match cx.recover(&payload)? {
//!             Some(cursor) => Join::recovered(Self, cx.socket().scores.since(cursor, "history")),
//!             None => Join::ok(Self),
//!         }
//!     }
//!
//!     async fn handle_in(&mut self, event: &str, _payload: Payload, cx: &mut Context<Self>) -> hinotori::Result {
//!         match event {
//!             "history" => cx.push("history", cx.socket().scores.history())?,
//!             _ => return cx.unhandled(event),
//!         }
//!         Reply::none()
//!     }
//! }
//! # #[cfg(feature = "testing")]
//! # actix_web::rt::System::new().block_on(async {
//! use hinotori::{Endpoint, testing::ChannelTest};
//! use serde_json::json;
//!
//! let endpoint = Endpoint::new();
//! let scores = Arc::new(Backlog::new(endpoint.pubsub(), "scores", "score"));
//! (1..=3).try_for_each(|goals| scores.publish(|id| json!({ "id": id, "goals": goals })).map(drop))?;
//!
//! let mut client = ChannelTest::new(&endpoint).app_data(scores.clone()).connect::<UserSocket>().await?;
//! let cursor = json!({ "last_seen_id": 1, "epoch": scores.epoch() });
//! let reply = client.subscribe_and_join("scores", cursor).await?;
//! assert_eq!(reply["messages"], json!([{ "id": 2, "goals": 2 }, { "id": 3, "goals": 3 }]));
//! # Ok::<_, hinotori::BoxError>(())
//! # }).unwrap();
//! ```
//!
//! With a source of your own, ask it after [`Context::recover`](crate::Context::recover), which holds broadcasts until
//! the join is answered, and build the answer with [`Recovery::new`]. The source must have a message before it
//! [broadcasts it](crate::PubSub::broadcast_at), and broadcast in the order of positions. Then no message is lost
//! between the reply and the subscription, however long the source takes.
//!
//! # In the client
//! phoenix.js asks for the params, and runs the `receive` hooks, at each join and rejoin:
//!
//! ```js
//! let last = 0, epoch = null
//! const scores = socket.channel("scores", () => ({ last_seen_id: last, epoch }))
//! const seen = score => {
//!   if (score.id <= last) return
//!   if (score.id > last + 1) return scores.push("history", {}) // a loss is never skipped
//!   last = score.id
//!   show(score)
//! }
//! scores.on("score", seen)
//! scores.on("history", history => {
//!   replaceAll(history.messages)
//!   last = history.last_id
//!   epoch = history.epoch
//! })
//! scores.join().receive("ok", reply => reply.messages?.forEach(seen))
//! ```
//!
//! `last` and `epoch` always describe what the page shows, so the connection may be cut anywhere. For a join that is not
//! recovered they change with the history and not with the reply. A client that joins again on the same connection may
//! hear a broadcast of its old membership before the reply to its new join: that is the gap in `seen`.

mod backlog;
mod cursor;
#[cfg(test)]
mod tests;

use std::{borrow::Borrow, fmt};

pub use backlog::Backlog;
pub use cursor::Cursor;

use crate::wire::{IntoPayload, Payload, PayloadError, PayloadObject};

/// The most messages of a reply. A client that missed more loads the history.
pub const MAX_MESSAGES: usize = 1_000;

/// The most bytes of a reply's messages, as JSON.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Why a client cannot be given what it missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// The source no longer has all of it, or it is too much for a reply.
    TooOld,
    /// The client has seen another history, or none yet.
    Epoch,
    /// The client has seen more than the source has.
    Ahead,
}

/// The `reason` on the wire.
impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooOld => "too_old",
            Self::Epoch => "epoch",
            Self::Ahead => "ahead",
        })
    }
}

/// A source's answer to a client that recovers, for [`Join::recovered`](crate::Join::recovered). It can be built on any
/// thread.
#[derive(Debug, Clone)]
pub struct Recovery {
    epoch: u64,
    last_id: u64,
    /// The reply so far, and the number of messages in it.
    outcome: Result<(PayloadObject, usize), Missed>,
    /// What to push after the reply of a client that missed too much.
    push: Option<(String, Payload)>,
}

/// What follows the reply to a join, before live broadcasts.
#[derive(Debug, Default)]
pub(crate) struct Follows {
    /// The first push: its event and its payload.
    pub(crate) push: Option<(String, Payload)>,
    /// Held messages up to this position are dropped.
    pub(crate) last_id: u64,
}

impl Recovery {
    /// Answers with the messages after the [`cursor`](Cursor::last_seen_id) up to `last_id`, the position of the
    /// source's newest message (0 if it never had any). All must come from one view of the source.
    ///
    /// Each message is one JSON value, which is copied and not parsed. The messages are not iterated if the client's
    /// epoch is another one, if it is ahead, or if it missed more than [`MAX_MESSAGES`]. If they are not exactly as many
    /// as are missing, the answer is [`Missed::TooOld`]: give those that the source still has.
    ///
    /// ```
    /// use hinotori::{IntoPayload, recovery::{Cursor, Missed, Recovery}};
    /// use serde_json::json;
    ///
    /// let kept = [json!({ "id": 8 }).into_payload()?, json!({ "id": 9 }).into_payload()?];
    /// let since = |last_seen_id: u64| {
    ///     let messages = (8..).zip(&kept).filter(move |(id, _)| *id > last_seen_id).map(|(_, message)| message);
    ///     Recovery::new(Cursor::new(last_seen_id, Some(42)), 42, 9, messages)
    /// };
    /// assert_eq!(since(8)?.why_not(), None);
    /// assert_eq!(since(6)?.why_not(), Some(Missed::TooOld));
    /// assert_eq!(since(10)?.why_not(), Some(Missed::Ahead));
    /// # Ok::<_, hinotori::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// [`PayloadError::NotJson`] if a message is a binary payload.
    pub fn new<P: Borrow<Payload>>(
        cursor: Cursor,
        epoch: u64,
        last_id: u64,
        messages: impl IntoIterator<Item = P>,
    ) -> Result<Self, PayloadError> {
        let missing = match cursor.missing(epoch, last_id) {
            Ok(missing) => missing,
            Err(why) => return Ok(Self::missed(why, epoch, last_id)),
        };
        let mut reply = PayloadObject::new();
        reply.field("recovered", true)?;
        reply.field("epoch", epoch)?;
        reply.field("last_id", last_id)?;
        match append(&mut reply, "messages", messages, missing, MAX_BYTES)? {
            Some(found) if found == missing => {
                Ok(Self { epoch, last_id, outcome: Ok((reply, found)), push: None })
            }
            _ => Ok(Self::missed(Missed::TooOld, epoch, last_id)),
        }
    }

    /// Answers that the client cannot be given what it missed.
    #[must_use]
    pub fn missed(why: Missed, epoch: u64, last_id: u64) -> Self {
        Self { epoch, last_id, outcome: Err(why), push: None }
    }

    /// Adds messages up to the cursor's that have changed since, such as liked or edited ones, as the array `key` of the
    /// reply. They count toward its limits. It does nothing if the client missed too much.
    ///
    /// What the reply has is newer than all that the client got before it. So where messages change, a client that has a
    /// message of the reply's `messages` already, from its old membership on the same connection, replaces it.
    ///
    /// # Errors
    /// Same as [`Recovery::new`].
    pub fn changed<P: Borrow<Payload>>(
        mut self,
        key: &str,
        messages: impl IntoIterator<Item = P>,
    ) -> Result<Self, PayloadError> {
        let Ok((reply, count)) = &mut self.outcome else { return Ok(self) };
        let room = MAX_BYTES.saturating_sub(reply.bytes());
        match append(reply, key, messages, MAX_MESSAGES - *count, room)? {
            Some(found) => *count += found,
            None => self.outcome = Err(Missed::TooOld),
        }
        Ok(self)
    }

    /// Sets the event to push right after the reply if the client missed too much: the source's history up to `last_id`
    /// or newer. No broadcast comes in between, so the client's next message is the one after that history.
    ///
    /// # Errors
    /// [`PayloadError`] if the payload is neither bytes nor a JSON object.
    pub fn or_push(self, event: &str, history: impl IntoPayload) -> Result<Self, PayloadError> {
        let history = history.into_payload()?;
        if history.is_json() && !history.is_object() {
            return Err(PayloadError::NotAnObject);
        }
        let push = self.outcome.is_err().then(|| (event.to_owned(), history));
        Ok(Self { push, ..self })
    }

    /// Why the client must load the history; `None` if it gets what it missed.
    #[must_use]
    pub fn why_not(&self) -> Option<Missed> {
        self.outcome.as_ref().err().copied()
    }

    /// The position up to which the client is brought.
    #[must_use]
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// The payload of the reply, to test a source with.
    #[must_use]
    pub fn reply(&self) -> Payload {
        self.clone().into_reply().0
    }

    /// The reply's payload and what follows it.
    pub(crate) fn into_reply(self) -> (Payload, Follows) {
        let Self { epoch, last_id, outcome, push } = self;
        let reply = match outcome {
            Ok((reply, _)) => reply.into_payload(),
            Err(why) => unrecovered(why, epoch, last_id),
        };
        (reply, Follows { push, last_id })
    }
}

fn unrecovered(why: Missed, epoch: u64, last_id: u64) -> Payload {
    // a string and integers always serialize
    Payload::raw_json(format!(
        r#"{{"recovered":false,"reason":"{why}","epoch":{epoch},"last_id":{last_id}}}"#
    ))
    .unwrap_or_default()
}

/// Adds an array, and returns the number of its elements. `None` if these are more than `most` or longer than `bytes`;
/// at most that much has been copied then.
fn append<P: Borrow<Payload>>(
    reply: &mut PayloadObject,
    key: &str,
    messages: impl IntoIterator<Item = P>,
    most: usize,
    bytes: usize,
) -> Result<Option<usize>, PayloadError> {
    let (mut count, mut length) = (0, 0);
    let fits = |message: &P| {
        count += 1;
        length += message.borrow().len();
        count <= most && length <= bytes
    };
    reply.list(key, messages.into_iter().take_while(fits))?;
    Ok((count <= most && length <= bytes).then_some(count))
}
