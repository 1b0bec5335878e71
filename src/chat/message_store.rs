//! The supervised actor that owns the chat's messages.
//!
//! It submits posts and likes to a [`MessageLog`], which decides their order. Applying what the log has committed and
//! broadcasting it are one step here: all broadcasts come from this actor, in the order of the ids, and each worker gets
//! them in that order. The actor has its own thread.
//!
//! In a cluster, each node has such an actor, on one log. What a node has committed it tells the others by [hints](Hint);
//! each applies all of it by itself, in the order that its [`Follower`] keeps, and broadcasts to its own clients.

mod following;

use std::{fmt, num::NonZeroU64, sync::Arc, time::Instant};

use actix::{
    Actor, Addr, Arbiter, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, Supervised,
    Supervisor,
};
use actix_web::rt;
use futures_util::future::{self, FutureExt};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use super::{
    LOBBY, Pending, StoreError,
    callers::Callers,
    follower::{Event, Follower, PAGE, Place, Replaced},
    hint::{self, Hint},
    history::{History, Limit},
    message::Draft,
    message_log::{Claim, Command, Committed, Done, LogError, MessageLog, Page, Report, Settled, Snapshot},
    pending::Outcome,
};
use hinotori::{
    Endpoint, Payload, PayloadError, PubSub,
    prometheus::{self, IntGauge, Registry},
    recovery::{Cursor, Missed, Recovery},
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

/// Asks for what a client missed, or else for all messages. A client that has seen more, on another node, waits until this one
/// has caught up.
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

impl Message for Hint {
    type Result = ();
}

/// It may be time to ask the log for what is missing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Due(Instant);

/// What the log answered, which had this epoch.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Answered {
    epoch: u64,
    page: Result<Page, LogError>,
}

/// The same for a client that has waited.
#[derive(Debug, Message)]
#[rtype(result = "Result<Recovery, StoreError>")]
struct RecoverNow(Cursor);

/// Asks to be answered when the message with this id is applied. The log must have come as far.
#[derive(Debug, Message)]
#[rtype(result = "oneshot::Receiver<Outcome>")]
struct Reach(u64);

/// Asks which epoch is followed, and how far.
#[derive(Debug, Message)]
#[rtype(result = "(u64, Place)")]
struct Where;

/// Where the log begins and how far it has come, read after [`Where`] was answered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Polled {
    asked: (u64, Place),
    epoch: u64,
    first_id: u64,
    head: Place,
}

