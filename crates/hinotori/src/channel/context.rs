//! What a callback can reach: its client, its topic, its socket and itself.

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
    socket::ConnectionRef,
    wire::{IntoPayload, Payload, PayloadError, Ref},
};

/// Beside the channel's own state in each of its callbacks; Phoenix's `socket` there.
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
            reference: None,
            stopped: false,
        }
    }

    /// The topic that was joined.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.membership.topic()
    }

    /// The socket, as its `connect` made it (Phoenix's socket assigns).
    #[must_use]
    pub fn socket(&self) -> &C::Socket {
        &self.socket
    }

    /// The connection of this client.
    #[must_use]
    pub fn connection(&self) -> ConnectionRef<'_> {
        ConnectionRef::new(self.membership.line())
    }

    /// Publish and subscribe of the server, for other topics than this one.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        &self.membership.node().pubsub
    }

    /// Sends an event to this client alone.
    ///
    /// # Errors
    /// [`PayloadError`] if the payload is neither bytes nor a JSON object, or if the channel is not joined yet.
    pub fn push(&self, event: &str, payload: impl IntoPayload) -> std::result::Result<(), PayloadError> {
        self.membership.push(event, &self.pushable(payload)?);
        Ok(())
    }

    /// Sends an event of which only the newest counts to this client alone. As long as the client keeps up with reading, this is
    /// [`push`](Context::push). While it does not, the newest for each `key` of the channel is kept, at most a quarter of
    /// [`outbox_limit`](crate::SocketOptions::outbox_limit) in all, and sent once the client has taken all that waits for it,
    /// in no order with other messages. It is never cut off for these.
    ///
    /// # Errors
    /// As [`Context::push`].
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

    /// Sends an event to all who have joined the topic, this client included. Those on this worker thread have it in
    /// their queues before the call returns, so it comes before a reply of the same callback, unless it is intercepted.
    ///
    /// # Errors
    /// As [`Context::push`].
    pub fn broadcast(&self, event: &str, payload: impl IntoPayload) -> std::result::Result<(), PayloadError> {
        self.assert_joined()?;
        self.pubsub().broadcast(self.topic(), event, payload)
    }

    /// Sends an event to all who have joined the topic but this client.
    ///
    /// # Errors
    /// As [`Context::push`].
    pub fn broadcast_from(
        &self,
        event: &str,
        payload: impl IntoPayload,
    ) -> std::result::Result<(), PayloadError> {
        self.assert_joined()?;
        self.pubsub().broadcast_from(self, self.topic(), event, payload)
    }

    /// Subscribes the channel itself to a topic, served by the socket or not. All that is broadcast there comes to
    /// [`Channel::handle_broadcast`], presence diffs too; what is broadcast during a callback comes after it, and after its
    /// reply. The client is not joined there and notices nothing.
    ///
    /// A channel that is subscribed several times to a topic hears each broadcast as many times. Subscribed to its own topic,
    /// which its client receives anyway, the channel hears it in [`Channel::handle_out`]. Subscriptions end with the
    /// channel. Broadcasts that wait for the channel count as intercepted ones do: once they are more than
    /// [`SocketOptions::outbox_limit`](crate::SocketOptions::outbox_limit), the client is cut off.
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

    /// Ends all subscriptions of the channel to a topic; does nothing if there are none. What was broadcast before is still
    /// heard. For the channel's own topic this includes the subscription that the join made: the client stays joined, but no
    /// broadcast reaches it until it joins again.
    pub fn unsubscribe(&self, topic: &str) {
        self.membership.unsubscribe_from(topic);
    }

    /// Sends an event of which only the newest counts to all who have joined the topic but this client, such as where its cursor
    /// is or that it types: those who do not keep up with reading get the newest for each `key` alone, as in
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
    /// As [`Context::push`].
    pub fn broadcast_latest_from(
        &self,
        key: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> std::result::Result<(), PayloadError> {
        self.assert_joined()?;
        self.pubsub().broadcast_latest_from(self, key, self.topic(), event, payload)
    }

    /// The right to answer the message being handled later, from anywhere; return [`Reply::none`](super::Reply::none) now. There is none
    /// outside of `handle_in`.
    #[must_use]
    pub fn reply_ref(&self) -> Option<ReplyRef> {
        let reference = self.reference.clone()?;
        let channel: Weak<dyn Inbox> = Arc::downgrade(&self.mailbox) as _;
        Some(ReplyRef { channel, reference })
    }

    /// Ready when the channel is to end: its client has left, has joined again or is gone. A callback that takes long should
    /// come to its end then, before it is [dropped](Channel::SHUTDOWN). The future does not borrow the context, so that it can be
    /// awaited beside anything else.
    pub fn closed(&self) -> impl Future<Output = ()> + use<C> {
        let membership = self.membership.clone();
        poll_fn(move |cx| membership.poll_ending(cx))
    }

    /// Ends the channel after this callback, also after `join`; a reply that the callback returns goes out first.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// For an event that the channel does not know: crashes it, as Phoenix does where no clause of `handle_in` matches.
    ///
    /// # Errors
    /// Always.
    pub fn unhandled(&self, event: &str) -> Result {
        Err(UnhandledEvent(event.to_owned()).into())
    }

    /// Sends the channel a message, handled after this callback and all that came before.
    pub fn send_self(&self, info: C::Info) {
        // a channel that is ending takes no more
        let _ = self.mailbox.push(Item::Info(info));
    }

    /// Sends the channel a message when `delay` has passed, counted from this call (Erlang's `Process.send_after`). A channel
    /// that is ending gets none.
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
    /// If 10,000 timers of the channel have not gone off: the channel crashes.
    pub fn send_after(&self, delay: Duration, info: C::Info) -> TimerRef {
        self.timers.start(delay, info)
    }

    /// Sends the channel a message whenever `period` has passed, at least 1 ms, until the timer is cancelled or the channel
    /// ends. It keeps its beat: messages for which the channel is too late, as a callback took long, are left out. One waits at
    /// most.
    ///
    /// # Panics
    /// As [`Context::send_after`].
    pub fn send_every(&self, period: Duration, info: C::Info) -> TimerRef
    where
        C::Info: Clone,
    {
        self.timers.start_every(period, info)
    }

    /// Cancels a timer of this channel: no message of it is handled any more. Returns how much of its time was left; nothing
    /// if it has gone off or was cancelled before (Erlang's `Process.cancel_timer`).
    pub fn cancel_timer(&self, timer: TimerRef) -> Option<Duration> {
        self.timers.cancel(timer)
    }

    /// A handle by which other tasks and threads send this channel messages, and notice its end.
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
