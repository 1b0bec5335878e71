//! The servers, seen from outside: real processes on ports of their own, bytes on real connections.
//!
//! `server` starts a process and reads its log; `frame`, `client` and `http` speak to it; `replay` plays recorded
//! conversations against it. Everything else is tests, a file for each subject. Nothing here knows how the servers
//! are built: what is tested is what a client can see.
//!
//! A test waits for an event, never for a time; only a recording about timeouts keeps the pauses that it was made with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::time::Duration;

// the harness
mod chance;
mod checker;
mod client;
mod engines;
mod folder;
mod frame;
mod guest;
mod http;
mod instance;
mod member;
mod normal;
mod ordeal;
mod poller;
mod redis_instance;
mod replay;
mod request;
mod server;
mod small_disk;
mod transfer;
mod tunnel;
mod turns;
mod wire;

// what Phoenix answered
mod recordings;

// the protocol, on the example server `reference`
mod chaos;
mod cluster_cuts;
mod cluster_hangs;
mod clusters;
mod compression;
mod connections;
mod floods;
mod ghosts;
mod isolation;
mod limits;
mod namespaces;
mod network;
mod nodes;
mod paths;
mod payloads;
mod poll_nodes;
mod rate;
mod refs;
mod slow;
mod soak;
mod topics;
mod violations;

// the program `realtime-chat`
mod chat;
mod chat_nodes;
mod chat_server;
mod compose;
mod deploy;
mod descriptors;
mod drain;
mod health;
mod history;
mod log;
mod metrics;
mod nginx;
mod order;
mod origins;
mod page;
mod postgres;
mod readme;
mod settings;
mod shutdown;
mod store;
mod tls;

// what the examples show
mod everywhere;
mod examples;
mod proxies;
mod recipes;

// the packages, not the servers
mod crates;
mod phoenix_tokens;

/// How long to wait for anything that must come, before the test fails. Far above what a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
