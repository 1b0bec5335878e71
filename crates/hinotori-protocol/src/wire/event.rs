//! The names that the protocol reserves, and the longest name that is allowed.

/// The topic of messages to the socket itself.
pub const PHOENIX: &str = "phoenix";
/// Keeps an idle socket open; the only event of the topic [`PHOENIX`].
pub const HEARTBEAT: &str = "heartbeat";
/// A client joins a topic.
pub const PHX_JOIN: &str = "phx_join";
/// A client leaves a topic.
pub const PHX_LEAVE: &str = "phx_leave";
/// The answer to a message that carried a ref.
pub const PHX_REPLY: &str = "phx_reply";
/// A channel ended normally.
pub const PHX_CLOSE: &str = "phx_close";
/// A channel crashed; phoenix.js joins again.
pub const PHX_ERROR: &str = "phx_error";
/// Closes a socket when it is broadcast to the socket's id.
pub const DISCONNECT: &str = "disconnect";

/// The event of user broadcasts: Supabase's name for what their clients send each other.
pub const USER_BROADCAST: &str = "broadcast";

/// Bytes that a ref, a topic or an event may have. Binary frames allow 255; clients use far fewer.
pub const MAX_NAME: usize = 1024;
