//! The supervised actor that owns the chat's messages.
//!
//! Adding a message and broadcasting it are one step here: all broadcasts come from this actor, in the order of the
//! ids, and each worker gets them in that order. The actor has its own thread.

use std::fmt;

use actix::{Actor, Addr, Arbiter, Context, Handler, MailboxError, Message, Supervised, Supervisor};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{
    LOBBY,
    history::{History, Limit},
};
use hinotori::{
    Endpoint, Payload, PayloadError, PubSub,
    prometheus::{self, IntGauge, Registry},
    supervise::{Crashed, Guard},
};

/// ISO 8601 in UTC with microseconds, like Elixir's `DateTime`.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// Adds a message and broadcasts it as `new_message`.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct Post {
    /// The text of the message.
    pub(crate) content: String,
    /// The id of the message that it answers.
    pub(crate) reply_to: Option<i128>,
}

/// Adds a like to a message and broadcasts it as `message_liked`. False if there is no such message.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub(crate) struct Like {
    /// The id of the message.
    pub(crate) id: i128,
}

/// Asks for all messages, as the payload of `load_messages`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Payload, StoreError>")]
pub(crate) struct Load;

/// Why the store did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// It crashed on the message, which may have been carried out in part. All its other data is unchanged.
    Crashed(Crashed),
    /// It is gone, or its queue is.
    Mailbox(MailboxError),
    /// The message cannot be encoded as JSON.
    Payload(PayloadError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message store did not answer")
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Crashed(error) => Some(error),
            Self::Mailbox(error) => Some(error),
            Self::Payload(error) => Some(error),
        }
    }
}

impl From<Crashed> for StoreError {
    fn from(error: Crashed) -> Self {
        Self::Crashed(error)
    }
}

impl From<MailboxError> for StoreError {
    fn from(error: MailboxError) -> Self {
        Self::Mailbox(error)
    }
}

impl From<PayloadError> for StoreError {
    fn from(error: PayloadError) -> Self {
        Self::Payload(error)
    }
}

/// Holds the newest messages in memory.
#[derive(Debug)]
pub(crate) struct MessageStore {
    guard: Guard,
    history: History,
    pubsub: PubSub,
    size: Size,
}

/// Metrics about what is kept.
#[derive(Debug, Clone)]
struct Size {
    messages: IntGauge,
    bytes: IntGauge,
}

impl Size {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let messages = IntGauge::new("realtime_chat_messages", "Messages in the store.")?;
        let bytes = IntGauge::new("realtime_chat_message_bytes", "Bytes of the messages in the store.")?;
        registry.register(Box::new(messages.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        Ok(Self { messages, bytes })
    }

    fn set(&self, history: &History) {
        self.messages.set(i64::try_from(history.messages()).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(history.bytes()).unwrap_or(i64::MAX));
    }
}

impl MessageStore {
    /// Starts a supervised store on its own thread. It broadcasts on the endpoint, whose metrics show how much it keeps
    /// and how often it crashed.
    ///
    /// # Errors
    /// [`prometheus::Error::AlreadyReg`] if the endpoint has a store already.
    pub(crate) fn start(limit: Limit, endpoint: &Endpoint) -> prometheus::Result<Addr<Self>> {
        let (pubsub, size) = (endpoint.pubsub().clone(), Size::register(endpoint.registry())?);
        let guard = Guard::new("MessageStore").counted(endpoint);
        let thread = Arbiter::new();
        Ok(Supervisor::start_in_arbiter(&thread.handle(), move |_| Self {
            guard,
            history: History::new(limit),
            pubsub,
            size,
        }))
    }
}

impl Actor for MessageStore {
    type Context = Context<Self>;
}

impl Supervised for MessageStore {
    fn restarting(&mut self, _: &mut Context<Self>) {
        log::warn!("event=restarted of=MessageStore messages={}", self.history.messages());
    }
}

impl Handler<Post> for MessageStore {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, Post { content, reply_to }: Post, ctx: &mut Context<Self>) -> Self::Result {
        let Self { guard, history, pubsub, size } = self;
        guard.run(ctx, || {
            let now = OffsetDateTime::now_utc().format(TIMESTAMP).unwrap_or_default();
            let message = history.post(&content, reply_to, &now)?;
            size.set(history);
            Ok(pubsub.broadcast(LOBBY, "new_message", message)?)
        })?
    }
}

impl Handler<Like> for MessageStore {
    type Result = Result<bool, StoreError>;

