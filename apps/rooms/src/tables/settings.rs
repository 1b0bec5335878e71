//! Values that all nodes share.

use super::values;
use crate::store::{DbError, Tx};

/// Returns a value, which is set to this one if there is none.
pub(crate) fn get_or_set(tx: &mut Tx<'_>, name: &str, value: &str) -> Result<String, DbError> {
    set_first(tx, name, value)?;
    let row = tx.query_one("SELECT value FROM settings WHERE name = $1", values![name])?;
    row.map_or(Ok(value.to_owned()), |row| row.get(0))
}

/// Sets a value that has never been set. Returns whether this call did it.
pub(crate) fn set_first(tx: &mut Tx<'_>, name: &str, value: &str) -> Result<bool, DbError> {
    let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING name";
    Ok(tx.query_one(sql, values![name, value])?.is_some())
}

/// Sets a value, whatever it was.
pub(crate) fn set(tx: &mut Tx<'_>, name: &str, value: &str) -> Result<(), DbError> {
    let sql =
        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
    tx.execute(sql, values![name, value])
}

/// A value.
pub(crate) fn get(tx: &mut Tx<'_>, name: &str) -> Result<Option<String>, DbError> {
    let row = tx.query_one("SELECT value FROM settings WHERE name = $1", values![name])?;
    row.map(|row| row.get(0)).transpose()
}
