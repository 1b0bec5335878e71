//! Sockets: one client's connection, and the application's say in it.
//!
//! # Source
//! Phoenix `lib/phoenix/socket.ex`, 1.8.12.

mod close;
mod close_reason;
mod connect_info;
mod connection;
mod connection_ref;
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
pub(crate) use connection::{Accepted, Connection};
pub use connection_ref::ConnectionRef;
pub use hinotori_protocol::params::Params;
pub(crate) use hinotori_protocol::rate::Verdict;
pub(crate) use hinotori_protocol::session::{ChannelId, Ended, Joined, reason};
pub(crate) use line::{Limits, Line, Peer};
pub(crate) use outbox::{End, Outbox};
pub(crate) use raw::RawConnection;
pub use raw::{RawContext, RawMessage, RawSocket};
pub use refused::Refused;
pub use router::Routes;
pub(crate) use router::{Connected, Router};
pub(crate) use stream::Stream;
pub use trusted_proxies::{InvalidProxy, TrustedProxies};

/// The application's side of a socket. Its value, made by [`SocketHandler::connect`], is what the socket's channels share
/// (Phoenix's socket assigns), in [`Context::socket`](crate::Context::socket).
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
    /// A client connects. Params come from the query string, all else of the request from `info`.
    ///
    /// # Errors
    /// [`Refused`] answers the request with 403, or the status that it has, and writes its reason to the log; any error
    /// becomes one by `?`. A panic answers it with 500.
    fn connect(params: &Params, info: &ConnectInfo<'_>) -> impl Future<Output = Result<Self, Refused>>;

    /// A name that the sockets of one user share, such as `users:7`: [`Endpoint::disconnect`](crate::Endpoint::disconnect)
    /// closes them all. None by default.
    fn id(&self) -> Option<String> {
        None
    }

    /// Which channel serves which topic. Called when the server starts, by each of its workers.
    fn channels(routes: &mut Routes<Self>);

    /// The connection has ended: called once for each socket, before its channels terminate, of which there may be none. It
    /// runs on the socket's worker, so it must not block; spawn a task for what has to wait. A panic is logged.
    fn terminate(&self, why: CloseReason) {
        let _ = why;
    }
}
