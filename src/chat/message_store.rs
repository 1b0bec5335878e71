//! The supervised actor that owns the chat's messages.
//!
//! It submits posts and likes to a [`MessageLog`], which decides their order. Applying what the log has committed and
//! broadcasting it are one step here: all broadcasts come from this actor, in the order of the ids, and each worker gets
//! them in that order. The actor has its own thread.

use std::{fmt, num::NonZeroU64, sync::Arc};

use actix::{Actor, Addr, Arbiter, Context, Handler, Message, ResponseFuture, Supervised, Supervisor};
use futures_util::future::{self, FutureExt};
use tokio::sync::{mpsc, oneshot};

use super::{
    LOBBY, Pending, StoreError,
    history::{History, Limit},
    message::Draft,
    message_log::{Claim, Command, Committed, Done, MessageLog, Report, Settled},
};
use hinotori::{
    Endpoint, Payload, PayloadError, PubSub,
    prometheus::{self, IntGauge, Registry},
    recovery::{Cursor, Recovery},
    supervise::Guard,
};

/// Adds a message and broadcasts it as `new_message`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Pending, StoreError>")]
pub(crate) struct Post {
    /// The text of the message.
    pub(crate) content: String,
    /// The id of the message that it answers.
    pub(crate) reply_to: Option<i128>,
    /// The name that its client gave it: a second message with it is not added.
    pub(crate) nonce: Option<String>,
}

/// Adds a like to a message and broadcasts it as `message_liked`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Pending, StoreError>")]
pub(crate) struct Like {
    /// The id of the message.
    pub(crate) id: i128,
}

/// Asks for all messages, as the payload of `load_messages`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Payload, StoreError>")]
pub(crate) struct Load;

/// Asks for what a client missed, or else for all messages.
#[derive(Debug, Message)]
#[rtype(result = "Result<Recovery, StoreError>")]
pub(crate) struct Recover(pub(crate) Cursor);

/// Asks for the newest messages that are older than one, as `{"messages": […]}`, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<Payload, StoreError>")]
pub(crate) struct LoadBefore {
    /// The id of the message.
    pub(crate) id: u64,
    /// How many, and how many bytes; one of any length.
    pub(crate) limit: Limit,
}

/// Writes what waits and closes the log: the server shuts down.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

impl Message for Report {
    type Result = ();
}

/// Holds the newest messages in memory.
pub(crate) struct MessageStore {
    guard: Guard,
    log: Box<dyn MessageLog>,
    history: History,
    pubsub: PubSub,
    size: Size,
}

impl fmt::Debug for MessageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStore").field("log", &self.log).finish_non_exhaustive()
    }
}

/// Metrics about what is kept.
#[derive(Debug, Clone)]
struct Size {
    messages: IntGauge,
    bytes: IntGauge,
}

impl Size {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let messages = IntGauge::new("realtime_chat_messages", "Messages in memory.")?;
        let bytes = IntGauge::new("realtime_chat_message_bytes", "Bytes of the messages in memory.")?;
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
    /// Starts a supervised store on its own thread, with the newest messages of the log. It broadcasts on the endpoint, whose
    /// metrics show how much it keeps and how often it crashed.
    ///
    /// # Errors
    /// [`OpenError`](super::message_log::OpenError) if the log cannot be read; [`prometheus::Error::AlreadyReg`] if the
    /// endpoint has a store already.
    pub(crate) fn start(
        mut log: Box<dyn MessageLog>,
        limit: Limit,
        endpoint: &Endpoint,
    ) -> Result<Addr<Self>, Box<dyn std::error::Error>> {
        let (pubsub, size) = (endpoint.pubsub().clone(), Size::register(endpoint.registry())?);
        // unbounded, as the log's own queue is the bound
        let (sender, mut reports) = mpsc::unbounded_channel();
        // nobody listens when the store is gone
        let snapshot = log.open(limit, Arc::new(move |report| _ = sender.send(report)))?;
        let history = History::new(limit, snapshot)?;
        size.set(&history);
        let guard = Guard::new("MessageStore").counted(endpoint);
        let thread = Arbiter::new();
        let store = Supervisor::start_in_arbiter(&thread.handle(), move |_: &mut Context<Self>| Self {
            guard,
            log,
            history,
            pubsub,
            size,
        });
        let address = store.clone();
        thread.spawn(async move {
            while let Some(report) = reports.recv().await {
                address.do_send(report);
            }
        });
        Ok(store)
    }

