//! Invitations by a link.

use super::values;
use crate::store::{DbError, Tx};

pub(crate) fn insert(
    tx: &mut Tx<'_>,
    code: &str,
    room_id: &str,
    invited_by: &str,
    expires_at: i64,
) -> Result<(), DbError> {
    let sql = "INSERT INTO invitations (code, room_id, invited_by, expires_at) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, values![code, room_id, invited_by, expires_at])
}

/// The room of a code that has not expired by then, and who invites.
pub(crate) fn find(tx: &mut Tx<'_>, code: &str, now: i64) -> Result<Option<(String, String)>, DbError> {
    let sql = "SELECT room_id, invited_by FROM invitations WHERE code = $1 AND expires_at > $2";
    tx.query_one(sql, values![code, now])?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

pub(crate) fn delete_of_room(tx: &mut Tx<'_>, room_id: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM invitations WHERE room_id = $1", values![room_id])
}

pub(crate) fn delete_expired(tx: &mut Tx<'_>, now: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM invitations WHERE expires_at <= $1", values![now])
}
