//! How clients reach their sockets.

mod frames;
mod mount;
mod origin;
mod websocket;

pub(crate) use mount::Mount;
pub use mount::SocketOptions;
pub use origin::{AllowedOrigin, CheckOrigin, InvalidOrigin};
pub(crate) use websocket::upgrade;
