//! Phoenix Channels for actix-web: phoenix.js clients connect unchanged, the server is Rust.
//!
//! An application implements [`Channel`] (what happens on a topic) and [`SocketHandler`] (who may connect, and which channel
//! serves which topic), and mounts the socket on an ordinary actix-web `App` by an [`Endpoint`].
//!
//! A room where everybody hears everybody:
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
//! | who is on a topic | [`Presence`] |
//! | a WebSocket with a protocol of its own | [`RawSocket`] |
//! | clients behind proxies | [`TrustedProxies`] |
//! | actors that survive a panic | [`supervise`] |
//!
//! # Features
//! | feature | default | what |
//! |---|---|---|
//! | `tls` | yes | TLS without a proxy: `Server::bind_tls`, `Certificate`; adds rustls and ring |
//! | `metrics` | yes | `/metrics` in Prometheus' text format, `Endpoint::registry`; adds prometheus |
//! | `cookies` | no | `ConnectInfo::cookie`; adds cookie |
//! | `tracing` | no | a `tracing` span around each callback, with the client, the topic and the event; adds no crate to those of actix-web |
//! | `phoenix-token` | no | `PhoenixToken`: tokens that a Phoenix server signs and verifies; adds pbkdf2 |
//! | `testing` | no | the module `testing`: tests of channels without a network; adds no dependency |
//!
//! # Other crates in the API
//! Types of these crates are in signatures on purpose; no others are. A new major version of one of them is a breaking change
//! here.
//!
//! | crate | where | why |
//! |---|---|---|
//! | actix-web 4, with its actix-http 3 and actix-service 2 | [`Endpoint::socket`], [`Endpoint::serve`], [`Server`], [`on_connect()`], [`ConnectInfo::headers`], [`Refused::with_status`] | the library is a part of an actix-web `App` |
//! | actix 0.13 | [`supervise`] | it is for actors of actix |
//! | bytes 1 | [`Payload::binary`], [`Payload::raw_json`], [`RawMessage::Binary`] | a payload is shared, not copied |
//! | serde 1, serde_json 1 | [`IntoPayload`], [`Payload::parse`], [`Params::as_map`], [`Presence`], [`Token`] | payloads are JSON |
//! | prometheus 0.14, as `hinotori::prometheus` | `Endpoint::registry` (feature `metrics`) | an application's metrics stand beside those of the library |
//! | rustls 0.23, as `hinotori::rustls` | `Certificate`, `Server::bind_tls`, `ConnectInfo::peer_certificate` (feature `tls`) | an application may need other settings than those of `Certificate` |
//!
//! # Systems
//! The library builds where actix-web does, and is developed and tested on Linux. Off Unix it stops at Ctrl+C instead of
//! SIGTERM and SIGINT; `TCP_USER_TIMEOUT` and `SO_REUSEADDR` are set where they exist and mean the same. It compiles for
//! Windows (`x86_64-pc-windows-gnu`); nobody has run it there.

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
#[cfg(feature = "phoenix-token")]
mod phoenix_token;
mod presence;
mod pubsub;
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

pub use channel::{BoxError, Channel, Context, Exit, Handle, Join, Reply, ReplyRef, Result};
pub use drainer::Drainer;
pub use endpoint::{Endpoint, EndpointBuilder};
#[cfg(feature = "phoenix-token")]
pub use phoenix_token::{KeyDigest, KeyOptions, PhoenixToken};
pub use presence::{Presence, PresenceError, Presences};
#[cfg(feature = "metrics")]
pub use prometheus;
pub use pubsub::PubSub;
#[cfg(feature = "tls")]
pub use rustls;
pub use server::Server;
pub use socket::{
    ConnectInfo, InvalidProxy, Params, RawContext, RawMessage, RawSocket, Refused, Routes, SocketHandler,
    TrustedProxies,
};
pub use tcp::on_connect;
#[cfg(feature = "tls")]
pub use tls::{Certificate, CertificateError};
pub use token::{Token, TokenError, WeakSecret};
pub use transport::{AllowedOrigin, CheckOrigin, InvalidOrigin, SocketOptions};
pub use wire::{
    IntoPayload, InvalidPattern, InvalidPayload, Pattern, Payload, PayloadError, PayloadList, Status,
};

/// The code of the README is compiled and run as the code here is.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
