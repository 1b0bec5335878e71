//! The chat of the program `realtime-chat`: one lobby, and messages with replies and likes, which all clients see at
//! once.
//!
//! It is the library's first user, and uses only its public API.

mod callers;
mod chat_channel;
mod follower;
mod hint;
mod history;
mod message;
mod message_log;
mod message_store;
mod page;
mod pending;
mod store_error;
#[cfg(test)]
mod tests;
mod transfer;
mod user_socket;

pub(crate) use chat_channel::ChatChannel;
pub(crate) use history::Limit;
pub(crate) use message_log::{Keep, Kind, Meters, Sharing};
pub(crate) use message_store::{Close, Like, Load, LoadBefore, MessageStore, Post, Recover};
pub(crate) use page::Page;
pub(crate) use pending::Pending;
pub(crate) use store_error::StoreError;
pub(crate) use transfer::{export, import};
pub(crate) use user_socket::{Chat, UserSocket};

/// The one topic of the chat.
pub(crate) const LOBBY: &str = "chat:lobby";
