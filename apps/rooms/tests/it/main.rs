//! Tests of the application, without a network and with one, on both databases.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod hostile;
#[path = "../../../../tests/it/instance.rs"]
mod instance;
mod kit;
mod messages;
mod nodes;
mod permissions;
mod pictures;
mod recovery;
mod rooms;
mod search;
mod unread;
