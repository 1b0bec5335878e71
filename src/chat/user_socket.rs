//! The chat's socket: anyone may connect.

use actix::Addr;
use actix_web::web::Data;

use super::{ChatChannel, LOBBY, MessageStore};
use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};

/// What every socket of the chat needs; the program puts it into its `App`, as `app_data` of a
/// [`Data`], which all sockets share.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    /// The store of the messages.
    pub(crate) store: Addr<MessageStore>,
    /// Characters (Unicode scalar values) that a message may have.
    pub(crate) message_max: usize,
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
