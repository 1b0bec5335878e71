//! The chat's socket: anyone may connect.

use actix::Addr;
use actix_web::web::Data;

use super::{ChatChannel, LOBBY, Like, MessageStore, Post, StoreError};
use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};

/// What every socket of the chat needs. The program adds it to its `App` with `app_data`, as a [`Data`] that all
/// sockets share.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    /// The store of the messages.
    pub(crate) store: Addr<MessageStore>,
    /// The maximum length of a message in characters (Unicode scalar values).
    pub(crate) message_max: usize,
}

impl Chat {
    /// Adds a message, waits until everyone has been told, and returns its id.
    ///
    /// # Errors
    /// [`StoreError`] if nobody has been, nor will be; after 5 s at the latest, unless the disk hangs.
    pub(super) async fn post(&self, post: Post) -> Result<Option<u64>, StoreError> {
        self.store.send(post).await??.outcome().await
    }

    /// Adds a like, waits until everyone has been told, and returns the id of the message; none if there is no such message.
    ///
    /// # Errors
    /// As [`Chat::post`].
    pub(super) async fn like(&self, like: Like) -> Result<Option<u64>, StoreError> {
        self.store.send(like).await??.outcome().await
    }
}

/// One client of the chat.
#[derive(Debug)]
pub(crate) struct UserSocket {
    pub(super) chat: Data<Chat>,
}

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self { chat: info.data::<Data<Chat>>()?.clone() })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<ChatChannel>(LOBBY);
    }
}