    fn handle(&mut self, Like { id }: Like, ctx: &mut Context<Self>) -> Self::Result {
        let Self { guard, history, pubsub, size } = self;
        guard.run(ctx, || {
            let Some(message) = history.like(id)? else { return Ok(false) };
            size.set(history);
            pubsub.broadcast(LOBBY, "message_liked", message)?;
            Ok(true)
        })?
    }
}

impl Handler<Load> for MessageStore {
    type Result = Result<Payload, StoreError>;

    fn handle(&mut self, _: Load, ctx: &mut Context<Self>) -> Self::Result {
        let history = &mut self.history;
        Ok(self.guard.run(ctx, || history.load())?)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use hinotori::prometheus::TextEncoder;
    use serde_json::Value;

    use super::*;

    const LIMIT: Limit = Limit { messages: 10, bytes: 1_000_000 };

    /// Makes a handler of the real store panic in the middle.
    #[derive(Message)]
    #[rtype(result = "Result<(), StoreError>")]
    struct Crash;

    impl Handler<Crash> for MessageStore {
        type Result = Result<(), StoreError>;

        fn handle(&mut self, _: Crash, ctx: &mut Context<Self>) -> Self::Result {
            let Self { guard, history, .. } = self;
            guard.run(ctx, || {
                history.like(1)?;
                panic!("told to")
            })?
        }
    }

    fn post(content: &str) -> Post {
        Post { content: content.to_owned(), reply_to: None }
    }

    async fn contents(store: &Addr<MessageStore>) -> Vec<String> {
        let history: Value = store.send(Load).await.unwrap().unwrap().parse().unwrap();
        let messages = history["messages"].as_array().unwrap();
        messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    }

    #[actix_web::test]
    async fn a_crash_is_an_error_to_its_caller_and_the_address_and_the_messages_stay() {
        let store = MessageStore::start(LIMIT, &Endpoint::new()).unwrap();
        store.send(post("before")).await.unwrap().unwrap();
        // queued behind the crash: it must not be lost in it
        let (crashed, posted) =
            futures_util::future::join(store.send(Crash), store.send(post("behind"))).await;
        assert!(matches!(crashed.unwrap(), Err(StoreError::Crashed(Crashed))));
        posted.unwrap().unwrap();
        store.send(post("after")).await.unwrap().unwrap();
        assert_eq!(contents(&store).await, ["before", "behind", "after"]);
        assert!(store.connected());
    }

    #[actix_web::test]
    async fn two_crashes_are_survived_and_counted() {
        let endpoint = Endpoint::new();
        let store = MessageStore::start(LIMIT, &endpoint).unwrap();
        store.send(post("kept")).await.unwrap().unwrap();
        for _ in 0..2 {
            assert!(store.send(Crash).await.unwrap().is_err());
        }
        assert_eq!(contents(&store).await, ["kept"]);
        let metrics = TextEncoder::new().encode_to_string(&endpoint.registry().gather()).unwrap();
        assert!(metrics.contains("hinotori_crashes_total{of=\"MessageStore\"} 2\n"), "{metrics}");
        assert!(MessageStore::start(LIMIT, &endpoint).is_err(), "a second store on one endpoint");
    }

    /// Not a test of its own: the child process of the next test.
    #[actix_web::test]
    #[ignore = "ends the process"]
    async fn crash_until_the_process_ends() {
        let store = MessageStore::start(LIMIT, &Endpoint::new()).unwrap();
        for _ in 0..3 {
            let _ = store.send(Crash).await;
        }
    }

    #[test]
    fn a_store_that_keeps_crashing_ends_the_process_with_a_message_and_a_code() {
        let name = "chat::message_store::tests::crash_until_the_process_ends";
        let program = std::env::current_exe().unwrap();
        let output =
            Command::new(program).args([name, "--exact", "--ignored", "--nocapture"]).output().unwrap();
        assert_eq!(output.status.code(), Some(70));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("error: MessageStore crashed 3 times within 5s, giving up"), "{said}");
    }

    #[actix_web::test]
    async fn a_timestamp_is_iso_8601_in_utc_with_six_digits() {
        let store = MessageStore::start(LIMIT, &Endpoint::new()).unwrap();
        store.send(post("x")).await.unwrap().unwrap();
        let history: Value = store.send(Load).await.unwrap().unwrap().parse().unwrap();
        let timestamp = history["messages"][0]["timestamp"].as_str().unwrap();
        let shape: String = timestamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
    }
}
