//! The Phoenix Channels protocol without I/O, for servers, clients and proxies.
//!
//! This crate uses no clock, runtime, network or log. Bytes and events go in, values come out, and the caller acts on
//! them. The crate `hinotori` builds a server on it.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | decodes and encodes messages: versions 1 and 2, text and binary |
//! | [`cluster`] | what nodes of one server tell each other |
//! | [`frames`] | turns WebSocket frames into whole messages, within limits |
//! | [`session`] | the rules of joins, leaves, refs and crashes, as a state machine |
//! | [`rate`] | how many messages a client may send over time |
//! | [`params`] | connect params, parsed from a query string |
//! | [`presence`] | who is present on a topic, and the diffs that tell it |
//! | [`reason`] | why a client is refused or disconnected, with the close codes |
//! | [`token`] | signed tokens that a client carries |
//! | `phoenix_token` | the same as Phoenix signs them, with the feature `phoenix-token` |
//! | `term` | Erlang terms as JSON, with the feature `phoenix-token` |
//!
//! # Source
//! Phoenix 1.8.12; each module names its files. RFC 6455 for frames and close codes.

pub mod cluster;
pub mod frames;
pub mod params;
#[cfg(feature = "phoenix-token")]
pub mod phoenix_token;
pub mod presence;
pub mod rate;
pub mod reason;
pub mod session;
#[cfg(feature = "phoenix-token")]
pub mod term;
pub mod token;
pub mod wire;

/// Compiles and runs the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
