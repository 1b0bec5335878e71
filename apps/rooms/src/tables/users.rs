//! Users.

use super::values;
use crate::{
    domain::user::User,
    store::{DbError, Row, Tx},
};

/// A user who is new.
pub(crate) struct NewUser<'a> {
    pub(crate) user: &'a User,
    pub(crate) name_key: &'a str,
    pub(crate) password: &'a str,
    pub(crate) created_at: i64,
}

/// Adds a user. Returns whether the name was free.
pub(crate) fn insert(tx: &mut Tx<'_>, new: &NewUser<'_>) -> Result<bool, DbError> {
    let NewUser { user, name_key, password, created_at } = *new;
    let sql =
        "INSERT INTO users (id, name, name_key, password, admin, created_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (name_key) DO NOTHING RETURNING id";
    let values = values![&user.id, &user.name, name_key, password, user.admin, created_at];
    Ok(tx.query_one(sql, values)?.is_some())
}

pub(crate) fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<User>, DbError> {
    let row = tx.query_one("SELECT id, name, admin, removed FROM users WHERE id = $1", values![id])?;
    row.map(|row| user(&row)).transpose()
}

/// A user by the name without case, and the hash of its password.
pub(crate) fn find_by_name(tx: &mut Tx<'_>, name_key: &str) -> Result<Option<(User, String)>, DbError> {
    let sql = "SELECT id, name, admin, removed, password FROM users WHERE name_key = $1";
    let row = tx.query_one(sql, values![name_key])?;
    row.map(|row| Ok((user(&row)?, row.get(4)?))).transpose()
}

pub(crate) fn all(tx: &mut Tx<'_>) -> Result<Vec<User>, DbError> {
    let rows = tx.query("SELECT id, name, admin, removed FROM users ORDER BY created_at, id", &[])?;
    rows.iter().map(user).collect()
}

pub(crate) fn is_empty(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    Ok(tx.query_one("SELECT id FROM users LIMIT 1", &[])?.is_none())
}

pub(crate) fn remove(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    tx.execute("UPDATE users SET removed = 1 WHERE id = $1", values![id])
}

fn user(row: &Row) -> Result<User, DbError> {
    Ok(User { id: row.get(0)?, name: row.get(1)?, admin: row.get(2)?, removed: row.get(3)? })
}
