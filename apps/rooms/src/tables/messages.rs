//! Messages.

use super::values;
use crate::{
    clock,
    domain::message::{Change, Message, Picture, Quote},
    store::{DbError, Row, Tx, Value},
};

/// A message that is new.
pub(crate) struct NewMessage<'a> {
    pub(crate) room_id: &'a str,
    pub(crate) author: &'a str,
    pub(crate) text: &'a str,
    pub(crate) reply_to: Option<i64>,
    pub(crate) picture_id: Option<&'a str>,
    pub(crate) nonce: &'a str,
    pub(crate) posted_at: i64,
}

/// What a message has, and the beginning of the statements that read it. One that was deleted has no text any more.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.author, m.body, m.posted_at, m.edited_at, q.id, q.author, substr(q.body, 1, 140),
                p.id, p.width, p.height, m.reactions, m.nonce, m.room_id
            FROM messages m LEFT JOIN messages q ON q.id = m.reply_to LEFT JOIN pictures p ON p.id = m.picture_id ",
            $rest
        )
    };
}

/// Adds a message, and returns its id.
pub(crate) fn insert(tx: &mut Tx<'_>, new: &NewMessage<'_>) -> Result<i64, DbError> {
    let sql =
        "INSERT INTO messages (room_id, author, body, posted_at, reply_to, picture_id, reactions, nonce)
        VALUES ($1, $2, $3, $4, $5, $6, '[]', $7) RETURNING id";
    let NewMessage { room_id, author, text, reply_to, picture_id, nonce, posted_at } = *new;
    let row = tx.query_one(sql, values![room_id, author, text, posted_at, reply_to, picture_id, nonce])?;
    row.ok_or_else(|| DbError::Statement("an insert returned nothing".to_owned()))?.get(0)
}

/// The id of a message that its author has posted before, by its nonce.
pub(crate) fn find_nonce(
    tx: &mut Tx<'_>,
    room_id: &str,
    author: &str,
    nonce: &str,
) -> Result<Option<i64>, DbError> {
    let sql = "SELECT id FROM messages WHERE room_id = $1 AND author = $2 AND nonce = $3";
    tx.query_one(sql, values![room_id, author, nonce])?.map(|row| row.get(0)).transpose()
}

/// A message of a room.
pub(crate) fn find(tx: &mut Tx<'_>, room_id: &str, id: i64) -> Result<Option<Message>, DbError> {
    let row = tx.query_one(select!("WHERE m.room_id = $1 AND m.id = $2"), values![room_id, id])?;
    row.map(|row| message(&row)).transpose()
}

/// The newest messages before one, in ascending order.
pub(crate) fn before(tx: &mut Tx<'_>, room_id: &str, id: i64, limit: i64) -> Result<Vec<Message>, DbError> {
    let sql = select!("WHERE m.room_id = $1 AND m.id < $2 ORDER BY m.id DESC LIMIT $3");
    let mut found = list(tx, sql, values![room_id, id, limit])?;
    found.reverse();
    Ok(found)
}

/// The oldest messages after one.
pub(crate) fn after(tx: &mut Tx<'_>, room_id: &str, id: i64, limit: i64) -> Result<Vec<Message>, DbError> {
    let sql = select!("WHERE m.room_id = $1 AND m.id > $2 ORDER BY m.id LIMIT $3");
    list(tx, sql, values![room_id, id, limit])
}

/// The changes after a position, with each message as it is now.
pub(crate) fn changes(tx: &mut Tx<'_>, room_id: &str, position: i64) -> Result<Vec<Change>, DbError> {
    let sql =
        "SELECT m.id, m.author, m.body, m.posted_at, m.edited_at, q.id, q.author, substr(q.body, 1, 140),
            p.id, p.width, p.height, m.reactions, m.nonce, c.position
        FROM changes c JOIN messages m ON m.id = c.message_id
            LEFT JOIN messages q ON q.id = m.reply_to LEFT JOIN pictures p ON p.id = m.picture_id
        WHERE c.room_id = $1 AND c.position > $2 ORDER BY c.position";
    let rows = tx.query(sql, values![room_id, position])?;
    rows.iter().map(|row| Ok(Change { id: row.get(13)?, message: message(row)? })).collect()
}

/// The newest messages of a user's rooms, or of one of them, that the search finds: with their rooms.
pub(crate) fn search(
    tx: &mut Tx<'_>,
    sql: &'static str,
    values: &[Value],
) -> Result<Vec<(String, Message)>, DbError> {
    tx.query(sql, values)?.iter().map(|row| Ok((row.get(13)?, message(row)?))).collect()
}

pub(crate) fn edit(tx: &mut Tx<'_>, id: i64, text: &str, edited_at: i64) -> Result<(), DbError> {
    let sql = "UPDATE messages SET body = $2, edited_at = $3 WHERE id = $1";
    tx.execute(sql, values![id, text, edited_at])
}

/// Deletes what a message says; that it was there stays.
pub(crate) fn delete(tx: &mut Tx<'_>, id: i64) -> Result<(), DbError> {
    let sql = "UPDATE messages SET body = NULL, edited_at = NULL, picture_id = NULL, reactions = '[]' WHERE id = $1";
    tx.execute(sql, values![id])
}

pub(crate) fn set_reactions(tx: &mut Tx<'_>, id: i64, reactions: &str) -> Result<(), DbError> {
    tx.execute("UPDATE messages SET reactions = $2 WHERE id = $1", values![id, reactions])
}

fn list(tx: &mut Tx<'_>, sql: &'static str, values: &[Value]) -> Result<Vec<Message>, DbError> {
    tx.query(sql, values)?.iter().map(message).collect()
}

fn message(row: &Row) -> Result<Message, DbError> {
    let text: Option<String> = row.get(2)?;
    let quote = |id| Ok::<_, DbError>(Quote { id, author: row.get(6)?, text: row.get(7)? });
    let picture = |id| Ok::<_, DbError>(Picture { id, width: row.get(9)?, height: row.get(10)? });
    let reactions: String = row.get(11)?;
    Ok(Message {
        id: row.get(0)?,
        author: row.get(1)?,
        deleted: text.is_none(),
        text,
        at: clock::text(row.get(3)?),
        edited_at: row.get::<Option<i64>>(4)?.map(clock::text),
        reply_to: row.get::<Option<i64>>(5)?.map(quote).transpose()?,
        picture: row.get::<Option<String>>(8)?.map(picture).transpose()?,
        reactions: serde_json::from_str(&reactions).map_err(|error| DbError::Statement(error.to_string()))?,
        nonce: row.get(12)?,
    })
}

pub(crate) use select;
