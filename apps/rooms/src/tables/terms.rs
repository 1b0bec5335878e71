//! What the search finds: the only statements that differ between the databases.
//!
//! Terms are words without case that have nothing but letters and digits: see [`domain::terms`](crate::domain::terms).

use super::{
    messages::{self, select},
    values,
};
use crate::{
    domain::message::Message,
    store::{DbError, Dialect, Tx},
};

/// Stores the terms of a message.
pub(crate) fn insert(tx: &mut Tx<'_>, message_id: i64, terms: &[String]) -> Result<(), DbError> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => "INSERT INTO message_terms (rowid, terms) VALUES ($1, $2)",
        Dialect::Postgres => {
            "INSERT INTO message_terms (rowid, terms) VALUES ($1, array_to_tsvector(string_to_array($2, ' ')))"
        }
    };
    tx.execute(sql, values![message_id, terms.join(" ").as_str()])
}

pub(crate) fn delete(tx: &mut Tx<'_>, message_id: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM message_terms WHERE rowid = $1", values![message_id])
}

/// The newest messages before one that have words which begin with all of these terms, in the rooms of a user, or in one of
/// them.
pub(crate) fn search(
    tx: &mut Tx<'_>,
    terms: &[String],
    user_id: &str,
    room_id: Option<&str>,
    before: i64,
    limit: i64,
) -> Result<Vec<(String, Message)>, DbError> {
    let (sql, query) = match tx.dialect() {
        Dialect::Sqlite => (
            select!(
                "JOIN message_terms t ON t.rowid = m.id
                JOIN members k ON k.room_id = m.room_id AND k.user_id = $2
                WHERE message_terms MATCH $1 AND ($3 = '' OR m.room_id = $3) AND m.id < $4
                ORDER BY m.id DESC LIMIT $5"
            ),
            terms.iter().map(|term| format!("\"{term}\"*")).collect::<Vec<_>>().join(" "),
        ),
        Dialect::Postgres => (
            select!(
                "JOIN message_terms t ON t.rowid = m.id
                JOIN members k ON k.room_id = m.room_id AND k.user_id = $2
                WHERE t.terms @@ CAST(CAST($1 AS TEXT) AS TSQUERY)
                AND ($3 = '' OR m.room_id = $3) AND m.id < $4
                ORDER BY m.id DESC LIMIT $5"
            ),
            terms.iter().map(|term| format!("'{term}':*")).collect::<Vec<_>>().join(" & "),
        ),
    };
    let values = values![query.as_str(), user_id, room_id.unwrap_or_default(), before, limit];
    messages::search(tx, sql, values)
}
