//! What a callback can reach: its client, topic, socket and channel.

use std::{
    fmt,
    future::{Future, poll_fn},
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    Channel, Handle, Inlet, Item, Mailbox, Membership, ReplyRef, Result, TimerRef, UnhandledEvent,
    command::{Command, Inbox},
    timers::Timers,
};
use crate::{
    pubsub::{Keyed, PubSub, SubscriberKey},
    recovery::Cursor,
    socket::ConnectionRef,
    wire::{IntoPayload, Payload, PayloadError, Ref},
};

/// Passed to each callback of a channel, next to the channel's own state. It corresponds to the `socket` in Phoenix's
/// callbacks.
///
/// ```
/// use std::time::Duration;
/// use hinotori::{Channel, Context, Join, Payload, Reply, Result};
/// use serde_json::json;
/// # use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};
/// # struct UserSocket { name: String }
/// # impl SocketHandler for UserSocket {
/// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Err(Refused::because("no")) }
/// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Game>("game:*"); }
/// # }
///
/// struct Game;
///
/// enum Info {
///     Tick,
///     Solved(u64),
/// }
///
/// impl Channel for Game {
///     type Socket = UserSocket;
///     type Info = Info;
///
///     async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
///         cx.send_self(Info::Tick);
///         Join::reply(Self, json!({ "you": cx.socket().name }))
///     }
///
///     async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
///         match event {
///             "typing" => cx.broadcast_from("typing", payload)?,
///             "say" => cx.broadcast("said", payload)?,
///             "tell_all_games" => cx.pubsub().broadcast("games", "news", payload)?,
///             "solve" => {
///                 let channel = cx.handle();
///                 std::thread::spawn(move || channel.send(Info::Solved(42)));
///             }
///             "ask" => {
///                 let reply_ref = cx.reply_ref();
///                 actix_web::rt::spawn(async move {
///                     let reply = Reply::ok(json!({ "answer": 42 }));
///                     if let (Some(reply_ref), Ok(reply)) = (reply_ref, reply) {
///                         reply_ref.reply(reply);
///                     }
///                 });
///             }
///             "resign" => {
///                 cx.stop();
///                 return Reply::ok(json!({ "bye": cx.topic() }));
///             }
///             _ => return cx.unhandled(event),
///         }
///         Reply::none()
///     }
///
///     async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<()> {
///         match info {
///             Info::Tick => _ = cx.send_after(Duration::from_secs(1), Info::Tick),
///             Info::Solved(answer) => cx.push("solved", json!({ "answer": answer }))?,
///         }
///         Ok(())
///     }
/// }
/// ```
pub struct Context<C: Channel> {
    socket: Rc<C::Socket>,
    membership: Rc<Membership>,
    mailbox: Arc<Mailbox<Command, C::Info>>,
    pub(super) timers: Timers<C::Info>,
    pub(super) joined: bool,
    /// Broadcasts are held for a client that recovers.
    pub(super) recovers: bool,
    /// The ref of the message being handled.
    pub(super) reference: Option<Ref>,
    /// Set by [`Context::stop`].
    pub(super) stopped: bool,
}

impl<C: Channel> Context<C> {
    pub(super) fn new(
        socket: Rc<C::Socket>,
        membership: Rc<Membership>,
        mailbox: &Arc<Mailbox<Command, C::Info>>,
    ) -> Self {
        Self {
            socket,
            membership,
            mailbox: mailbox.clone(),
            timers: Timers::default(),
            joined: false,
            recovers: false,
            reference: None,
            stopped: false,
        }
    }

