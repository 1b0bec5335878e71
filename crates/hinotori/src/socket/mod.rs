//! Sockets: a client's connection, and the application's callbacks for it.
//!
//! # Source
//! Phoenix `lib/phoenix/socket.ex`, 1.8.12.

mod close;
mod close_reason;
mod connect_info;
mod connecting;
mod connection;
mod connection_ref;
mod ids;
mod latest;
mod line;
mod outbox;
mod raw;
mod refused;
mod router;
mod stream;
mod trusted_proxies;

use std::future::Future;

pub use close_reason::CloseReason;
pub use connect_info::ConnectInfo;
pub(crate) use connecting::Connecting;
pub(crate) use connection::{Accepted, Connection};
pub use connection_ref::ConnectionRef;
pub use hinotori_protocol::params::Params;
pub(crate) use hinotori_protocol::rate::Verdict;
pub(crate) use hinotori_protocol::session::{ChannelId, Ended, Joined, reason};
pub(crate) use ids::Ids;
pub(crate) use line::{Limits, Line, Peer};
pub(crate) use outbox::{End, Outbox};
pub(crate) use raw::RawConnection;
pub use raw::{RawContext, RawMessage, RawSocket};
pub use refused::Refused;
pub use router::Routes;
pub(crate) use router::{Connected, Router};
pub(crate) use stream::Stream;
pub use trusted_proxies::{InvalidProxy, TrustedProxies};

/// The application's side of a socket. [`SocketHandler::connect`] creates the value, which all of the socket's channels
/// share through [`Context::socket`](crate::Context::socket) (the socket's assigns in Phoenix).
///
/// ```
/// use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};
/// # use hinotori::{Channel, Context, Join, Payload};
/// # struct Room;
/// # impl Channel for Room {
/// #     type Socket = UserSocket;
/// #     type Info = ();
/// #     async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> hinotori::Result<Join<Self>> { Join::ok(Room) }
/// #     async fn handle_in(&mut self, e: &str, _: Payload, cx: &mut Context<Self>) -> hinotori::Result { cx.unhandled(e) }
/// # }
///
/// struct UserSocket {
///     user_id: String,
/// }
///
/// impl SocketHandler for UserSocket {
///     async fn connect(params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
///         let user_id = params.get("user_id").ok_or("there is no user_id")?.to_owned();
///         Ok(Self { user_id })
///     }
///
///     fn channels(routes: &mut Routes<Self>) {
///         routes.channel::<Room>("room:*");
///     }
/// }
/// ```
pub trait SocketHandler: Sized + 'static {
    /// Handles a client's request to connect. Params come from the query string; `info` holds the rest of the request.
    ///
    /// # Errors
    /// [`Refused`] answers the request with 403, or with the status it was given, and writes its reason to the log. Any
    /// error converts to it by `?`. A panic answers the request with 500.
    fn connect(params: &Params, info: &ConnectInfo<'_>) -> impl Future<Output = Result<Self, Refused>>;

    /// A name shared by all sockets of one user, such as `users:7`, so that
    /// [`Endpoint::disconnect`](crate::Endpoint::disconnect) can close them all. `None` by default.
    fn id(&self) -> Option<String> {
        None
    }

    /// All names by which the socket can be closed, if it has several: it may belong to a user and to one of that user's
    /// sessions. [`Endpoint::disconnect`](crate::Endpoint::disconnect) with any of them closes it, and the log shows the
    /// first. Implement either this or [`id`](Self::id), which it returns by default. Called once, after `connect`.
    ///
    /// ```
    /// # use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};
    /// # struct UserSocket { user_id: u64, session_id: u64 }
    /// # impl SocketHandler for UserSocket {
    /// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Err(Refused::because("no")) }
    /// #     fn channels(_: &mut Routes<Self>) {}
    /// fn ids(&self) -> Vec<String> {
    ///     vec![format!("users:{}", self.user_id), format!("sessions:{}", self.session_id)]
    /// }
    /// # }
    /// ```
    fn ids(&self) -> Vec<String> {
        self.id().into_iter().collect()
    }

    /// Declares which channel serves which topic. Called by each worker when the server starts.
    fn channels(routes: &mut Routes<Self>);

    /// Called once when the connection has ended, before its channels (if any) terminate. It runs on the socket's
    /// worker thread and must not block; spawn a task for anything that has to wait. A panic is logged.
    fn terminate(&self, why: CloseReason) {
        let _ = why;
    }
}
