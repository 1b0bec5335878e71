//! One client's membership in one topic, from its join to its end: messages between the channel, its client and its
//! topic, and the time limits for ending the channel.

mod further;
mod hold;

use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use actix_web::rt::time::{Sleep, sleep_until};
use bytestring::ByteString;

use self::further::Further;
use super::{
    Exit,
    command::{Command, Inbox},
};
use crate::{
    node::Node,
    pubsub::{Broadcast, Local, Subscriber, SubscriberKey},
    recovery::Follows,
    socket::{ChannelId, Connection, Ended, Joined, Line, Peer},
    telemetry::Conn,
    wire::{Message, Outgoing, Payload, Ref, Serializer, Status},
};

/// A client's request to join.
#[derive(Debug)]
pub(crate) struct JoinRequest {
    pub(crate) channel: ChannelId,
    pub(crate) join_ref: Ref,
    pub(crate) topic: ByteString,
}

/// See the module.
pub(crate) struct Membership {
    connection: Weak<Connection>,
    /// The connection's line and serializer, stored here so that a broadcast to ten thousand clients follows fewer
    /// pointers.
    line: Rc<Line>,
    serializer: Serializer,
    request: JoinRequest,
    /// The channel no longer belongs to the client: nothing it sends is delivered.
    muted: Cell<bool>,
    subscribed: Cell<bool>,
    /// Memory of the messages that wait in the channel's mailbox, in bytes.
    load: Cell<usize>,
    inbox: OnceCell<Arc<dyn Inbox>>,
    /// Set if the channel intercepts broadcasts. Boxed, because few channels do.
    intercept: OnceCell<Box<Intercept>>,
    /// The channel's own subscriptions and what must end with it. Boxed, because few channels have any.
    further: OnceCell<Box<Further>>,
    ending: RefCell<Ending>,
}

struct Intercept {
    events: &'static [&'static str],
    /// Memory of the intercepted broadcasts that wait for the channel, in bytes.
    load: Cell<usize>,
}

/// How far a membership has progressed toward its end.
#[derive(Default)]
struct Ending {
    /// When the end began, and why.
    begun: Option<Box<(Instant, End)>>,
    /// When the client stopped waiting for a join that is still undecided.
    hurried: Option<Box<Instant>>,
    /// Tasks to wake when either of these is set.
    waiting: Vec<Waker>,
    /// The timer for the channel's time limit.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Ending {
    /// When the running callback was asked to end.
    fn since(&self) -> Option<Instant> {
        let (hurried, begun) = (self.hurried.as_deref().copied(), self.begun.as_ref().map(|begun| begun.0));
        hurried.or(begun)
    }
}

/// Why a channel is ended from outside.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// The client leaves. Holds what the reply must carry.
    Leave(Ref),
    /// The client is not notified.
    Stop(Exit),
}

impl Membership {
    pub(crate) fn new(connection: &Rc<Connection>, request: JoinRequest) -> Rc<Self> {
        Rc::new(Self {
            connection: Rc::downgrade(connection),
            line: connection.line().clone(),
            serializer: connection.serializer(),
            request,
            muted: Cell::new(false),
            subscribed: Cell::new(false),
            load: Cell::new(0),
            inbox: OnceCell::new(),
            intercept: OnceCell::new(),
            further: OnceCell::new(),
            ending: RefCell::default(),
        })
    }

    pub(crate) fn id(&self) -> ChannelId {
        self.request.channel
    }

    /// The key by which a broadcast skips its sender.
    pub(crate) fn key(&self) -> SubscriberKey {
        self.request.channel.into()
    }

    pub(crate) fn topic(&self) -> &str {
        &self.request.topic
    }

    /// The topic of the server that it is subscribed to.
    pub(crate) fn pubsub_topic(&self) -> &str {
        self.further.get().and_then(|further| further.scoped()).unwrap_or(self.topic())
    }

