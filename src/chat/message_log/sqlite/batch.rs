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
    tables::{self, number},
};

const INSERT: &str = "INSERT INTO messages (topic, id, body, likes, rev, posted_rev, created_at, nonce)
     VALUES (?1, ?2, ?3, 0, ?4, ?4, ?5, ?6)";

/// How far the topic has come within a transaction. Only [`finish`](Self::finish) writes it.
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    /// Looked up once for the whole batch.
    insert: CachedStatement<'a>,
    last_id: u64,
    last_rev: u64,
}

impl<'a> Batch<'a> {
    pub(super) fn begin(connection: &'a Connection) -> Result<Self> {
        let mut topic = connection.prepare_cached("SELECT last_id, last_rev FROM topics WHERE topic = ?1")?;
        let (last_id, last_rev) = topic.query_row([LOBBY], |row| Ok((number(row, 0)?, number(row, 1)?)))?;
        Ok(Self { connection, insert: connection.prepare_cached(INSERT)?, last_id, last_rev })
    }

    pub(super) fn carry_out(&mut self, command: &Command) -> Result<Committed> {
        match command {
            Command::Post { draft, quote } => self.post(draft, quote.as_deref()),
            Command::Like { id, .. } => self.like(*id),
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        let mut update = self
            .connection
            .prepare_cached("UPDATE topics SET last_id = ?2, last_rev = ?3 WHERE topic = ?1")?;
        update.execute((LOBBY, self.last_id.cast_signed(), self.last_rev.cast_signed())).map(drop)
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
        let message = draft.message(self.last_id + 1, self.last_rev, quote);
        let (id, rev) = (message.id().cast_signed(), self.last_rev.cast_signed());
        self.insert.execute((LOBBY, id, message.body(), rev, draft.posted_at(), draft.nonce()))?;
        self.last_id += 1;
        Ok(Committed::Posted(message))
    }

    fn posted_as(&self, nonce: &str) -> Result<Option<u64>> {
        let mut select =
            self.connection.prepare_cached("SELECT id FROM messages WHERE topic = ?1 AND nonce = ?2")?;
        select.query_row((LOBBY, nonce), |row| number(row, 0)).optional()
    }

    fn like(&mut self, id: i128) -> Result<Committed> {
        let Ok(id) = i64::try_from(id) else { return Ok(Committed::NotFound) };
        let mut update = self.connection.prepare_cached(
            "UPDATE messages SET likes = likes + 1, rev = ?3 WHERE topic = ?1 AND id = ?2
             RETURNING id, body, likes, rev, posted_rev",
        )?;
        let rev = (self.last_rev + 1).cast_signed();
        let Some(message) = update.query_row((LOBBY, id, rev), tables::decode).optional()? else {
            return Ok(Committed::NotFound);
        };
        self.last_rev += 1;
        Ok(Committed::Liked(message))
    }
}