/// Holds the newest messages in memory.
pub(crate) struct MessageStore {
    guard: Guard,
    log: Box<dyn MessageLog>,
    limit: Limit,
    history: History,
    follower: Follower,
    callers: Callers,
    /// When a [`Due`] comes.
    timer: Option<Instant>,
    /// The log is asked to read all of it again.
    is_reloading: bool,
    /// How often it was another one.
    replaced: u64,
    pubsub: PubSub,
    /// This start of this node, in a cluster.
    node: Option<u64>,
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
        let (sender, reports) = mpsc::unbounded_channel();
        // nobody listens when the store is gone
        let snapshot = log.open(limit, Arc::new(move |report| _ = sender.send(report)))?;
        let (follower, history) = (follower(&snapshot), History::new(limit, snapshot)?);
        size.set(&history);
        let guard = Guard::new("MessageStore").counted(endpoint);
        let node = endpoint.node_id().map(|id| id.0);
        let (reader, thread) = (log.reader(), Arbiter::new());
        let store = Supervisor::start_in_arbiter(&thread.handle(), move |_: &mut Context<Self>| Self {
            guard,
            log,
            limit,
            history,
            follower,
            callers: Callers::default(),
            timer: None,
            is_reloading: false,
            replaced: 0,
            pubsub,
            node,
            size,
        });
        thread.spawn(following::pass_on(reports, store.clone()));
        if let Some(node) = node {
            thread.spawn(following::hear(endpoint.subscribe(hint::TOPIC), node, store.clone()));
            thread.spawn(following::poll(endpoint.clone(), reader, store.clone()));
        }
        Ok(store)
    }

    /// Hands a command to the log.
    fn submit(
        &mut self,
        command: impl FnOnce() -> Result<Command, PayloadError>,
        ctx: &mut Context<Self>,
    ) -> Result<Pending, StoreError> {
        let Self { guard, log, .. } = self;
        let (reply, waits) = oneshot::channel();
        let claim = Claim::default();
        let pending = Pending::new(claim.clone(), waits);
        let settled = guard.run(ctx, || {
            let command = command()?;
            Ok::<_, StoreError>(log.submit(command, Done::new(claim, reply))?)
        })??;
        if let Some(settled) = settled {
            self.settle(vec![settled], ctx);
        }
        Ok(pending)
    }

    /// Tells the other nodes what this one has committed, and applies it in its turn.
    fn settle(&mut self, batch: Vec<Settled>, ctx: &mut Context<Self>) {
        if self.node.is_some() {
            let committed = batch.iter().filter_map(|settled| settled.outcome.as_ref().ok());
            let events: Vec<Event> = committed.filter_map(Event::of).collect();
            if !events.is_empty() {
                self.hint(events, 0);
            }
        }
        for Settled { outcome, reply } in batch {
            match outcome {
                Ok(Committed::Posted(message)) => {
                    self.callers.of_post(message.id(), reply);
                    self.follower.add(Event::Posted(message));
                }
                Ok(Committed::Liked(message)) => {
                    self.callers.of_like(message.likes().rev, message.id(), reply);
                    self.follower.add(Event::Liked(message));
                }
                // maybe by another node, and not heard of yet
                Ok(Committed::Repeated(id)) => {
                    self.callers.of_post(id, reply);
                    self.follower.heard(Place { id, rev: 0 });
                }
                // the caller may be gone
                Ok(Committed::NotFound) => _ = reply.send(Ok(None)),
                Err(error) => _ = reply.send(Err(error.into())),
            }
            self.advance(ctx);
        }
        self.watch(ctx);
    }

    fn hint(&self, events: Vec<Event>, forgotten: u64) {
        let Some(node) = self.node else { return };
        let head = events.iter().fold(self.follower.place(), |head, event| head.after(event));
        let hint = Hint { epoch: self.follower.epoch(), node, head, forgotten, events };
        for payload in hint.encode() {
            if let Err(error) = self.pubsub.broadcast(hint::TOPIC, hint::EVENT, Payload::binary(payload)) {
                log::error!("event=not_sent what=hint why={:?}", error.to_string());
            }
        }
    }

    /// Applies all events whose turn has come.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        while let Some(event) = self.follower.next() {
            self.apply(&event, ctx);
            self.callers.answer(self.follower.place());
        }
        self.callers.answer(self.follower.place());
    }

    /// Adds an event to the history and broadcasts it.
    fn apply(&mut self, event: &Event, ctx: &mut Context<Self>) {
        let Self { guard, history, pubsub, size, .. } = self;
        let applied = guard.run(ctx, || {
            // the history has it first: who recovers is answered from there, and gets what is broadcast later
            match event {
                Event::Posted(message) => {
                    // ids count from 1
                    let position = NonZeroU64::new(message.id()).unwrap_or(NonZeroU64::MIN);
                    pubsub.local_broadcast_at(position, LOBBY, "new_message", history.push(message)?)?;
                }
                Event::Liked(message) => {
                    pubsub.local_broadcast(LOBBY, "message_liked", history.replace(message)?)?;
                }
            }
            size.set(history);
            Ok::<_, PayloadError>(())
        });
        if let Err(error) = applied.map_err(StoreError::from).and_then(|applied| Ok(applied?)) {
            self.callers.refuse(event, error);
        }
    }

    /// What a client missed, or else all messages.
    fn recover(&mut self, cursor: Cursor, ctx: &mut Context<Self>) -> Result<Recovery, StoreError> {
        let history = &mut self.history;
        Ok(self.guard.run(ctx, || history.since(cursor))??)
    }

    /// Drops messages up to an id, which the log no longer has.
    fn forget(&mut self, up_to: u64) {
        self.history.forget(up_to);
        self.size.set(&self.history);
    }

    /// Sees to it that what is missing is read from the log when it is time.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        if self.node.is_some() {
            let Place { id, rev } = self.follower.place();
            self.log.reached(self.replaced, id, rev);
        }
        let (now, address) = (Instant::now(), ctx.address());
        if let Some(Place { id, rev }) = self.follower.ask(now) {
            let (epoch, answer) = (self.follower.epoch(), self.log.reader().after(id, rev, PAGE));
            // not by the context, which a restart replaces
            rt::spawn(async move { address.do_send(Answered { epoch, page: answer.await }) });
        } else if let Some(due) = self.follower.due(now)
            && self.timer.is_none_or(|timer| timer > due)
        {
            self.timer = Some(due);
            rt::spawn(async move {
                sleep_until(due.into()).await;
                address.do_send(Due(due));
            });
        }
    }

    /// The log is another one than before.
    fn reload(&mut self) {
        if !self.is_reloading {
            self.is_reloading = true;
            self.log.reload();
        }
    }

    /// Begins again with what the log has now. All clients get it.
    fn replace(&mut self, snapshot: Snapshot, ctx: &mut Context<Self>) {
        let Self { guard, history, follower, pubsub, size, limit, .. } = self;
        let replaced = guard.run(ctx, || {
            let (next, messages) = (self::follower(&snapshot), History::new(*limit, snapshot)?);
            (*follower, *history) = (next, messages);
            size.set(history);
            pubsub.local_broadcast(LOBBY, "load_messages", history.load())
        });
        // whoever waits for an event of the former log learns nothing
        self.callers = Callers::default();
        self.is_reloading = false;
        self.replaced += 1;
        self.watch(ctx);
        if let Ok(Err(error)) = replaced {
            log::error!("event=not_sent what=load_messages why={:?}", error.to_string());
        }
    }

    /// What the history has and a log that several nodes share does not take from it.
    fn known<T>(&self, what: impl FnOnce(&History) -> Option<T>) -> Option<T> {
        if self.node.is_some() { None } else { what(&self.history) }
    }
}

