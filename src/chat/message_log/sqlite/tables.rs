//! What is read from the tables and written into them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Error, OptionalExtension, Result, types::Type};

use super::super::{
    super::{
        LOBBY,
        history::Limit,
        message::{Draft, Message},
    },
    Command, Committed,
};

/// Messages that are deleted in one transaction.
pub(super) const FORGOTTEN: i64 = 512;

/// Carries a command out, within a transaction.
pub(super) fn carry_out(connection: &Connection, command: &Command) -> Result<Committed> {
    match command {
        Command::Post { draft, quote } => Ok(Committed::Posted(post(connection, draft, quote.as_deref())?)),
        Command::Like { id, .. } => Ok(like(connection, *id)?.map_or(Committed::NotFound, Committed::Liked)),
    }
}

fn post(connection: &Connection, draft: &Draft, quote: Option<&[u8]>) -> Result<Message> {
    // the content of a message never changes: what the history has of it is what the table has
    let found = match (quote, draft.reply_to()) {
        (None, Some(id)) => message(connection, id)?,
        _ => None,
    };
    let mut next = connection.prepare_cached(
        "INSERT INTO topics VALUES (?1, 1, 0, random() & 0x7fffffffffffffff)
         ON CONFLICT DO UPDATE SET last_id = last_id + 1 RETURNING last_id, last_rev",
    )?;
    let (id, rev): (i64, i64) = next.query_row([LOBBY], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let message = draft.message(id.cast_unsigned(), quote.or(found.as_ref().map(Message::quote)));
    let mut insert = connection.prepare_cached("INSERT INTO messages VALUES (?1, ?2, ?3, 0, ?4, ?5)")?;
    insert.execute((LOBBY, id, message.body(), rev, draft.posted_at()))?;
    Ok(message)
}

fn message(connection: &Connection, id: i128) -> Result<Option<Message>> {
    let Ok(id) = i64::try_from(id) else { return Ok(None) };
    let mut select =
        connection.prepare_cached("SELECT body, likes FROM messages WHERE topic = ?1 AND id = ?2")?;
    select.query_row((LOBBY, id), |row| decode(id, &row.get::<_, String>(0)?, row.get(1)?)).optional()
}

fn like(connection: &Connection, id: i128) -> Result<Option<Message>> {
    let Ok(id) = i64::try_from(id) else { return Ok(None) };
    let mut like = connection.prepare_cached(
        "UPDATE messages SET likes = likes + 1, rev = (SELECT last_rev + 1 FROM topics WHERE topic = ?1)
         WHERE topic = ?1 AND id = ?2 RETURNING body, likes",
    )?;
    let liked =
        like.query_row((LOBBY, id), |row| decode(id, &row.get::<_, String>(0)?, row.get(1)?)).optional()?;
    if liked.is_some() {
        connection
            .prepare_cached("UPDATE topics SET last_rev = last_rev + 1 WHERE topic = ?1")?
            .execute([LOBBY])?;
    }
    Ok(liked)
}

/// The newest messages within a limit, the oldest of them first.
pub(super) fn newest(connection: &Connection, limit: Limit) -> Result<Vec<Message>> {
    let mut select =
        connection.prepare("SELECT id, body, likes FROM messages WHERE topic = ?1 ORDER BY id DESC")?;
    let mut rows = select.query([LOBBY])?;
    let (mut newest, mut bytes) = (Vec::new(), 0);
    while newest.len() < limit.messages
        && let Some(row) = rows.next()?
    {
        let message = decode(row.get(0)?, &row.get::<_, String>(1)?, row.get(2)?)?;
        bytes += message.json().len();
        if bytes > limit.bytes {
            break;
        }
        newest.push(message);
    }
    newest.reverse();
    Ok(newest)
}

fn decode(id: i64, body: &str, likes: i64) -> Result<Message> {
    Message::from_body(id.cast_unsigned(), body, likes.cast_unsigned()).ok_or_else(|| {
        let why = format!("message {id} has a body that this program did not write");
        Error::FromSqlConversionFailure(0, Type::Text, why.into())
    })
}

/// Deletes some of the oldest messages beyond so many. True if there may be more of them.
pub(super) fn forget_beyond(connection: &Connection, most: u64) -> Result<bool> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM messages WHERE topic = ?1
               AND id <= (SELECT last_id FROM topics WHERE topic = ?1) - ?2
               AND id IN (SELECT id FROM messages WHERE topic = ?1 ORDER BY id LIMIT ?3)",
        )?
        .execute((LOBBY, i64::try_from(most).unwrap_or(i64::MAX), FORGOTTEN))?;
    Ok(deleted == FORGOTTEN as usize)
}

/// Deletes some of the oldest messages if they are older. True if there may be more of them.
pub(super) fn forget_older(connection: &Connection, age: Duration) -> Result<bool> {
    let since = SystemTime::now().checked_sub(age).and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    let since = i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
    let deleted = connection
        .prepare_cached(
            "DELETE FROM messages WHERE topic = ?1 AND created_at < ?2
               AND id IN (SELECT id FROM messages WHERE topic = ?1 ORDER BY id LIMIT ?3)",
        )?
        .execute((LOBBY, since, FORGOTTEN))?;
    Ok(deleted == FORGOTTEN as usize)
}
