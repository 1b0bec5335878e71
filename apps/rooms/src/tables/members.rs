//! Members of rooms, and what they have read.

use std::collections::HashMap;

use super::values;
use crate::{
    domain::room::{Kind, Read, Room, Shared},
    store::{DbError, Row, Tx},
};

/// Adds a member. Returns false if it was one.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    room_id: &str,
    user_id: &str,
    last_read: i64,
    joined_at: i64,
) -> Result<bool, DbError> {
    let sql = "INSERT INTO members (room_id, user_id, last_read, joined_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING RETURNING user_id";
    Ok(tx.query_one(sql, values![room_id, user_id, last_read, joined_at])?.is_some())
}

/// Removes a member. Returns false if it was none.
pub(crate) fn delete(tx: &mut Tx<'_>, room_id: &str, user_id: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM members WHERE room_id = $1 AND user_id = $2 RETURNING user_id";
    Ok(tx.query_one(sql, values![room_id, user_id])?.is_some())
}

/// Whether a user who was not removed is a member.
pub(crate) fn has(tx: &mut Tx<'_>, room_id: &str, user_id: &str) -> Result<bool, DbError> {
    let sql = "SELECT u.id FROM members m JOIN users u ON u.id = m.user_id
        WHERE m.room_id = $1 AND m.user_id = $2 AND u.removed = 0";
    Ok(tx.query_one(sql, values![room_id, user_id])?.is_some())
}

/// The members of a room, those who joined first in front.
pub(crate) fn of_room(tx: &mut Tx<'_>, room_id: &str) -> Result<Vec<String>, DbError> {
    let sql = "SELECT user_id FROM members WHERE room_id = $1 ORDER BY joined_at, user_id";
    tx.query(sql, values![room_id])?.iter().map(|row| row.get(0)).collect()
}

/// The members of a room who were not removed: their ids and their names without case, the longest first.
pub(crate) fn names(tx: &mut Tx<'_>, room_id: &str) -> Result<Vec<(String, String)>, DbError> {
    let sql = "SELECT u.id, u.name_key FROM members m JOIN users u ON u.id = m.user_id
        WHERE m.room_id = $1 AND u.removed = 0 ORDER BY length(u.name_key) DESC";
    tx.query(sql, values![room_id])?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The ids of a user's rooms.
pub(crate) fn room_ids(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<String>, DbError> {
    let rows = tx.query("SELECT room_id FROM members WHERE user_id = $1", values![user_id])?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// The rooms of a user.
pub(crate) fn rooms(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<Room>, DbError> {
    let sql = "SELECT o.room_id, o.user_id FROM members m JOIN members o ON o.room_id = m.room_id
        WHERE m.user_id = $1 ORDER BY o.joined_at, o.user_id";
    let mut members: HashMap<String, Vec<String>> = HashMap::new();
    for row in tx.query(sql, values![user_id])? {
        members.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    let sql = "SELECT r.id, r.name, r.kind, r.owner, r.last_message, m.last_read,
            (SELECT count(*) FROM (SELECT 1 FROM messages x WHERE x.room_id = r.id AND x.id > m.last_read
                AND x.author <> m.user_id AND x.body IS NOT NULL LIMIT 100) AS others),
            (SELECT count(*) FROM mentions n WHERE n.room_id = r.id AND n.user_id = m.user_id
                AND n.message_id > m.last_read)
        FROM members m JOIN rooms r ON r.id = m.room_id WHERE m.user_id = $1 ORDER BY r.created_at, r.id";
    let rows = tx.query(sql, values![user_id])?;
    let room = |row: &Row| {
        let id: String = row.get(0)?;
        let members = members.remove(&id).unwrap_or_default();
        let kind = Kind::of(&row.get::<String>(2)?);
        let shared = Shared { id, name: row.get(1)?, kind, owner: row.get(3)?, members };
        let read =
            Read { last_id: row.get(4)?, last_read: row.get(5)?, unread: row.get(6)?, mentions: row.get(7)? };
        Ok(Room { shared, read })
    };
    rows.iter().map(room).collect()
}

/// What a member has read of a room, at one moment.
pub(crate) fn read(tx: &mut Tx<'_>, room_id: &str, user_id: &str) -> Result<Option<Read>, DbError> {
    let sql = "SELECT r.last_message, m.last_read,
            (SELECT count(*) FROM (SELECT 1 FROM messages x WHERE x.room_id = r.id AND x.id > m.last_read
                AND x.author <> m.user_id AND x.body IS NOT NULL LIMIT 100) AS others),
            (SELECT count(*) FROM mentions n WHERE n.room_id = r.id AND n.user_id = m.user_id
                AND n.message_id > m.last_read)
        FROM members m JOIN rooms r ON r.id = m.room_id WHERE m.room_id = $1 AND m.user_id = $2";
    let row = tx.query_one(sql, values![room_id, user_id])?;
    let read = |row: Row| {
        Ok(Read { last_id: row.get(0)?, last_read: row.get(1)?, unread: row.get(2)?, mentions: row.get(3)? })
    };
    row.map(read).transpose()
}

/// Moves what a member has read forward. Returns false if it was further already.
pub(crate) fn set_read(tx: &mut Tx<'_>, room_id: &str, user_id: &str, id: i64) -> Result<bool, DbError> {
    let sql = "UPDATE members SET last_read = $3 WHERE room_id = $1 AND user_id = $2 AND last_read < $3
        RETURNING user_id";
    Ok(tx.query_one(sql, values![room_id, user_id, id])?.is_some())
}

/// Notes who is mentioned in a message.
pub(crate) fn mention(tx: &mut Tx<'_>, room_id: &str, user_id: &str, message_id: i64) -> Result<(), DbError> {
    let sql =
        "INSERT INTO mentions (room_id, user_id, message_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    tx.execute(sql, values![room_id, user_id, message_id])
}

/// Forgets who is mentioned in a message.
pub(crate) fn forget_mentions(tx: &mut Tx<'_>, room_id: &str, message_id: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM mentions WHERE room_id = $1 AND message_id = $2";
    tx.execute(sql, values![room_id, message_id])
}