/// Follows a log from a snapshot on.
fn follower(Snapshot { epoch, last_id, last_rev, .. }: &Snapshot) -> Follower {
    Follower::new(*epoch, Place { id: *last_id, rev: *last_rev })
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
        let quote = self.known(|history| history.content(reply_to?).map(<[u8]>::to_vec));
        let command = || Ok(Command::Post { draft: Draft::new(&content, reply_to, nonce)?, quote });
        self.submit(command, ctx)
    }
}

impl Handler<Like> for MessageStore {
    type Result = Result<Pending, StoreError>;

    fn handle(&mut self, Like { id }: Like, ctx: &mut Context<Self>) -> Self::Result {
        let known = self.known(|history| history.get(id));
        self.submit(|| Ok(Command::Like { id, known }), ctx)
    }
}

impl Handler<Report> for MessageStore {
    type Result = ();

    fn handle(&mut self, report: Report, ctx: &mut Context<Self>) {
        match report {
            Report::Settled(batch) => self.settle(batch, ctx),
            Report::Forgotten(up_to) => {
                self.hint(Vec::new(), up_to);
                self.forget(up_to);
            }
            Report::Replaced(snapshot) => self.replace(snapshot, ctx),
        }
    }
}

impl Handler<Hint> for MessageStore {
    type Result = ();

    fn handle(&mut self, Hint { epoch, head, forgotten, events, .. }: Hint, ctx: &mut Context<Self>) {
        // of a log that this node does not follow yet, or that is no more
        if epoch != self.follower.epoch() {
            return;
        }
        self.follower.heard(head);
        for event in events {
            self.follower.add(event);
            self.advance(ctx);
        }
        self.forget(forgotten);
        self.watch(ctx);
    }
}

impl Handler<Due> for MessageStore {
    type Result = ();

    fn handle(&mut self, Due(due): Due, ctx: &mut Context<Self>) {
        self.timer.take_if(|timer| *timer == due);
        self.watch(ctx);
    }
}

impl Handler<Answered> for MessageStore {
    type Result = ();

    fn handle(&mut self, Answered { epoch, page }: Answered, ctx: &mut Context<Self>) {
        // it was asked before the log was replaced
        if epoch != self.follower.epoch() {
            return;
        }
        match page.map(|page| self.follower.page(Instant::now(), page)) {
            Ok(Ok(events)) => events.iter().for_each(|event| self.apply(event, ctx)),
            Ok(Err(Replaced)) => self.reload(),
            Err(_) => self.follower.failed(Instant::now()),
        }
        self.advance(ctx);
        self.watch(ctx);
    }
}

impl Handler<Where> for MessageStore {
    type Result = MessageResult<Where>;

    fn handle(&mut self, _: Where, _: &mut Context<Self>) -> Self::Result {
        MessageResult((self.follower.epoch(), self.follower.place()))
    }
}

impl Handler<Polled> for MessageStore {
    type Result = ();

    fn handle(&mut self, Polled { asked, epoch, first_id, head }: Polled, ctx: &mut Context<Self>) {
        let (followed, place) = asked;
        if followed != self.follower.epoch() {
            return;
        }
        match self.follower.read(place, epoch, head) {
            Ok(()) => {
                // the hint that says so may have been lost
                self.forget(first_id.saturating_sub(1));
                self.watch(ctx);
            }
            Err(Replaced) => self.reload(),
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
    type Result = ResponseFuture<Result<Recovery, StoreError>>;

    fn handle(&mut self, Recover(cursor): Recover, ctx: &mut Context<Self>) -> Self::Result {
        let recovery = self.recover(cursor, ctx);
        let is_ahead = recovery.as_ref().is_ok_and(|recovery| recovery.why_not() == Some(Missed::Ahead));
        if self.node.is_none() || !is_ahead {
            return future::ready(recovery).boxed_local();
        }
        let (reader, store) = (self.log.reader(), ctx.address());
        async move {
            following::catch_up(&*reader, &store, cursor.last_seen_id()).await;
            store.send(RecoverNow(cursor)).await?
        }
        .boxed_local()
    }
}

impl Handler<RecoverNow> for MessageStore {
    type Result = Result<Recovery, StoreError>;

    fn handle(&mut self, RecoverNow(cursor): RecoverNow, ctx: &mut Context<Self>) -> Self::Result {
        self.recover(cursor, ctx)
    }
}

impl Handler<Reach> for MessageStore {
    type Result = MessageResult<Reach>;

    fn handle(&mut self, Reach(id): Reach, _: &mut Context<Self>) -> Self::Result {
        let (reply, reached) = oneshot::channel();
        self.callers.of_post(id, reply);
        self.callers.answer(self.follower.place());
        MessageResult(reached)
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
