//! The changes of rooms, in their order.

use super::values;
use crate::store::{DbError, Tx};

pub(crate) fn insert(tx: &mut Tx<'_>, room_id: &str, position: i64, message_id: i64) -> Result<(), DbError> {
    let sql = "INSERT INTO changes (room_id, position, message_id) VALUES ($1, $2, $3)";
    tx.execute(sql, values![room_id, position, message_id])
}

/// Forgets the changes up to a position.
pub(crate) fn forget(tx: &mut Tx<'_>, room_id: &str, position: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM changes WHERE room_id = $1 AND position <= $2";
    tx.execute(sql, values![room_id, position])
}

/// The position of a message that was posted, if it is still known.
pub(crate) fn first(tx: &mut Tx<'_>, room_id: &str, message_id: i64) -> Result<Option<i64>, DbError> {
    let sql = "SELECT min(position) FROM changes WHERE room_id = $1 AND message_id = $2";
    tx.query_one(sql, values![room_id, message_id])?.map_or(Ok(None), |row| row.get(0))
}
