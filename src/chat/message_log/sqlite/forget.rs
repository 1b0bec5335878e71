//! Deletes what need not be kept.

use rusqlite::{Connection, Result};

use super::super::{super::LOBBY, Keep};

/// Messages that are deleted in one transaction.
pub(super) const STEP: usize = 512;

/// Deletes at most [`STEP`] of the oldest messages that need not be kept. The greatest id of them, and how many; none if there
/// was none.
pub(super) fn step(connection: &Connection, keep: Keep) -> Result<Option<(u64, usize)>> {
    let (sql, bound) = match keep {
        Keep::All => return Ok(None),
        Keep::Messages(most) => (
            "DELETE FROM messages WHERE topic = ?1 AND id <= (SELECT last_id FROM topics WHERE topic = ?1) - ?2
               AND id IN (SELECT id FROM messages WHERE topic = ?1 ORDER BY id LIMIT ?3) RETURNING id",
            i64::try_from(most).unwrap_or(i64::MAX),
        ),
        Keep::Age(_) => (
            "DELETE FROM messages WHERE topic = ?1 AND created_at < ?2
               AND id IN (SELECT id FROM messages WHERE topic = ?1 ORDER BY id LIMIT ?3) RETURNING id",
            keep.since(),
        ),
    };
    let mut delete = connection.prepare_cached(sql)?;
    let deleted = delete.query_map((LOBBY, bound, STEP as i64), |row| row.get::<_, i64>(0))?;
    let deleted: Vec<i64> = deleted.collect::<Result<_>>()?;
    Ok(deleted.iter().max().map(|id| (id.cast_unsigned(), deleted.len())))
}
