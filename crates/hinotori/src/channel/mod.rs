//! Channels: the code of an application that serves a topic.
//!
//! A channel is one client's membership in one topic: it is made when the client joins and dropped when it leaves. Its
//! callbacks run one at a time, in the order of the client's messages; no channel waits for another. Broadcasts to the
//! topic go straight to the client, past the callbacks.
//!
//! # Source
//! Phoenix `lib/phoenix/channel.ex`, 1.8.12.

mod command;
mod context;
mod handle;
mod mailbox;
mod membership;
mod reply;
mod task;
#[cfg(test)]
mod tests;
mod timers;

use std::{fmt, future::Future, time::Duration};

pub use context::Context;
pub use handle::Handle;
pub(crate) use mailbox::{Inlet, Item, Mailbox};
pub(crate) use membership::{End, JoinRequest, Membership};
pub use reply::{Exit, Join, Reply, ReplyRef};
pub(crate) use task::{chain, start};
pub use timers::TimerRef;

use crate::{socket::SocketHandler, wire::Payload};

/// Whatever went wrong in a callback. In `join` and `handle_in` an [`InvalidPayload`](crate::InvalidPayload), or an error
/// that was [caused](crate::InvalidPayload::find) by one, is answered with its text as the `reason`; any other error crashes
/// the channel, as a panic does.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What callbacks return. With two parameters it is the standard library's.
pub type Result<T = Reply, E = BoxError> = std::result::Result<T, E>;

/// One client's membership in one topic. The value holds the state of the membership (Phoenix's channel assigns).
///
/// If a callback panics or returns an error, this channel alone ends: its client gets `phx_error`, and phoenix.js joins
/// again, which makes a new value.
///
/// ```
/// # use hinotori::{Channel, Context, Join, Payload, Reply, Routes, SocketHandler};
/// # struct UserSocket;
/// # impl SocketHandler for UserSocket {
/// #     async fn connect(_: &hinotori::Params, _: &hinotori::ConnectInfo<'_>) -> Result<Self, hinotori::Refused> {
/// #         Ok(Self)
/// #     }
/// #     fn channels(routes: &mut Routes<Self>) {
/// #         routes.channel::<Counter>("counter:*");
/// #     }
/// # }
/// struct Counter(u64);
///
/// impl Channel for Counter {
///     type Socket = UserSocket;
///     type Info = ();
///
///     async fn join(_topic: &str, _payload: Payload, _cx: &mut Context<Self>) -> hinotori::Result<Join<Self>> {
///         Join::ok(Counter(0))
///     }
///
///     async fn handle_in(&mut self, event: &str, _payload: Payload, cx: &mut Context<Self>) -> hinotori::Result {
///         match event {
///             "count" => {
///                 self.0 += 1;
///                 Reply::ok(serde_json::json!({ "count": self.0 }))
///             }
///             _ => cx.unhandled(event),
///         }
///     }
/// }
/// ```
// every future of a socket stays on its worker's thread, so none has to be Send
pub trait Channel: Sized + 'static {
    /// The socket on which this channel is mounted; its value is [`Context::socket`].
    type Socket: SocketHandler;
    /// Messages from timers, other tasks and the channel itself; see [`Context::handle`]. `()` if there are none.
    type Info: Send + 'static;

    /// Events that are not broadcast to this channel's client as they are, but go through [`Channel::handle_out`]. None by
    /// default: a broadcast is then written once for all clients, past their channels.
    const INTERCEPT: &'static [&'static str] = &[];

    /// How long a callback may go on after the client has left, has joined again or is gone; then its future is dropped, and
    /// [`Channel::terminate`] runs, which may take as long again. 5 s by default, as in Phoenix. A join of the same topic
    /// starts when the former channel has ended, or after this time. [`Context::closed`] tells a callback that it should
    /// come to its end.
    const SHUTDOWN: Duration = Duration::from_secs(5);

    /// A client asks to join `topic`. Decides with [`Join::ok`], [`Join::reply`] or [`Join::refuse`].
    ///
    /// Nothing can be pushed or broadcast yet, as the client does not know of its membership: send yourself a message
    /// ([`Context::send_self`]) and do it there.
    ///
    /// # Errors
    /// [`InvalidPayload`](crate::InvalidPayload) refuses the join with its text; any other error, and a panic, is answered
    /// `join crashed`.
    fn join(
        topic: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Join<Self>>>;

    /// A message of the client. Decides with [`Reply::ok`], [`Reply::error`] or [`Reply::none`]; an event that it does not
    /// know should end in [`Context::unhandled`], as every event does by default.
    ///
    /// # Errors
    /// [`InvalidPayload`](crate::InvalidPayload) is answered with its text; any other error crashes the channel.
    fn handle_in(
        &mut self,
        event: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Reply>> {
        let _ = payload;
        async move { cx.unhandled(event) }
    }

    /// A message that was sent to this channel from within the server.
    ///
    /// # Errors
    /// Any error crashes the channel.
    fn handle_info(&mut self, info: Self::Info, cx: &mut Context<Self>) -> impl Future<Output = Result<()>> {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// A broadcast of an event of [`Channel::INTERCEPT`]: [`Context::push`] it, changed or not, or leave it out. Also called for
    /// every broadcast on the channel's own topic while the channel is [subscribed](Context::subscribe) to that once more.
    ///
    /// # Errors
    /// Any error crashes the channel.
    fn handle_out(
        &mut self,
        event: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<()>> {
        async move { Ok(cx.push(event, payload)?) }
    }

    /// A broadcast on a further topic to which the channel has [subscribed](Context::subscribe); Phoenix's `handle_info` of a
    /// `%Broadcast{}`. By default the event is pushed to the client on the channel's own topic, as Phoenix's documentation
    /// does it.
    ///
    /// # Errors
    /// Any error crashes the channel.
    fn handle_broadcast(
        &mut self,
        topic: &str,
        event: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<()>> {
        let _ = topic;
        async move { Ok(cx.push(event, payload)?) }
    }

    /// The channel ends. Also called after a callback panicked, or was dropped at an await as its [time](Self::SHUTDOWN) was
    /// over, when its state may be half changed.
    fn terminate(&mut self, exit: &Exit, cx: &mut Context<Self>) -> impl Future<Output = ()> {
        let _ = (exit, cx);
        async {}
    }
}

/// An event that no part of `handle_in` knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnhandledEvent(pub(crate) String);

impl fmt::Display for UnhandledEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {:?} is not handled", self.0)
    }
}

impl std::error::Error for UnhandledEvent {}
