//! What a callback can reach: its client, its topic, its socket and itself.

use std::{
    fmt,
    future::{Future, poll_fn},
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    Channel, Handle, Inlet, Item, Mailbox, Membership, ReplyRef, Result, UnhandledEvent,
    command::{Command, Inbox},
    timers::Timers,
};
use crate::{
    pubsub::{Keyed, PubSub, SubscriberKey},
    wire::{IntoPayload, PayloadError, Ref},
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
///             Info::Tick => cx.send_after(Duration::from_secs(1), Info::Tick),
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
        self.assert_joined()?;
        let payload = payload.into_payload()?;
        if payload.is_json() && !payload.is_object() {
            return Err(PayloadError::NotAnObject);
        }
        self.membership.push(event, &payload);
        Ok(())
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

    /// Sends the channel a message when `delay` has passed, if it is not ending then.
    pub fn send_after(&self, delay: Duration, info: C::Info) {
        self.timers.start(delay, info);
    }

    /// A handle to send this channel messages from other tasks and threads.
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
