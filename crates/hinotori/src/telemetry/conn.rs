//! The name of a connection in the log.

use std::fmt;

use super::Quoted;
use crate::pubsub::SubscriberKey;

/// A connection's number, followed by the socket's id if it has one: `7 id="users:1"`. Written as `conn={conn}`, so
/// each log line of a connection has both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conn<'a> {
    pub(crate) number: SubscriberKey,
    pub(crate) id: Option<&'a str>,
}

impl fmt::Display for Conn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)?;
        match self.id {
            Some(id) => write!(f, " id={}", Quoted(id)),
            None => Ok(()),
        }
    }
}
