//! What a callback can reach: its client, its topic, its socket and itself.

use std::{fmt, rc::Rc, time::Duration};

use actix::{Recipient, WeakAddr, WeakRecipient};

use super::{
    Channel, ChannelActor, Link, ReplyRef, Result, UnhandledEvent,
    actor::{Info, Later},
};
use crate::{
    pubsub::PubSub,
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
/// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Err(Refused) }
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
    link: Rc<Link>,
    /// Weak, as the connection holds the actor: a strong one would cost three allocations more.
    actor: WeakAddr<ChannelActor<C>>,
    pub(super) joined: bool,
    /// The ref of the message being handled.
    pub(super) reference: Option<Ref>,
    /// Set by [`Context::stop`].
    pub(super) stopped: bool,
}

impl<C: Channel> Context<C> {
    pub(super) fn new(socket: Rc<C::Socket>, link: Rc<Link>, actor: WeakAddr<ChannelActor<C>>) -> Self {
        Self { socket, link, actor, joined: false, reference: None, stopped: false }
    }

    /// The topic that was joined.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.link.topic()
    }

    /// The socket, as its `connect` made it (Phoenix's socket assigns).
    #[must_use]
    pub fn socket(&self) -> &C::Socket {
        &self.socket
    }

    /// Publish and subscribe of the server, for other topics than this one.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        self.link.pubsub()
    }

    /// Sends an event to this client alone.
    ///
    /// # Errors
    /// [`PayloadError`] if the payload is neither bytes nor a JSON object, or if the channel is not joined yet.
    pub fn push(&self, event: &str, payload: impl IntoPayload) -> std::result::Result<(), PayloadError> {
        self.assert_joined()?;
        let payload = payload.into_payload()?;
        if payload.as_json().is_some() && !payload.is_object() {
            return Err(PayloadError::NotAnObject);
        }
        self.link.push(event, &payload);
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
        self.pubsub().broadcast_from(self.link.key(), self.topic(), event, payload)
    }

    /// The right to answer the message being handled later, from anywhere; return [`Reply::none`](super::Reply::none) now. There is none
    /// outside of `handle_in`.
    #[must_use]
    pub fn reply_ref(&self) -> Option<ReplyRef> {
        let reference = self.reference.clone()?;
        Some(ReplyRef { channel: self.actor.clone().recipient(), reference })
    }

    /// Ends the channel after this callback; a reply that the callback returns goes out first.
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

    /// Sends the channel a message, handled after this callback.
    pub fn send_self(&self, info: C::Info) {
        if let Some(actor) = self.actor.upgrade() {
            actor.do_send(Info(info));
        }
    }

    /// Sends the channel a message when `delay` has passed since the end of this callback, if it still lives then.
    pub fn send_after(&self, delay: Duration, info: C::Info) {
        if let Some(actor) = self.actor.upgrade() {
            actor.do_send(Later { delay, info });
        }
    }

    /// A handle to send this channel messages from other tasks and threads.
    #[must_use]
    pub fn handle(&self) -> Handle<C::Info> {
        Handle(self.actor.clone().recipient())
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    fn assert_joined(&self) -> std::result::Result<(), PayloadError> {
        if self.joined { Ok(()) } else { Err(PayloadError::NotJoined) }
    }
}

impl<C: Channel> fmt::Debug for Context<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("topic", &self.topic()).finish_non_exhaustive()
    }
}

/// Sends messages to one channel's `handle_info`. Cheap to clone, usable from any thread.
pub struct Handle<I: Send + 'static>(WeakRecipient<Info<I>>);

impl<I: Send + 'static> Handle<I> {
    pub(crate) fn new(recipient: WeakRecipient<Info<I>>) -> Self {
        Self(recipient)
    }

    /// Sends a message. Returns it if the channel has ended.
    ///
    /// # Errors
    /// The message itself, when the channel has ended.
    pub fn send(&self, info: I) -> std::result::Result<(), I> {
        match self.0.upgrade().filter(Recipient::connected) {
            Some(recipient) => {
                recipient.do_send(Info(info));
                Ok(())
            }
            None => Err(info),
        }
    }
}

impl<I: Send + 'static> Clone for Handle<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: Send + 'static> fmt::Debug for Handle<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}
