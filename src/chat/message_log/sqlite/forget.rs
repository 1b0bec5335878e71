//! Deletes what need not be kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Result};

use super::super::{super::LOBBY, Keep};

/// Messages that are deleted in one transaction.
pub(super) const STEP: usize = 512;

/// Deletes at most [`STEP`] of the oldest messages that need not be kept. The greatest id of them, and whether there may be
/// more; none if there was none.
pub(super) fn step(connection: &Connection, keep: Keep) -> Result<Option<(u64, bool)>> {
    let (sql, bound) = match keep {
        Keep::All => return Ok(None),
        Keep::Messages(most) => (
            "DELETE FROM messages WHERE topic = ?1 AND id <= (SELECT last_id FROM topics WHERE topic = ?1) - ?2
               AND id IN (SELECT id FROM messages WHERE topic = ?1 ORDER BY id LIMIT ?3) RETURNING id",
            i64::try_from(most).unwrap_or(i64::MAX),
        ),
        Keep::Age(age) => (
            "DELETE FROM messages WHERE topic = ?1 AND created_at < ?2
               AND id IN (SELECT id FROM messages WHERE topic = ?1 ORDER BY id LIMIT ?3) RETURNING id",
            microseconds_ago(age),
        ),
    };
    let mut delete = connection.prepare_cached(sql)?;
    let deleted = delete.query_map((LOBBY, bound, STEP as i64), |row| row.get::<_, i64>(0))?;
    let deleted: Vec<i64> = deleted.collect::<Result<_>>()?;
    Ok(deleted.iter().max().map(|id| (id.cast_unsigned(), deleted.len() == STEP)))
}

fn microseconds_ago(age: Duration) -> i64 {
    let since = SystemTime::now().checked_sub(age).and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}
