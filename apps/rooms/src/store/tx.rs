//! One transaction.

use std::{fmt, num::NonZeroU64};

use hinotori::{Endpoint, IntoPayload, Payload};

use super::{DbError, Dialect, Row, Session, Value};

/// A transaction, on a thread of the store.
pub struct Tx<'a> {
    session: &'a mut dyn Session,
    broadcasts: Vec<Broadcast>,
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

/// What is sent when the transaction is committed.
pub(super) enum Broadcast {
    Event { position: Option<NonZeroU64>, topic: String, event: &'static str, payload: Payload },
    Disconnect(String),
}

impl Broadcast {
    pub(super) fn send(self, endpoint: &Endpoint) {
        let sent = match self {
            Self::Event { position: Some(position), topic, event, payload } => {
                endpoint.broadcast_at(position, &topic, event, payload)
            }
            Self::Event { position: None, topic, event, payload } => {
                endpoint.broadcast(&topic, event, payload)
            }
            Self::Disconnect(id) => {
                endpoint.disconnect(&id);
                Ok(())
            }
        };
        if let Err(error) = sent {
            log::error!("event=not_broadcast why={:?}", error.to_string());
        }
    }
}

impl<'a> Tx<'a> {
    pub(super) fn new(session: &'a mut dyn Session) -> Self {
        Self { session, broadcasts: vec![] }
    }

    pub(super) fn into_broadcasts(self) -> Vec<Broadcast> {
        self.broadcasts
    }

    /// Runs a statement with the placeholders `$1`, `$2`, …, and returns its rows.
    ///
    /// # Errors
    /// [`DbError`]. The transaction must then fail, too.
    pub fn query(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        self.session.query(sql, values)
    }

    /// The same for a statement that has one row, or none.
    ///
    /// # Errors
    /// As [`Tx::query`].
    pub fn query_one(&mut self, sql: &'static str, values: &[Value]) -> Result<Option<Row>, DbError> {
        Ok(self.session.query(sql, values)?.into_iter().next())
    }

    /// The same for a statement whose rows are not needed.
    ///
    /// # Errors
    /// As [`Tx::query`].
    pub fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<(), DbError> {
        self.session.query(sql, values).map(drop)
    }

    /// Which database it is, for the few statements that differ.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.session.dialect()
    }

    /// Broadcasts an event once the transaction is committed.
    pub fn broadcast(&mut self, topic: String, event: &'static str, payload: impl IntoPayload) {
        self.announce(None, topic, event, payload);
    }

    /// The same for an event that has a position among those of its topic.
    pub fn broadcast_at(
        &mut self,
        position: i64,
        topic: String,
        event: &'static str,
        payload: impl IntoPayload,
    ) {
        self.announce(position.try_into().ok().and_then(NonZeroU64::new), topic, event, payload);
    }

    /// Closes sockets by their id once the transaction is committed, on all nodes.
    pub fn disconnect(&mut self, id: String) {
        self.broadcasts.push(Broadcast::Disconnect(id));
    }

    fn announce(
        &mut self,
        position: Option<NonZeroU64>,
        topic: String,
        event: &'static str,
        payload: impl IntoPayload,
    ) {
        match payload.into_payload() {
            Ok(payload) => self.broadcasts.push(Broadcast::Event { position, topic, event, payload }),
            Err(error) => log::error!("event=not_broadcast why={:?}", error.to_string()),
        }
    }
}
