//! The chat of the program `realtime-chat`: one lobby, messages with replies and likes, everyone seeing each at once.
//!
//! It is the library's first user and reaches it by its public API alone.

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
