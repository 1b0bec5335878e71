//! Why the store did not do what it was asked.

use std::{error::Error, fmt};

use actix::MailboxError;
use hinotori::{PayloadError, supervise::Crashed};

use super::message_log::{Busy, LogError};

/// Why the store did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// It crashed on the message, which may have been carried out in part. All its other data is unchanged.
    Crashed(Crashed),
    /// It is gone, or its queue is.
    Mailbox(MailboxError),
    /// The message cannot be encoded as JSON.
    Payload(PayloadError),
    /// Too many commands wait to be written. Nothing was done.
    Busy,
    /// The write failed. Nothing was done.
    Log(LogError),
    /// The write did not begin in time. Nothing was done, and nothing will be.
    Late,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed(_) | Self::Mailbox(_) | Self::Payload(_) => {
                f.write_str("the message store did not answer")
            }
            Self::Busy => f.write_str("too many messages wait to be written"),
            Self::Log(_) => f.write_str("the message store could not write"),
            Self::Late => f.write_str("the message store could not write in time"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Crashed(error) => Some(error),
            Self::Mailbox(error) => Some(error),
            Self::Payload(error) => Some(error),
            Self::Log(error) => Some(error),
            Self::Busy | Self::Late => None,
        }
    }
}

impl From<Crashed> for StoreError {
    fn from(error: Crashed) -> Self {
        Self::Crashed(error)
    }
}

impl From<MailboxError> for StoreError {
    fn from(error: MailboxError) -> Self {
        Self::Mailbox(error)
    }
}

impl From<PayloadError> for StoreError {
    fn from(error: PayloadError) -> Self {
        Self::Payload(error)
    }
}

impl From<LogError> for StoreError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<Busy> for StoreError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}