    /// Hands a command to the log.
    fn submit(
        &mut self,
        command: impl FnOnce(&History) -> Result<Command, PayloadError>,
        ctx: &mut Context<Self>,
    ) -> Result<Pending, StoreError> {
        let Self { guard, history, log, .. } = self;
        let (reply, waits) = oneshot::channel();
        let claim = Claim::default();
        let pending = Pending::new(claim.clone(), waits);
        let settled = guard.run(ctx, || {
            let command = command(history)?;
            Ok::<_, StoreError>(log.submit(command, Done::new(claim, reply))?)
        })??;
        if let Some(settled) = settled {
            self.settle(settled, ctx);
        }
        Ok(pending)
    }

    /// Applies what was committed, broadcasts it, and answers the caller.
    fn settle(&mut self, Settled { outcome, reply }: Settled, ctx: &mut Context<Self>) {
        let Self { guard, history, pubsub, size, .. } = self;
        let result = outcome.map_err(StoreError::from).and_then(|committed| {
            guard.run(ctx, || {
                // the history has it first: who recovers is answered from there, and gets what is broadcast later
                let id = match committed {
                    Committed::Posted(message) => {
                        // ids count from 1
                        let position = NonZeroU64::new(message.id()).unwrap_or(NonZeroU64::MIN);
                        pubsub.broadcast_at(position, LOBBY, "new_message", history.push(&message)?)?;
                        message.id()
                    }
                    Committed::Liked(message) => {
                        pubsub.broadcast(LOBBY, "message_liked", history.replace(&message)?)?;
                        message.id()
                    }
                    Committed::Repeated(id) => id,
                    Committed::NotFound => return Ok(None),
                };
                size.set(history);
                Ok(Some(id))
            })?
        });
        // the caller may be gone
        let _ = reply.send(result);
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
    type Result = Result<Pending, StoreError>;

    fn handle(&mut self, Post { content, reply_to, nonce }: Post, ctx: &mut Context<Self>) -> Self::Result {
        let command = |history: &History| {
            let quote = reply_to.and_then(|id| history.content(id)).map(<[u8]>::to_vec);
            Ok(Command::Post { draft: Draft::new(&content, reply_to, nonce)?, quote })
        };
        self.submit(command, ctx)
    }
}

impl Handler<Like> for MessageStore {
    type Result = Result<Pending, StoreError>;

    fn handle(&mut self, Like { id }: Like, ctx: &mut Context<Self>) -> Self::Result {
        self.submit(|history| Ok(Command::Like { id, known: history.get(id) }), ctx)
    }
}

impl Handler<Report> for MessageStore {
    type Result = ();

    fn handle(&mut self, report: Report, ctx: &mut Context<Self>) {
        match report {
            Report::Settled(batch) => batch.into_iter().for_each(|settled| self.settle(settled, ctx)),
            Report::Forgotten(up_to) => {
                self.history.forget(up_to);
                self.size.set(&self.history);
            }
        }
    }
}

impl Handler<Load> for MessageStore {
    type Result = Result<Payload, StoreError>;

    fn handle(&mut self, _: Load, ctx: &mut Context<Self>) -> Self::Result {
        let history = &mut self.history;
        Ok(self.guard.run(ctx, || history.load())?)
    }
}

impl Handler<Recover> for MessageStore {
    type Result = Result<Recovery, StoreError>;

    fn handle(&mut self, Recover(cursor): Recover, ctx: &mut Context<Self>) -> Self::Result {
        let history = &mut self.history;
        Ok(self.guard.run(ctx, || history.since(cursor))??)
    }
}

impl Handler<LoadBefore> for MessageStore {
    type Result = ResponseFuture<Result<Payload, StoreError>>;

    fn handle(&mut self, LoadBefore { id, limit }: LoadBefore, ctx: &mut Context<Self>) -> Self::Result {
        let history = &self.history;
        let before = match self.guard.run(ctx, || history.before(id, limit)) {
            Ok(before) => before,
            Err(crashed) => return future::ready(Err(crashed.into())).boxed_local(),
        };
        let older = before.rest.map(|(first, limit)| self.log.reader().before(first, limit));
        async move {
            let older = match older {
                Some(older) => older.await?,
                None => Vec::new(),
            };
            Ok(before.payload(&older)?)
        }
        .boxed_local()
    }
}

impl Handler<Close> for MessageStore {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Context<Self>) {
        self.log.close();
    }
}

#[cfg(test)]
mod tests;
