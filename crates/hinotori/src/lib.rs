//! Phoenix Channels for actix-web: clients of phoenix.js stay as they are, the server is Rust.
//!
//! An application writes [`Channel`]s (what happens on a topic) and a [`SocketHandler`] (who may connect, and which channel
//! serves which topic), and mounts the socket on an ordinary actix-web `App` by an [`Endpoint`].
//!
//! A room where everybody hears everybody, whole:
//!
//! ```
//! use hinotori::{Channel, Context, Join, Payload, Reply, Result};
//!
//! struct Room;
//!
//! impl Channel for Room {
//!     type Socket = UserSocket;
//!     type Info = ();
//!
//!     async fn join(_topic: &str, _payload: Payload, _cx: &mut Context<Self>) -> Result<Join<Self>> {
//!         Join::ok(Room)
//!     }
//!
//!     async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
//!         match event {
//!             "shout" => cx.broadcast("shout", payload)?,
//!             _ => return cx.unhandled(event),
//!         }
//!         Reply::none()
//!     }
//! }
//!
//! # use hinotori::{ConnectInfo, Endpoint, Params, Refused, Routes, SocketHandler, SocketOptions};
//! struct UserSocket;
//!
//! impl SocketHandler for UserSocket {
//!     async fn connect(_params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
//!         Ok(UserSocket)
//!     }
//!
//!     fn channels(routes: &mut Routes<Self>) {
//!         routes.channel::<Room>("room:*");
//!     }
//! }
//!
//! let endpoint = Endpoint::new();
//! let app = actix_web::App::new()
//!     .configure(endpoint.socket::<UserSocket>("/socket", SocketOptions::default()));
//! ```
//!
//! # Map
//! | module | what |
//! |---|---|
//! | `wire` | the format of messages, both versions: pure functions on whole messages |
//! | `socket` | a client's connection: `session.rs` has the rules of the protocol as a state machine |
//! | `channel` | the application's code for a topic, and the actor that runs it |
//! | `pubsub` | broadcasts: one loop a worker, encoded once |
//! | `presence` | who is on a topic: [`Presence`] |
//! | `transport` | WebSockets and long polling: handshake, origins, frames |
//! | `testing` | tests of channels without a network (feature `testing`) |
//! | [`Endpoint`] | mounts, broadcasts from anywhere |
//! | [`Server`] | serves an `App` with its sockets |
//! | [`Drainer`] | how clients are sent away when the server goes down |
//! | `telemetry` | what is counted; metrics of your own go to [`Endpoint::registry`] |
//! | `ops` | `/healthz`, `/readyz`, `/metrics`: [`Endpoint::ops`] |
//! | [`Certificate`] | TLS without a proxy, with a certificate that can be renewed |
//! | [`TrustedProxies`] | who a client is behind a proxy |
//! | [`Token`] | what a client carries, signed |
//! | [`supervise`] | actors that survive a panic |
//! | [`chat`] | the chat of the program `realtime-chat`, on the public API alone |

pub(crate) use hinotori_protocol::wire;

mod channel;
mod drainer;
mod endpoint;
mod ops;
mod presence;
mod pubsub;
mod server;
mod socket;
pub mod supervise;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tls;
mod token;
mod transport;

pub use channel::{BoxError, Channel, Context, Exit, Handle, Join, Reply, ReplyRef, Result};
pub use drainer::Drainer;
pub use endpoint::{Endpoint, on_connect};
pub use presence::{Presence, PresenceError, Presences};
pub use prometheus;
pub use pubsub::PubSub;
pub use server::Server;
pub use socket::{
    ConnectInfo, InvalidProxy, Params, RawContext, RawMessage, RawSocket, Refused, Routes, SocketHandler,
    TrustedProxies,
};
pub use tls::{Certificate, CertificateError};
pub use token::{Token, TokenError, WeakSecret};
pub use transport::{AllowedOrigin, CheckOrigin, InvalidOrigin, SocketOptions};
pub use wire::{IntoPayload, InvalidPattern, InvalidPayload, Pattern, Payload, PayloadError, Status};
