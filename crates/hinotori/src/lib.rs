//! Phoenix Channels for actix-web: phoenix.js clients connect unchanged, and the channels behind them are written in
//! Rust.
//!
//! An application implements [`Channel`] (what happens on a topic) and [`SocketHandler`] (who may connect, and which
//! channel serves which topic), and mounts the socket on an ordinary actix-web `App` with an [`Endpoint`].
//!
//! In this room, every client receives what any client shouts:
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
//! # Where to look
//! | for | see |
//! |---|---|
//! | what happens on a topic | [`Channel`], [`Context`], [`Reply`], [`Payload`] |
//! | who may connect | [`SocketHandler`], [`ConnectInfo`], [`Params`], [`Token`], [`CheckOrigin`] |
//! | mounting sockets, broadcasts from anywhere, `/healthz` and `/readyz` | [`Endpoint`], [`SocketOptions`] |
//! | serving an `App` with its sockets | [`Server`] |
//! | disconnecting clients at shutdown | [`Drainer`] |
//! | hearing topics in a channel, a task or an actor | [`Context::subscribe`], [`Endpoint::subscribe`], [`Subscription`] |
//! | who is on a topic | [`Presence`] |
//! | a WebSocket with your own protocol | [`RawSocket`] |
//! | clients behind proxies | [`TrustedProxies`] |
//! | actors that survive a panic | [`supervise`] |
//!
//! # Features
//! | feature | default | what |
//! |---|---|---|
//! | `tls` | yes | TLS without a proxy: `Server::bind_tls`, `Certificate`; adds rustls and ring |
//! | `metrics` | yes | `/metrics` in the Prometheus text format, `Endpoint::registry`; adds prometheus |
//! | `testing` | no | the module `testing`: channel tests without a network; adds no dependency |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub(crate) use hinotori_protocol::{reason, wire};

mod callback;
mod channel;
mod connections;
mod drainer;
mod endpoint;
mod node;
mod ops;
mod per_thread;
mod presence;
mod pubsub;
mod server;
mod shutdown;
mod socket;
pub mod supervise;
mod tasks;
mod tcp;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod transport;

pub use channel::{BoxError, Channel, Context, Exit, Handle, Join, Reply, ReplyRef, Result, TimerRef};
pub use drainer::Drainer;
pub use endpoint::{Endpoint, EndpointBuilder};
pub use presence::{Presence, PresenceBuilder, PresenceDiff, PresenceError, Presences};
#[cfg(feature = "metrics")]
pub use prometheus;
pub use pubsub::{Broadcast, Lagged, PubSub, Spared, Subscription};
pub use server::Server;
pub use socket::{
    CloseReason, ConnectInfo, ConnectionRef, InvalidProxy, Params, RawContext, RawMessage, RawSocket,
    Refused, Routes, SocketHandler, TrustedProxies,
};
pub use tcp::on_connect;
#[cfg(feature = "tls")]
pub use tls::{Certificate, CertificateError};
pub use token::{Token, TokenError, WeakSecret};
pub use transport::{AllowedOrigin, CheckOrigin, InvalidOrigin, SocketOptions};
pub use wire::{
    EventError, IntoPayload, InvalidPattern, InvalidPayload, Pattern, Payload, PayloadError, PayloadList,
    Status,
};

/// Compiles and runs the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
