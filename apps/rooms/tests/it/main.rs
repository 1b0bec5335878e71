//! Tests of the application, without a network and with one, on both databases.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
#[allow(dead_code, reason = "not every test uses all of it")]
#[path = "../../../../tests/it/folder.rs"]
mod folder;
mod hostile;
#[allow(dead_code, reason = "not every test uses all of it")]
#[path = "../../../../tests/it/http.rs"]
mod http;
#[path = "../../../../tests/it/instance.rs"]
mod instance;
mod kit;
mod messages;
mod nodes;
mod permissions;
mod pictures;
mod process;
mod recovery;
mod rooms;
mod search;
#[allow(dead_code, reason = "not every test uses all of it")]
#[path = "../../../../tests/it/server.rs"]
mod server;
mod unread;

use std::time::Duration;

/// How long to wait for what must come. Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