    /// Whether its client gets the topic's broadcasts.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed.get()
    }

    /// The connection's name in the log.
    pub(crate) fn conn(&self) -> Conn<'_> {
        self.line.conn()
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    pub(crate) fn node(&self) -> &Node {
        self.line.node()
    }

    /// Attaches the channel that serves this membership.
    pub(crate) fn started(&self, inbox: Arc<dyn Inbox>, intercept: &'static [&'static str]) {
        // set once, when the channel starts
        let _ = self.inbox.set(inbox);
        if !intercept.is_empty() {
            let _ = self.intercept.set(Box::new(Intercept { events: intercept, load: Cell::new(0) }));
        }
        self.line.started();
    }

    /// Completes the join: replies, then subscribes if the join was accepted, with nothing in between. No broadcast
    /// precedes the reply, and whatever the channel requests next comes after its subscription. If broadcasts were
    /// [held](Self::hold), they are released in place of the subscription, after what the recovery pushes.
    pub(crate) fn joined(self: &Rc<Self>, how: Joined, follows: Follows) {
        let Some(connection) = self.connection.upgrade().filter(|_| !self.muted.get()) else { return };
        let is_accepted = matches!(how, Joined::Ok(_));
        connection.joined(self.id(), how);
        // another join of the topic may already have ended this one while it waited
        if !is_accepted {
            self.mute();
        } else {
            let Follows { push, last_id } = follows;
            if let Some((event, payload)) = push {
                self.push(&event, &payload);
            }
            let this = self.clone();
            self.line.local().in_order(move |local| {
                this.release(local, last_id);
                this.subscribe(local);
            });
        }
    }

    fn subscribe(self: &Rc<Self>, local: &Local) {
        if !self.muted.get() && !self.subscribed.replace(true) {
            local.subscribe(self.pubsub_topic(), self.key(), self.subscriber(self.pubsub_topic()));
        }
    }

    pub(crate) fn reply(&self, reference: &Ref, status: Status, payload: &Payload) {
        let JoinRequest { join_ref, topic, .. } = &self.request;
        self.send(Outgoing::Reply { join_ref, reference, topic, status, payload });
    }

    pub(crate) fn push(&self, event: &str, payload: &Payload) {
        let JoinRequest { join_ref, topic, .. } = &self.request;
        self.send(Outgoing::Push { join_ref, reference: &Ref::Null, topic, event, payload });
    }

    /// The same for an event that supersedes earlier ones with its key.
    pub(crate) fn push_latest(&self, key: &str, event: &str, payload: &Payload) {
        let JoinRequest { join_ref, topic, .. } = &self.request;
        let message = Outgoing::Push { join_ref, reference: &Ref::Null, topic, event, payload };
        if let Some(connection) = self.connection.upgrade().filter(|_| !self.muted.get()) {
            connection.send_latest(self.id(), key, message);
        }
    }

    fn send(&self, message: Outgoing<'_>) {
        if let Some(connection) = self.connection.upgrade().filter(|_| !self.muted.get()) {
            connection.send(message);
        }
    }

    /// Handles a message from the client.
    pub(crate) fn deliver(&self, message: Message) {
        let cost = message.cost();
        if self.inbox.get().is_some_and(|inbox| inbox.command(Command::In(message, cost))) {
            self.line.load(cost);
            self.load.set(self.load.get() + cost);
        }
    }

    /// Called when a message has been handled.
    pub(crate) fn handled(&self, cost: usize) {
        self.load.set(self.load.get() - cost);
        self.line.release(cost);
    }

    /// Called when the channel has handled an intercepted broadcast.
    pub(crate) fn handled_out(&self, broadcast: &Broadcast) {
        if let Some(intercept) = self.intercept.get() {
            intercept.load.set(intercept.load.get() - broadcast.cost());
        }
    }

    /// Begins to end the channel. Queued items are still handled, and a running callback gets the shutdown time,
    /// counted from `since`, when the client asked for the end. Only the first reason counts.
    pub(crate) fn end(&self, end: End, since: Instant) {
        if matches!(end, End::Stop(_)) {
            self.mute();
        }
        self.ending.borrow_mut().begun.get_or_insert_with(|| Box::new((since, end)));
        if let Some(inbox) = self.inbox.get() {
            inbox.close();
        }
        self.wake_waiting();
    }

    /// The client no longer waits for its join: the join callback gets the shutdown time to decide.
    pub(crate) fn hurry(&self) {
        self.ending.borrow_mut().hurried.get_or_insert_with(|| Box::new(Instant::now()));
        self.wake_waiting();
    }

    fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut self.ending.borrow_mut().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The join has been decided or dropped.
    pub(super) fn decided(&self) {
        let ending = &mut *self.ending.borrow_mut();
        (ending.hurried, ending.deadline) = (None, None);
    }

    /// Whether the channel has been asked to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.borrow().begun.is_some()
    }

    /// Why the channel has been asked to end, if it has.
    pub(super) fn why(&self) -> Option<End> {
        self.ending.borrow().begun.as_ref().map(|begun| begun.1.clone())
    }

    /// Ready when a running callback should end.
    pub(super) fn poll_ending(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ending = &mut *self.ending.borrow_mut();
        if ending.since().is_some() {
            return Poll::Ready(());
        }
        if !ending.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            ending.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ready when a running callback should have ended this long ago.
    pub(super) fn poll_overdue(&self, shutdown: Duration, cx: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(self.poll_ending(cx));
        let ending = &mut *self.ending.borrow_mut();
        let since = ending.since().unwrap_or_else(Instant::now);
        let Some(end) = since.checked_add(shutdown) else { return Poll::Pending };
        let deadline = ending.deadline.get_or_insert_with(|| Box::pin(sleep_until(end.into())));
        if deadline.deadline().into_std() != end {
            deadline.as_mut().reset(end.into());
        }
        deadline.as_mut().poll(cx)
    }

    /// The channel ended by itself or after a leave: it sends nothing more, and the client is notified.
    pub(crate) fn ended(&self, how: Ended) {
        if let Some(connection) = self.connection.upgrade().filter(|_| !self.muted.get()) {
            self.mute();
            connection.ended(self.id(), how);
        }
    }

    /// The channel has used up its time to end: the next join of the topic stops waiting for it.
    pub(super) fn overdue(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.overdue(self.id());
        }
    }

    /// The channel's task has ended, and everything queued for it was dropped.
    pub(super) fn dropped(&self) {
        self.mute();
        self.line.stopped();
        self.line.release(self.load.take());
    }

    /// The channel's last callback has ended.
    pub(super) fn over(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.over(self.id());
        }
    }

    /// Stops all traffic in both directions without notifying anyone.
    fn mute(&self) {
        self.muted.set(true);
        self.line.forget_latest(self.id());
        if self.subscribed.replace(false) {
            self.line.local().unsubscribe(self.pubsub_topic(), self.key());
        }
        self.end_further();
    }

    /// Memory of the broadcasts that wait for the channel, in bytes.
    fn waiting(&self) -> usize {
        let intercepted = self.intercept.get().map_or(0, |intercept| intercept.load.get());
        intercepted + self.further.get().map_or(0, |further| further.load())
    }
}

