//! Deletes what need not be kept.

use tokio_postgres::Client;

use super::{
    super::{super::LOBBY, Keep},
    failure::Failure,
};

/// Messages that are deleted in one transaction.
pub(super) const STEP: usize = 512;

/// Deletes at most [`STEP`] of the oldest messages that need not be kept. The greatest id of them, and whether there may be
/// more; none if there was none.
pub(super) async fn step(client: &Client, keep: Keep) -> Result<Option<(u64, bool)>, Failure> {
    let (which, bound) = match keep {
        Keep::All => return Ok(None),
        Keep::Messages(most) => (
            "id <= (SELECT last_id FROM topics WHERE topic = $1) - $2",
            i64::try_from(most).unwrap_or(i64::MAX),
        ),
        Keep::Age(_) => ("created_at < $2", keep.since()),
    };
    let sql = format!(
        "DELETE FROM messages WHERE topic = $1 AND {which}
           AND id IN (SELECT id FROM messages WHERE topic = $1 ORDER BY id LIMIT {STEP}) RETURNING id"
    );
    let rows = client.query(&sql, &[&LOBBY, &bound]).await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(ids.iter().max().map(|id| (id.cast_unsigned(), ids.len() == STEP)))
}
