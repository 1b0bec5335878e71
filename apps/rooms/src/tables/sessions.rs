//! Sessions: one for each login.

use super::values;
use crate::{
    domain::user::User,
    store::{DbError, Tx},
};

pub(crate) fn insert(tx: &mut Tx<'_>, id: &str, user_id: &str, created_at: i64) -> Result<(), DbError> {
    let sql = "INSERT INTO sessions (id, user_id, created_at) VALUES ($1, $2, $3)";
    tx.execute(sql, values![id, user_id, created_at])
}

/// The user of a session that is not older.
pub(crate) fn user(tx: &mut Tx<'_>, id: &str, since: i64) -> Result<Option<User>, DbError> {
    let sql = "SELECT u.id, u.name, u.admin, u.removed FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.id = $1 AND s.created_at > $2";
    let row = tx.query_one(sql, values![id, since])?;
    let user = |row: crate::store::Row| {
        Ok(User { id: row.get(0)?, name: row.get(1)?, admin: row.get(2)?, removed: row.get(3)? })
    };
    row.map(user).transpose()
}

pub(crate) fn delete(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM sessions WHERE id = $1", values![id])
}

pub(crate) fn delete_before(tx: &mut Tx<'_>, time: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM sessions WHERE created_at <= $1", values![time])
}