/// Phoenix's fastlane: a broadcast's frame goes straight to the client, unless the channel intercepts it.
impl Subscriber for Membership {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        match self.intercept.get() {
            Some(intercept) if intercept.events.contains(&&*broadcast.event) => {
                let takes = |inbox: &Arc<dyn Inbox>| inbox.command(Command::Out(broadcast.clone()));
                if self.line.has_room_behind(self.waiting()) && self.inbox.get().is_some_and(takes) {
                    intercept.load.set(intercept.load.get() + broadcast.cost());
                }
                false
            }
            _ => {
                let Some(frame) = broadcast.frame(self.serializer, self.line.window()) else { return false };
                let keep = |key: &str| self.line.keep_latest(self.id(), key, frame);
                broadcast.latest.as_deref().is_some_and(keep) || self.line.forward(frame)
            }
        }
    }

    fn hand_out(&self, broadcast: &Arc<Broadcast>) -> bool {
        let is_written = self.intercept.get().is_none()
            && broadcast
                .frame(self.serializer, self.line.window())
                .is_some_and(|frame| self.line.write_at_once(frame));
        is_written || Subscriber::deliver(self, broadcast)
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("request", &self.request).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "metrics")]
mod tests {
    use actix_web::rt::task::yield_now;
    use prometheus::TextEncoder;
    use serde_json::json;

    use crate::{
        Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes,
        SocketHandler,
        testing::{ChannelTest, TestSocket},
    };

    struct UserSocket;

    impl SocketHandler for UserSocket {
        async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> {
            Ok(Self)
        }

        fn channels(routes: &mut Routes<Self>) {
            routes.channel::<Filter>("t");
        }
    }

    /// Intercepts `said`, except while it sleeps.
    struct Filter;

    impl Channel for Filter {
        type Socket = UserSocket;
        type Info = ();
        const INTERCEPT: &'static [&'static str] = &["said"];

        async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> Result<Join<Self>> {
            Join::ok(Self)
        }

        async fn handle_in(&mut self, _: &str, _: Payload, _: &mut Context<Self>) -> Result {
            std::future::pending::<()>().await;
            Reply::none()
        }

        async fn handle_out(&mut self, _: &str, _: Payload, cx: &mut Context<Self>) -> Result<()> {
            Ok(cx.push("seen", json!({}))?)
        }
    }

    async fn joined(endpoint: &Endpoint) -> TestSocket {
        let mut client = ChannelTest::new(endpoint).connect::<UserSocket>().await.unwrap();
        client.subscribe_and_join("t", json!({})).await.unwrap();
        client
    }

    /// Whether a client was disconnected because of a slow channel.
    fn is_cut(endpoint: &Endpoint) -> bool {
        let metrics = TextEncoder::new().encode_to_string(&endpoint.registry().gather()).unwrap();
        metrics.contains("hinotori_connections_closed_total{reason=\"slow_channel\"} 1\n")
    }

    #[actix_web::test]
    async fn a_channel_that_is_not_busy_sees_a_broadcast_of_any_length() {
        let endpoint = Endpoint::new();
        let mut client = joined(&endpoint).await;
        for _ in 0..2 {
            endpoint.broadcast("t", "said", json!({ "x": "x".repeat(3_000_000) })).unwrap();
            client.assert_push("seen", json!({})).await;
        }
        assert!(!is_cut(&endpoint));
    }

    #[actix_web::test]
    async fn a_busy_channel_cannot_be_filled_with_broadcasts_that_say_nothing() {
        let endpoint = Endpoint::new();
        let mut client = joined(&endpoint).await;
        let _ = client.push("t", "sleep", json!({})).unwrap();
        yield_now().await;
        for _ in 0..20_000 {
            endpoint.broadcast("t", "said", Payload::binary(vec![])).unwrap();
        }
        assert!(is_cut(&endpoint), "20,000 broadcasts wait");
    }
}