    /// The topic that the client joined.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.membership.topic()
    }

    /// The topic of the server to which the channel's client is subscribed: [`topic`](Self::topic), in its
    /// [scope](Self::scope) if there is one. Pass it to [`Presence::list`](crate::Presence::list).
    #[must_use]
    pub fn pubsub_topic(&self) -> &str {
        self.membership.pubsub_topic()
    }

    /// Puts the channel's topic into a scope, in `join`. Channels of one topic in different scopes hear nothing of each
    /// other, though all their clients call it the same: a public and a private room of one name, say, or that name in two
    /// tenants. The channel's own broadcasts and presences then belong to the scope. Others name it by
    /// [`scoped_topic`](crate::scoped_topic).
    ///
    /// Call it before [`recover`](Self::recover) and [`hold_broadcasts`](Self::hold_broadcasts). Once the client is
    /// subscribed it does nothing, and nor does a second scope.
    ///
    /// ```
    /// # use hinotori::{Channel, ConnectInfo, Context, Join, Params, Payload, Refused, Routes, SocketHandler};
    /// # struct UserSocket { tenant: String }
    /// # impl SocketHandler for UserSocket {
    /// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Err(Refused::because("no")) }
    /// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Room>("room:*"); }
    /// # }
    /// # struct Room;
    /// # impl Channel for Room {
    /// #     type Socket = UserSocket;
    /// #     type Info = ();
    /// async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> hinotori::Result<Join<Self>> {
    ///     let tenant = cx.socket().tenant.clone();
    ///     cx.scope(&tenant);
    ///     Join::ok(Self)
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the scope has a character NUL.
    pub fn scope(&mut self, scope: &str) {
        self.membership.scope(scope);
    }

    /// The socket, as created by its `connect` (the socket's assigns in Phoenix).
    #[must_use]
    pub fn socket(&self) -> &C::Socket {
        &self.socket
    }

    /// The client's connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionRef<'_> {
        ConnectionRef::new(self.membership.line())
    }

    /// The server's publish and subscribe, for topics other than this channel's.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        &self.membership.node().pubsub
    }

    /// Sends an event to this client only.
    ///
    /// # Errors
    /// [`PayloadError`] if the payload is neither bytes nor a JSON object, or if the channel is not joined yet.
    pub fn push(&self, event: &str, payload: impl IntoPayload) -> std::result::Result<(), PayloadError> {
        self.membership.push(event, &self.pushable(payload)?);
        Ok(())
    }

    /// Sends this client an event that supersedes earlier ones. While the client keeps up with reading, this is the
    /// same as [`push`](Context::push). While it lags, only the newest event per `key` of this channel is kept, up to a
    /// quarter of [`outbox_limit`](crate::SocketOptions::outbox_limit) in total, and sent once the client has read
    /// everything queued before. The order relative to other messages is then unspecified. These events never cause the
    /// client to be disconnected.
    ///
    /// # Errors
    /// Same as [`Context::push`].
    pub fn push_latest(
        &self,
        key: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> std::result::Result<(), PayloadError> {
        self.membership.push_latest(key, event, &self.pushable(payload)?);
        Ok(())
    }

    fn pushable(&self, payload: impl IntoPayload) -> std::result::Result<Payload, PayloadError> {
        self.assert_joined()?;
        let payload = payload.into_payload()?;
        if payload.is_json() && !payload.is_object() {
            return Err(PayloadError::NotAnObject);
        }
        Ok(payload)
    }

    /// Sends an event to everyone who has joined the topic, including this client. For subscribers on this worker
    /// thread, the event is queued before the call returns, so it precedes a reply from the same callback unless it is
    /// intercepted.
    ///
    /// # Errors
    /// Same as [`Context::push`].
    pub fn broadcast(&self, event: &str, payload: impl IntoPayload) -> std::result::Result<(), PayloadError> {
        self.assert_joined()?;
        self.pubsub().broadcast(self.pubsub_topic(), event, payload)
    }

    /// Sends an event to everyone who has joined the topic except this client.
    ///
    /// # Errors
    /// Same as [`Context::push`].
    pub fn broadcast_from(
        &self,
        event: &str,
        payload: impl IntoPayload,
    ) -> std::result::Result<(), PayloadError> {
        self.assert_joined()?;
        self.pubsub().broadcast_from(self, self.pubsub_topic(), event, payload)
    }

    /// Subscribes the channel itself to a topic, whether or not the socket serves that topic. Every broadcast there,
    /// including presence diffs, is passed to [`Channel::handle_broadcast`]. A broadcast made during a callback is
    /// handled after that callback and its reply. The client does not join the topic and is not notified.
    ///
    /// A channel that subscribes to a topic several times gets each broadcast that many times. A channel that
    /// subscribes to its own topic gets those broadcasts in [`Channel::handle_out`]; its client still receives them
    /// directly unless they are intercepted. Subscriptions end with the channel. Broadcasts waiting for the channel are
    /// limited like intercepted ones: once they exceed
    /// [`SocketOptions::outbox_limit`](crate::SocketOptions::outbox_limit), the client is disconnected.
    ///
    /// ```
    /// use hinotori::{Channel, Context, Join, Payload, Result};
    /// # use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};
    /// # struct UserSocket { user_id: String }
    /// # impl SocketHandler for UserSocket {
    /// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Err(Refused::because("no")) }
    /// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Room>("room:*"); }
    /// # }
    ///
    /// struct Room;
    ///
    /// impl Channel for Room {
    ///     type Socket = UserSocket;
    ///     type Info = ();
    ///
    ///     async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
    ///         cx.subscribe(&format!("friends:{}", cx.socket().user_id));
    ///         Join::ok(Self)
    ///     }
    ///
    ///     async fn handle_broadcast(
    ///         &mut self,
    ///         _topic: &str,
    ///         event: &str,
    ///         payload: Payload,
    ///         cx: &mut Context<Self>,
    ///     ) -> Result<()> {
    ///         match event {
    ///             "online" => cx.push("friend_online", payload)?,
    ///             _ => {}
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn subscribe(&self, topic: &str) {
        self.membership.subscribe_to(topic);
    }

    /// Ends all of the channel's subscriptions to a topic; does nothing if there are none. Broadcasts made earlier are
    /// still delivered. For the channel's own topic, this includes the subscription made by the join: the client stays
    /// joined but gets no more broadcasts until it joins again.
    pub fn unsubscribe(&self, topic: &str) {
        self.membership.unsubscribe_from(topic);
    }

    /// Sends an event that supersedes earlier ones, such as a cursor position or a typing indicator, to everyone who
    /// has joined the topic except this client. Clients that lag get only the newest event per `key`, as with
    /// [`push_latest`](Context::push_latest).
    ///
    /// ```
    /// # use hinotori::{Channel, ConnectInfo, Context, Join, Params, Payload, Refused, Reply, Routes, SocketHandler};
    /// # struct UserSocket { name: String }
    /// # impl SocketHandler for UserSocket {
    /// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Err(Refused::because("no")) }
    /// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Board>("board:*"); }
    /// # }
    /// # struct Board;
    /// # impl Channel for Board {
    /// #     type Socket = UserSocket;
    /// #     type Info = ();
    /// #     async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> hinotori::Result<Join<Self>> { Join::ok(Self) }
    /// async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> hinotori::Result {
    ///     match event {
    ///         "cursor" => cx.broadcast_latest_from(&cx.socket().name, "cursor", payload)?,
    ///         _ => return cx.unhandled(event),
    ///     }
    ///     Reply::none()
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Context::push`].
    pub fn broadcast_latest_from(
        &self,
        key: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> std::result::Result<(), PayloadError> {
        self.assert_joined()?;
        self.pubsub().broadcast_latest_from(self, key, self.pubsub_topic(), event, payload)
    }

    /// Holds the topic's broadcasts for this client, in `join`, from now until the join is answered. All of them follow
    /// the reply, in their order. Use it if the reply has state that takes time to read, such as rows of a database: the
    /// client is subscribed only once it has the reply, so a change that is made in between would not reach it.
    ///
    /// Call it before you read, and broadcast a change after it is stored. Then each change is in what was read, in a
    /// broadcast after the reply, or in both: let an event carry the whole item, or a number to compare, so that a
    /// client may get a change twice. For messages with positions, [`recover`](Self::recover) does that for you.
    ///
    /// ```
    /// # use std::sync::Mutex;
    /// # use hinotori::{Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Routes, SocketHandler};
    /// # use serde_json::json;
    /// # struct Store { endpoint: Endpoint, titles: Mutex<Vec<String>> }
    /// # impl Store {
    /// #     /// As if another client added it meanwhile.
    /// #     async fn titles(&self) -> Vec<String> {
    /// #         let titles = self.titles.lock().unwrap().clone();
    /// #         self.add("Persuasion");
    /// #         titles
    /// #     }
    /// #     fn add(&self, title: &str) {
    /// #         self.titles.lock().unwrap().push(title.to_owned());
    /// #         self.endpoint.broadcast("books", "added", json!({ "title": title })).unwrap();
    /// #     }
    /// # }
    /// # struct UserSocket { store: std::sync::Arc<Store> }
    /// # impl SocketHandler for UserSocket {
    /// #     async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
    /// #         Ok(Self { store: info.data::<std::sync::Arc<Store>>()?.clone() })
    /// #     }
    /// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Books>("books"); }
    /// # }
    /// struct Books;
    ///
    /// impl Channel for Books {
    ///     type Socket = UserSocket;
    ///     type Info = ();
    ///
    ///     async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> hinotori::Result<Join<Self>> {
    ///         cx.hold_broadcasts();
    ///         let titles = cx.socket().store.titles().await;
    ///         Join::reply(Self, json!({ "titles": titles }))
    ///     }
    /// }
    /// # #[cfg(feature = "testing")]
    /// # actix_web::rt::System::new().block_on(async {
    /// # use hinotori::testing::ChannelTest;
    /// # let endpoint = Endpoint::new();
    /// # let titles = Mutex::new(vec!["Emma".to_owned()]);
    /// # let store = std::sync::Arc::new(Store { endpoint: endpoint.clone(), titles });
    /// # let mut client = ChannelTest::new(&endpoint).app_data(store).connect::<UserSocket>().await.unwrap();
    /// # assert_eq!(client.subscribe_and_join("books", json!({})).await.unwrap(), json!({ "titles": ["Emma"] }));
    /// # client.assert_broadcast("added", json!({ "title": "Persuasion" })).await;
    /// # });
    /// ```
    ///
    /// A join that is refused drops what was held. Held broadcasts are limited like intercepted ones: once they exceed
    /// [`SocketOptions::outbox_limit`](crate::SocketOptions::outbox_limit), the client is disconnected. Broadcasts on
    /// topics that the channel itself [subscribes](Self::subscribe) to need no hold: they wait until the join has
    /// returned. Outside of `join` this does nothing.
    pub fn hold_broadcasts(&self) {
        if !self.joined {
            self.membership.hold();
        }
    }

    /// Begins a recovery, in `join`: reads from the join's payload where the client stopped reading, and from now on
    /// holds the topic's broadcasts for this client until the join is answered. Ask the source of the messages after
    /// this call, and return [`Join::recovered`](super::Join::recovered) with its answer: see
    /// [`recovery`](crate::recovery). Without positions, use [`hold_broadcasts`](Self::hold_broadcasts).
    ///
    /// `None` if the client does not ask for recovery: the payload has no `last_seen_id`, or it is `null`. Nothing is
    /// held then. A join that is answered without a recovery delivers all that was held after its reply.
    ///
    /// Broadcasts that are held are limited like intercepted ones: once they exceed
    /// [`SocketOptions::outbox_limit`](crate::SocketOptions::outbox_limit), the client is disconnected.
    ///
    /// Outside of `join` it only reads the payload.
    ///
    /// # Errors
    /// [`InvalidPayload`](crate::InvalidPayload) if `last_seen_id` or `epoch` is not an integer of at least 0. Returned
    /// from `join`, it refuses the client with a reason that names the field.
    pub fn recover(
        &mut self,
        payload: &Payload,
    ) -> std::result::Result<Option<Cursor>, crate::InvalidPayload> {
        let cursor = Cursor::read(payload)?;
        if cursor.is_some() && !self.joined {
            self.hold_broadcasts();
            self.recovers = true;
        }
        Ok(cursor)
    }

    /// Lets you reply to the current message later, from anywhere; return [`Reply::none`](super::Reply::none) now.
    /// `None` outside of `handle_in`.
    #[must_use]
    pub fn reply_ref(&self) -> Option<ReplyRef> {
        let reference = self.reference.clone()?;
        let channel: Weak<dyn Inbox> = Arc::downgrade(&self.mailbox) as _;
        Some(ReplyRef { channel, reference })
    }

    /// Completes when the channel is asked to end because its client has left, joined again or disconnected. A
    /// long-running callback should finish then, before it is [dropped](Channel::SHUTDOWN). The future does not borrow
    /// the context, so you can await it alongside anything else.
    pub fn closed(&self) -> impl Future<Output = ()> + use<C> {
        let membership = self.membership.clone();
        poll_fn(move |cx| membership.poll_ending(cx))
    }

    /// Ends the channel after this callback; can also be called in `join`. If the callback returns a reply, the reply is
    /// sent first.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Crashes the channel because of an unknown event, as Phoenix does when no clause of `handle_in` matches.
    ///
    /// # Errors
    /// Always.
    pub fn unhandled(&self, event: &str) -> Result {
        Err(UnhandledEvent(event.to_owned()).into())
    }

    /// Sends the channel a message. It is handled after this callback and after everything already queued.
    pub fn send_self(&self, info: C::Info) {
        // fails only if the channel is ending, which then needs no more messages
        let _ = self.mailbox.push(Item::Info(info));
    }

    /// Sends the channel a message once `delay` has passed since this call (Erlang's `Process.send_after`). It is not
    /// delivered if the channel is ending by then.
    ///
    /// ```
    /// # use hinotori::{Channel, ConnectInfo, Context, Join, Params, Payload, Refused, Reply, Routes, SocketHandler};
    /// use std::time::Duration;
    /// use hinotori::TimerRef;
    /// # struct UserSocket;
    /// # impl SocketHandler for UserSocket {
    /// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Ok(Self) }
    /// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Doc>("doc:*"); }
    /// # }
    ///
    /// /// Saves what its client has written when that has paused for a second.
    /// struct Doc {
    ///     text: String,
    ///     save: Option<TimerRef>,
    /// }
    ///
    /// struct Save;
    ///
    /// impl Channel for Doc {
    ///     type Socket = UserSocket;
    ///     type Info = Save;
    /// #     async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> hinotori::Result<Join<Self>> {
    /// #         Join::ok(Doc { text: String::new(), save: None })
    /// #     }
    ///
    ///     async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> hinotori::Result {
    ///         match event {
    ///             "write" => self.text.push_str(&payload.parse::<String>()?),
    ///             _ => return cx.unhandled(event),
    ///         }
    ///         if let Some(save) = self.save.replace(cx.send_after(Duration::from_secs(1), Save)) {
    ///             cx.cancel_timer(save);
    ///         }
    ///         Reply::none()
    ///     }
    ///
    ///     async fn handle_info(&mut self, Save: Save, cx: &mut Context<Self>) -> hinotori::Result<()> {
    ///         Ok(cx.push("saved", serde_json::json!({ "length": self.text.len() }))?)
    ///     }
    /// }
    /// # #[cfg(feature = "testing")]
    /// # actix_web::rt::System::new().block_on(async {
    /// # let endpoint = hinotori::Endpoint::new();
    /// # let mut client = hinotori::testing::ChannelTest::new(&endpoint).connect::<UserSocket>().await.unwrap();
    /// # client.subscribe_and_join("doc:1", serde_json::json!({})).await.unwrap();
    /// # for word in ["to", " ", "be"] {
    /// #     let _ = client.push("doc:1", "write", word).unwrap();
    /// # }
    /// # client.assert_push("saved", serde_json::json!({ "length": 5 })).await;
    /// # client.refute_push("saved").await;
    /// # });
    /// ```
    ///
    /// # Panics
    /// If the channel already has 10,000 pending timers. The panic crashes the channel.
    pub fn send_after(&self, delay: Duration, info: C::Info) -> TimerRef {
        self.timers.start(delay, info)
    }

    /// Sends the channel a message every `period` (at least 1 ms) until the timer is canceled or the channel ends. The
    /// timer keeps its schedule: if a callback takes so long that messages are overdue, they are skipped. At most one
    /// is waiting at any time.
    ///
    /// # Panics
    /// Same as [`Context::send_after`].
    pub fn send_every(&self, period: Duration, info: C::Info) -> TimerRef
    where
        C::Info: Clone,
    {
        self.timers.start_every(period, info)
    }

    /// Cancels one of this channel's timers: no more of its messages are handled. Returns the time that was left, or
    /// `None` if the timer has fired or was already canceled (Erlang's `Process.cancel_timer`).
    pub fn cancel_timer(&self, timer: TimerRef) -> Option<Duration> {
        self.timers.cancel(timer)
    }

    /// A handle with which other tasks and threads send this channel messages and observe its end.
    #[must_use]
    pub fn handle(&self) -> Handle<C::Info> {
        let inlet: Weak<dyn Inlet<C::Info>> = Arc::downgrade(&self.mailbox) as _;
        Handle::new(inlet, self.membership.key())
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    fn assert_joined(&self) -> std::result::Result<(), PayloadError> {
        if self.joined { Ok(()) } else { Err(PayloadError::NotJoined) }
    }
}

impl<C: Channel> Keyed for Context<C> {
    fn key(&self) -> SubscriberKey {
        self.membership.key()
    }
}

impl<C: Channel> fmt::Debug for Context<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("topic", &self.topic()).finish_non_exhaustive()
    }
}
