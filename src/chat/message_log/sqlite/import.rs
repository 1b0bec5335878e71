//! Messages that another store exported.

use std::path::Path;

use hinotori::BoxError;
use rusqlite::{Connection, MAIN_DB, wal::CheckpointMode};

use super::{
    super::{super::LOBBY, Messages, OpenError},
    tables,
};

/// Nothing is loaded of them.
const NOTHING: super::Limit = super::Limit { messages: 0, bytes: 0 };

pub(super) fn run(
    connection: &mut Connection,
    file: &Path,
    messages: &mut Messages<'_>,
) -> Result<u64, BoxError> {
    // one that is dropped is rolled back
    let transaction = connection.transaction()?;
    let (head, _) = tables::open(&transaction, i64::MIN, NOTHING)?;
    if head.last_id > 0 {
        return Err(OpenError::NotEmpty(file.display().to_string()).into());
    }
    let (mut count, mut last_id, mut rev) = (0, 0, 0);
    let mut insert = transaction.prepare(
        "INSERT INTO messages (topic, id, body, likes, rev, posted_rev, created_at) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
    )?;
    for imported in messages {
        let mut imported = imported?;
        rev = imported.number(rev);
        let (message, likes) = (&imported.message, imported.message.likes());
        let (id, likes, rev) =
            (message.id().cast_signed(), likes.count.cast_signed(), likes.rev.cast_signed());
        insert.execute((LOBBY, id, message.body(), likes, rev, imported.posted_at))?;
        (count, last_id) = (count + 1, id);
    }
    drop(insert);
    let topic = (LOBBY, last_id, i64::try_from(rev)?);
    transaction.execute("UPDATE topics SET last_id = ?2, last_rev = ?3 WHERE topic = ?1", topic)?;
    transaction.commit()?;
    // all of it is in the file then, and the disk has the log's room again
    connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE)?;
    Ok(count)
}
