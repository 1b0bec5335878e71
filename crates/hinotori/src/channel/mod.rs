//! Channels: the application code that serves a topic.
//!
//! A channel is one client's membership in one topic. It is created when the client joins and dropped when the client
//! leaves. Its callbacks run one at a time, in the order of the client's messages; channels do not wait for one
//! another. Broadcasts to the topic bypass the callbacks and go straight to the client.
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
pub(crate) use reply::Accepted;
pub use reply::{Exit, Join, Reply, ReplyRef};
pub(crate) use task::{chain, start};
pub use timers::TimerRef;

use crate::{socket::SocketHandler, wire::Payload};

/// Any error of a callback. In `join` and `handle_in`, an [`InvalidPayload`](crate::InvalidPayload), or an error
/// [caused](crate::InvalidPayload::find) by one, is sent to the client as the `reason` of an error reply. Any other
/// error crashes the channel, as a panic does.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The return type of callbacks. With both parameters given it is the same as [`std::result::Result`].
pub type Result<T = Reply, E = BoxError> = std::result::Result<T, E>;

/// One client's membership in one topic. The value is the state of that membership (the channel's assigns in Phoenix).
///
/// A callback that panics or returns an error ends this channel only. The client gets `phx_error`, and phoenix.js joins
/// again, which creates a new value.
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
// futures need not be `Send`: everything that belongs to a socket stays on its worker's thread
pub trait Channel: Sized + 'static {
    /// The socket on which this channel is mounted. Callbacks reach its value through [`Context::socket`].
    type Socket: SocketHandler;
    /// Messages from timers, from other tasks and from the channel itself; see [`Context::handle`]. Use `()` if there
    /// are none.
    type Info: Send + 'static;

    /// Events that go through [`Channel::handle_out`] instead of straight to this channel's client. Empty by default: a
    /// broadcast is then encoded once for all clients and bypasses their channels.
    const INTERCEPT: &'static [&'static str] = &[];

    /// How long a callback may keep running after the client has left, joined again or disconnected. After this time
    /// its future is dropped and [`Channel::terminate`] runs, with the same time limit. 5 s by default, as in Phoenix.
    /// If the client joins the topic again, the new join starts when the old channel has ended, or after this time. A
    /// callback can await [`Context::closed`] to learn that it should finish.
    const SHUTDOWN: Duration = Duration::from_secs(5);

    /// Handles a client's request to join `topic`. Return [`Join::ok`], [`Join::reply`], [`Join::recovered`] or
    /// [`Join::refuse`].
    ///
    /// The channel cannot push or broadcast yet, because the client is not a member until it has the reply. To do so
    /// right after the join, send yourself a message with [`Context::send_self`].
    ///
    /// # Errors
    /// [`InvalidPayload`](crate::InvalidPayload) refuses the join with the error's text as the reason. Any other error,
    /// and a panic, refuses it with `join crashed`.
    fn join(
        topic: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Join<Self>>>;

    /// Handles a message from the client. Return [`Reply::ok`], [`Reply::error`] or [`Reply::none`]. For unknown events
    /// return [`Context::unhandled`], which is what the default implementation does for every event.
    ///
    /// # Errors
    /// [`InvalidPayload`](crate::InvalidPayload) becomes an error reply with the error's text as the reason. Any other
    /// error crashes the channel.
    fn handle_in(
        &mut self,
        event: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Reply>> {
        let _ = payload;
        async move { cx.unhandled(event) }
    }

    /// Handles a message that was sent to this channel from within the server.
    ///
    /// # Errors
    /// Any error crashes the channel.
    fn handle_info(&mut self, info: Self::Info, cx: &mut Context<Self>) -> impl Future<Output = Result<()>> {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// Handles a broadcast of an event listed in [`Channel::INTERCEPT`]: [`Context::push`] it, changed or unchanged, or
    /// drop it. If the channel has also [subscribed](Context::subscribe) to its own topic, this is called for every
    /// broadcast there.
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

    /// Handles a broadcast on another topic that the channel has [subscribed](Context::subscribe) to (`handle_info`
    /// with a `%Broadcast{}` in Phoenix). By default it pushes the event to the client on the channel's own topic, like
    /// the example in Phoenix's documentation.
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

    /// Called when the channel ends. It also runs after a callback panicked, or was dropped at an await because its
    /// [time](Self::SHUTDOWN) was up; the state may then be half changed.
    fn terminate(&mut self, exit: &Exit, cx: &mut Context<Self>) -> impl Future<Output = ()> {
        let _ = (exit, cx);
        async {}
    }
}

/// An event that `handle_in` does not handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnhandledEvent(pub(crate) String);

impl fmt::Display for UnhandledEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {:?} is not handled", self.0)
    }
}

impl std::error::Error for UnhandledEvent {}
