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
//! | messages that a client missed while it was away | [`recovery`] |
//! | who is on a topic | [`Presence`] |
//! | one topic's name for several groups of clients | [`Context::scope`], [`scoped_topic`] |
//! | the binary messages of Supabase's clients | [`SocketOptions::user_broadcasts`], [`UserBroadcast`] |
//! | a WebSocket with your own protocol | [`RawSocket`] |
//! | clients behind proxies | [`TrustedProxies`] |
//! | actors that survive a panic | [`supervise`] |
//!
//! # Features
//! | feature | default | what |
//! |---|---|---|
//! | `tls` | yes | TLS without a proxy: `Server::bind_tls`, `Certificate`; adds rustls and ring |
//! | `metrics` | yes | `/metrics` in the Prometheus text format, `Endpoint::registry`; adds prometheus |
//! | `cookies` | no | `ConnectInfo::cookie`; adds cookie |
//! | `tracing` | no | a `tracing` span around each callback, with the client, the topic and the event; adds no crate to those of actix-web |
//! | `phoenix-token` | no | `PhoenixToken`: verifies and signs the tokens of a Phoenix server; adds pbkdf2 |
//! | `testing` | no | the module `testing`: channel tests without a network; adds no dependency |
//!
//! # Other crates in the API
//! Signatures use types of these crates on purpose, and of no others. A new major version of one of them is a breaking change
//! of this crate.
//!
//! | crate | where | why |
//! |---|---|---|
//! | actix-web 4, with its actix-http 3 and actix-service 2 | [`Endpoint::socket`], [`Endpoint::serve`], [`Server`], [`on_connect()`], [`ConnectInfo::headers`], [`Refused::with_status`] | sockets are part of an actix-web `App` |
//! | actix 0.13 | [`supervise`] | it supervises actors of actix |
//! | bytes 1 | [`Payload::binary`], [`Payload::raw_json`], [`RawMessage::Binary`] | a payload is shared, not copied |
//! | serde 1, serde_json 1 | [`IntoPayload`], [`Payload::parse`], [`Params::as_map`], [`Presence`], [`Token`] | payloads are JSON |
//! | prometheus 0.14, as `hinotori::prometheus` | `Endpoint::registry` (feature `metrics`) | an application registers its own metrics there |
//! | rustls 0.23, as `hinotori::rustls` | `Certificate`, `Server::bind_tls`, `ConnectInfo::peer_certificate` (feature `tls`) | an application may need other settings than those of `Certificate` |
//!
//! # Systems
//! The library builds wherever actix-web does. It is developed and tested on Linux. Off Unix it stops at Ctrl+C instead of
//! SIGTERM and SIGINT; `TCP_USER_TIMEOUT` and `SO_REUSEADDR` are set only where they exist with this meaning. It compiles for
//! Windows (`x86_64-pc-windows-gnu`), but is neither run nor tested there.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub(crate) use hinotori_protocol::{reason, wire};

mod callback;
mod channel;
pub mod cluster;
mod connections;
mod drainer;
mod endpoint;
mod node;
mod ops;
mod per_thread;
#[cfg(feature = "phoenix-token")]
mod phoenix_token;
mod presence;
mod pubsub;
pub mod recovery;
mod server;
mod shutdown;
mod signals;
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
pub use ops::Check;
#[cfg(feature = "phoenix-token")]
pub use phoenix_token::{KeyDigest, KeyOptions, PhoenixToken};
pub use presence::{Presence, PresenceBuilder, PresenceDiff, PresenceError, Presences};
#[cfg(feature = "metrics")]
pub use prometheus;
pub use pubsub::{Broadcast, Lagged, PubSub, Spared, Subscription, scoped_topic};
#[cfg(feature = "tls")]
pub use rustls;
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
    PayloadObject, Status, UserBroadcast,
};

/// Compiles and runs the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
