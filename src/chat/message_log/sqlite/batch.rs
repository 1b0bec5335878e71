//! Carries commands out within a transaction.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Result};

use super::{
    super::{
        super::{
            LOBBY,
            message::{Draft, Message},
        },
        Command, Committed,
    },
    tables::{self, Head, number},
};

const INSERT: &str = "INSERT INTO messages (topic, id, body, likes, rev, posted_rev, created_at, nonce)
     VALUES (?1, ?2, ?3, 0, ?4, ?4, ?5, ?6)";

/// The commands of a transaction. Only [`finish`](Self::finish) writes how far the topic has come.
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    /// Looked up once for the whole batch.
    insert: CachedStatement<'a>,
    head: Head,
}

impl<'a> Batch<'a> {
    /// On a topic that has come to `head`.
    pub(super) fn begin(connection: &'a Connection, head: Head) -> Result<Self> {
        Ok(Self { connection, insert: connection.prepare_cached(INSERT)?, head })
    }

    pub(super) fn carry_out(&mut self, command: &Command) -> Result<Committed> {
        match command {
            Command::Post { draft, quote } => self.post(draft, quote.as_deref()),
            Command::Like { id, .. } => self.like(*id),
        }
    }

    /// Returns how far the topic has come then.
    pub(super) fn finish(self) -> Result<Head> {
        let mut update = self
            .connection
            .prepare_cached("UPDATE topics SET last_id = ?2, last_rev = ?3 WHERE topic = ?1")?;
        update.execute((LOBBY, self.head.last_id.cast_signed(), self.head.last_rev.cast_signed()))?;
        Ok(self.head)
    }

    fn post(&mut self, draft: &Draft, quote: Option<&[u8]>) -> Result<Committed> {
        if let Some(nonce) = draft.nonce()
            && let Some(id) = self.posted_as(nonce)?
        {
            return Ok(Committed::Repeated(id));
        }
        // the content of a message never changes: what the history has of it is what the table has
        let found = match (quote, draft.reply_to()) {
            (None, Some(id)) => tables::message(self.connection, id)?,
            _ => None,
        };
        let quote = quote.or(found.as_ref().map(Message::quote));
        let message = draft.message(self.head.last_id + 1, self.head.last_rev, quote);
        let (id, rev) = (message.id().cast_signed(), self.head.last_rev.cast_signed());
        self.insert.execute((LOBBY, id, message.body(), rev, draft.posted_at(), draft.nonce()))?;
        self.head.last_id += 1;
        Ok(Committed::Posted(message))
    }

    fn posted_as(&self, nonce: &str) -> Result<Option<u64>> {
        let mut select =
            self.connection.prepare_cached("SELECT id FROM messages WHERE topic = ?1 AND nonce = ?2")?;
        select.query_row((LOBBY, nonce), |row| number(row, 0)).optional()
    }

    fn like(&mut self, id: i128) -> Result<Committed> {
        let Ok(id) = i64::try_from(id) else { return Ok(Committed::NotFound) };
        // read first: one that cannot be read is not changed
        let Some(message) = tables::message(self.connection, id.into())? else {
            return Ok(Committed::NotFound);
        };
        let message = message.liked(self.head.last_rev + 1);
        let (likes, rev) = (message.likes().count.cast_signed(), message.likes().rev.cast_signed());
        let mut update = self
            .connection
            .prepare_cached("UPDATE messages SET likes = ?3, rev = ?4 WHERE topic = ?1 AND id = ?2")?;
        update.execute((LOBBY, id, likes, rev))?;
        self.head.last_rev += 1;
        Ok(Committed::Liked(message))
    }
}
