//! How clients reach their sockets.

mod admission;
mod auth_token;
mod body;
mod connect;
mod conversation;
mod longpoll;
mod mount;
mod origin;
mod paths;
mod piped;
mod poll_body;
mod poll_passing;
mod poll_session;
mod raw;
mod takeover;
mod websocket;

pub(crate) use longpoll::answer;
pub(crate) use mount::Mount;
pub use mount::SocketOptions;
pub use origin::{AllowedOrigin, CheckOrigin, InvalidOrigin};
pub(crate) use paths::resources;
pub(crate) use piped::PIECE;
pub(crate) use poll_session::Sessions;
pub(crate) use raw::upgrade_raw;
pub(crate) use takeover::{HttpStream, TakeOver, Transport};
pub(crate) use websocket::upgrade;
