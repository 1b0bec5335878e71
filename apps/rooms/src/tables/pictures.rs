//! Pictures with their bytes, so that every node has them.

use super::values;
use crate::store::{DbError, Tx};

/// A picture that is new.
pub(crate) struct NewPicture<'a> {
    pub(crate) id: &'a str,
    pub(crate) uploader: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) width: i64,
    pub(crate) height: i64,
    pub(crate) bytes: &'a [u8],
    pub(crate) created_at: i64,
}

pub(crate) fn insert(tx: &mut Tx<'_>, new: &NewPicture<'_>) -> Result<(), DbError> {
    let sql = "INSERT INTO pictures (id, uploader, content_type, width, height, bytes, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let NewPicture { id, uploader, content_type, width, height, bytes, created_at } = *new;
    tx.execute(sql, values![id, uploader, content_type, width, height, bytes, created_at])
}

pub(crate) fn is_uploaded_by(tx: &mut Tx<'_>, id: &str, user_id: &str) -> Result<bool, DbError> {
    let sql = "SELECT id FROM pictures WHERE id = $1 AND uploader = $2";
    Ok(tx.query_one(sql, values![id, user_id])?.is_some())
}

/// The type and the bytes of a picture that a user uploaded, or that is in one of the user's rooms.
pub(crate) fn find_for(
    tx: &mut Tx<'_>,
    id: &str,
    user_id: &str,
) -> Result<Option<(String, Vec<u8>)>, DbError> {
    let sql = "SELECT p.content_type, p.bytes FROM pictures p WHERE p.id = $1 AND (p.uploader = $2 OR EXISTS
        (SELECT 1 FROM messages m JOIN members k ON k.room_id = m.room_id
            WHERE m.picture_id = p.id AND k.user_id = $2))";
    tx.query_one(sql, values![id, user_id])?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Deletes pictures that are in no message.
pub(crate) fn delete_unposted(tx: &mut Tx<'_>, before: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM pictures WHERE created_at < $1
        AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.picture_id = pictures.id)";
    tx.execute(sql, values![before])
}
