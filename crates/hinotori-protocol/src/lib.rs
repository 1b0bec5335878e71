//! The Phoenix Channels protocol without I/O: for servers, clients and proxies that speak it.
//!
//! Nothing here has a clock, a runtime, a network or a log. Bytes and events go in, values come out, and the caller carries
//! out what they say. The crate `hinotori` is a server on top of it.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | what one message says, and back: versions 1 and 2, text and binary |
//! | [`frames`] | WebSocket frames to whole messages, within limits |
//! | [`session`] | the rules of joins, leaves, refs and crashes, as a state machine |
//! | [`rate`] | how many messages a client may send |
//! | [`params`] | connect params: what a query string says |
//! | [`reason`] | why a client is refused or disconnected, with the close codes |
//! | [`token`] | what a client carries, signed |
//! | `phoenix_token` | the same as a Phoenix server signs it, with the feature `phoenix-token` |
//! | `term` | Erlang terms, with the feature `phoenix-token` |
//!
//! # Source
//! Phoenix 1.8.12; each module names its files. RFC 6455 for frames and close codes.

pub mod frames;
pub mod params;
#[cfg(feature = "phoenix-token")]
pub mod phoenix_token;
pub mod rate;
pub mod reason;
pub mod session;
#[cfg(feature = "phoenix-token")]
pub mod term;
pub mod token;
pub mod wire;

/// The code of the README is compiled and run as the code here is.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
