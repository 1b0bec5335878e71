//! The program as a process: keys, addresses, HTTP, and what no client would send.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "not every test uses all of it")]
#[path = "../../../../tests/it/client.rs"]
mod client;
#[allow(dead_code, reason = "not every test uses all of it")]
#[path = "../../../../tests/it/frame.rs"]
mod frame;
#[allow(dead_code, reason = "not every test uses all of it")]
#[path = "../../../../tests/it/http.rs"]
mod http;
mod messages;
#[allow(dead_code, reason = "not every test uses all of it")]
#[path = "../../../../tests/it/normal.rs"]
mod normal;
mod requests;
mod server;
mod tokens;

use std::time::Duration;

/// How long to wait for what must come. Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
