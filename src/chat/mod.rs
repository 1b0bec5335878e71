//! The chat of the program `realtime-chat`: one lobby, and messages with replies and likes, which all clients see at
//! once.
//!
//! It is the library's first user, and uses only its public API.

mod chat_channel;
mod history;
mod message_store;
mod page;
#[cfg(test)]
mod tests;
mod user_socket;

pub(crate) use chat_channel::ChatChannel;
pub(crate) use history::Limit;
pub(crate) use message_store::{Like, Load, MessageStore, Post, StoreError};
pub(crate) use page::Page;
pub(crate) use user_socket::{Chat, UserSocket};

/// The one topic of the chat.
pub(crate) const LOBBY: &str = "chat:lobby";
