//! What callbacks return, and why channels end.

use std::{fmt, sync::Weak};

use super::{
    Result,
    command::{Command, Inbox},
};
use crate::{
    recovery::Recovery,
    socket::CloseReason,
    wire::{IntoPayload, Payload, Ref, Status},
};

/// The outcome of a join.
#[derive(Debug)]
pub struct Join<C>(pub(crate) std::result::Result<(C, Accepted), Payload>);

/// How a client is accepted.
#[derive(Debug)]
pub(crate) enum Accepted {
    Reply(Payload),
    Recovers(Recovery),
}

impl<C> Join<C> {
    /// Accepts the client, with the reply `{}`.
    ///
    /// # Errors
    /// None. It returns a `Result` so that it can be the last expression of a callback.
    pub fn ok(channel: C) -> Result<Self> {
        Ok(Self(Ok((channel, Accepted::Reply(Payload::empty())))))
    }

    /// Accepts the client, with a payload in the reply.
    ///
    /// # Errors
    /// [`PayloadError`](crate::PayloadError) if the payload does not serialize.
    pub fn reply(channel: C, payload: impl IntoPayload) -> Result<Self> {
        Ok(Self(Ok((channel, Accepted::Reply(payload.into_payload()?)))))
    }

    /// Accepts a client that [recovers](crate::Context::recover), with what it missed in the reply: see
    /// [`recovery`](crate::recovery). Broadcasts held since then follow the reply, except messages that it has.
    ///
    /// # Errors
    /// None. It returns a `Result` so that it can be the last expression of a callback. Without a call of
    /// [`Context::recover`](crate::Context::recover) before, the join crashes: messages could get lost.
    pub fn recovered(channel: C, recovery: Recovery) -> Result<Self> {
        Ok(Self(Ok((channel, Accepted::Recovers(recovery)))))
    }

    /// Refuses the client, with a payload in the reply, by convention `{"reason": …}`.
    ///
    /// # Errors
    /// [`PayloadError`](crate::PayloadError) if the payload does not serialize.
    pub fn refuse(payload: impl IntoPayload) -> Result<Self> {
        Ok(Self(Err(payload.into_payload()?)))
    }
}

/// The reply to a message: one now, or none yet (see [`Context::reply_ref`](super::Context::reply_ref)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub(crate) Option<(Status, Payload)>);

impl Reply {
    /// No reply from this callback.
    ///
    /// # Errors
    /// None. It returns a `Result` so that it can be the last expression of a callback.
    pub fn none() -> Result {
        Ok(Self(None))
    }

    /// A reply for `receive("ok", …)` on the client.
    ///
    /// # Errors
    /// [`PayloadError`](crate::PayloadError) if the payload does not serialize.
    pub fn ok(payload: impl IntoPayload) -> Result {
        Ok(Self(Some((Status::Ok, payload.into_payload()?))))
    }

    /// A reply for `receive("error", …)` on the client. The channel keeps running.
    ///
    /// # Errors
    /// [`PayloadError`](crate::PayloadError) if the payload does not serialize.
    pub fn error(payload: impl IntoPayload) -> Result {
        Ok(Self(Some((Status::Error, payload.into_payload()?))))
    }
}

/// Replies to one message later and from anywhere. It can be moved to another task or thread.
#[derive(Clone)]
pub struct ReplyRef {
    pub(super) channel: Weak<dyn Inbox>,
    pub(super) reference: Ref,
}

impl ReplyRef {
    /// Replies to the message; does nothing if the channel has ended.
    pub fn reply(self, reply: Reply) {
        if let (Some((status, payload)), Some(channel)) = (reply.0, self.channel.upgrade()) {
            channel.command(Command::Answer(self.reference, status, payload));
        }
    }
}

impl fmt::Debug for ReplyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyRef({:?})", self.reference)
    }
}

/// Why a channel ends.
///
/// ```
/// use hinotori::{CloseReason, Exit};
///
/// /// Whether the client may come back at any moment.
/// fn is_absence(exit: &Exit) -> bool {
///     match exit {
///         Exit::Closed(CloseReason::ByClient | CloseReason::Disconnected) => false,
///         Exit::Closed(_) | Exit::Crashed(_) => true,
///         _ => false,
///     }
/// }
///
/// assert!(is_absence(&Exit::Closed(CloseReason::Lost)));
/// assert_eq!(Exit::Closed(CloseReason::Lost).to_string(), "connection closed: lost");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// The channel stopped itself ([`Context::stop`](super::Context::stop)). The client gets `phx_close`.
    Normal,
    /// The client left.
    Left,
    /// The client joined the topic again on the same socket. A new channel replaces this one.
    Replaced,
    /// The client's connection has ended.
    Closed(CloseReason),
    /// A callback panicked or returned an error, with its message. The client gets `phx_error`.
    Crashed(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped"),
            Self::Left => f.write_str("left"),
            Self::Replaced => f.write_str("replaced by a new join"),
            Self::Closed(why) => write!(f, "connection closed: {why}"),
            Self::Crashed(why) => write!(f, "crashed: {why}"),
        }
    }
}
