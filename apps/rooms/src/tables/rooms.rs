//! Rooms.

use super::values;
use crate::{
    domain::room::Kind,
    store::{DbError, Row, Tx},
};

/// A room without its members.
#[derive(Debug, Clone)]
pub(crate) struct RoomRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) owner: String,
    pub(crate) last_position: i64,
    pub(crate) last_message: i64,
}

/// Adds a room. Returns false if there is one with this direct key.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    room: &RoomRow,
    direct_key: Option<&str>,
    created_at: i64,
) -> Result<bool, DbError> {
    let sql =
        "INSERT INTO rooms (id, name, kind, owner, direct_key, created_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (direct_key) DO NOTHING RETURNING id";
    let values = values![&room.id, &room.name, room.kind.name(), &room.owner, direct_key, created_at];
    Ok(tx.query_one(sql, values)?.is_some())
}

pub(crate) fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<RoomRow>, DbError> {
    let sql = "SELECT id, name, kind, owner, last_position, last_message FROM rooms WHERE id = $1";
    let row = tx.query_one(sql, values![id])?;
    row.map(|row| room(&row)).transpose()
}

/// A room that nobody else changes until the end of the transaction.
pub(crate) fn lock(tx: &mut Tx<'_>, id: &str) -> Result<Option<RoomRow>, DbError> {
    // an update locks the row in both databases
    let sql = "UPDATE rooms SET last_position = last_position WHERE id = $1
        RETURNING id, name, kind, owner, last_position, last_message";
    let row = tx.query_one(sql, values![id])?;
    row.map(|row| room(&row)).transpose()
}

pub(crate) fn find_direct(tx: &mut Tx<'_>, direct_key: &str) -> Result<Option<RoomRow>, DbError> {
    let sql = "SELECT id, name, kind, owner, last_position, last_message FROM rooms WHERE direct_key = $1";
    let row = tx.query_one(sql, values![direct_key])?;
    row.map(|row| room(&row)).transpose()
}

/// The public rooms and how many members each has.
pub(crate) fn public(tx: &mut Tx<'_>) -> Result<Vec<(String, String, i64)>, DbError> {
    let sql = "SELECT r.id, r.name, (SELECT count(*) FROM members m WHERE m.room_id = r.id) FROM rooms r
        WHERE r.kind = 'public' ORDER BY lower(r.name), r.id";
    let rows = tx.query(sql, &[])?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

pub(crate) fn set_owner(tx: &mut Tx<'_>, id: &str, owner: &str) -> Result<(), DbError> {
    tx.execute("UPDATE rooms SET owner = $2 WHERE id = $1", values![id, owner])
}

/// Stores how far a room has come.
pub(crate) fn advance(tx: &mut Tx<'_>, room: &RoomRow) -> Result<(), DbError> {
    let sql = "UPDATE rooms SET last_position = $2, last_message = $3 WHERE id = $1";
    tx.execute(sql, values![&room.id, room.last_position, room.last_message])
}

fn room(row: &Row) -> Result<RoomRow, DbError> {
    Ok(RoomRow {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: Kind::of(&row.get::<String>(2)?),
        owner: row.get(3)?,
        last_position: row.get(4)?,
        last_message: row.get(5)?,
    })
}
