//! Messages that another store exported.

use std::{
    mem,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use hinotori::BoxError;
use hinotori_postgres::Target;

use super::{
    super::{
        super::{LOBBY, history::Limit, message::Imported},
        Keep, Messages, OpenError,
    },
    batch::{Columns, Row},
    failure::Failure,
    opening::{self, Opened},
    runtime,
    transaction::post,
};

/// Messages that are written at once.
const CHUNK: usize = 1_000;

/// Bytes of them, and one message of any size beyond them.
const CHUNK_BYTES: usize = 1 << 20;

/// Nothing is loaded of them.
const NOTHING: Limit = Limit { messages: 0, bytes: 0 };

/// What comes from whoever reads the file to whoever writes the database. Without an end, nothing is stored.
enum Chunk {
    Messages(Vec<Imported>),
    End { last_id: u64, last_rev: u64 },
}

/// Stores messages in a database that has none: all of them, or nothing. Returns how many.
pub(super) fn run(target: &Target, messages: &mut Messages<'_>) -> Result<u64, BoxError> {
    let runtime = runtime()?;
    let (sender, chunks) = sync_channel(1);
    thread::scope(|scope| {
        // the caller may be within a runtime of its own
        let writing = scope.spawn(move || runtime.block_on(write(target, &chunks)));
        let read = read(messages, &sender);
        drop(sender);
        let written = writing.join().unwrap_or(Err(Failure::Ended.into()));
        let count = read?;
        written.map(|()| count)
    })
}

/// Passes messages on until there are no more, or nobody takes them.
fn read(messages: &mut Messages<'_>, to: &SyncSender<Chunk>) -> Result<u64, BoxError> {
    let (mut chunk, mut bytes, mut count, mut last_id, mut last_rev) = (Vec::new(), 0, 0, 0, 0);
    for imported in messages {
        let mut imported = imported?;
        last_rev = imported.number(last_rev);
        (count, last_id) = (count + 1, imported.id());
        bytes += imported.message.head().len();
        chunk.push(imported);
        if chunk.len() == CHUNK || bytes >= CHUNK_BYTES {
            bytes = 0;
            if to.send(Chunk::Messages(mem::take(&mut chunk))).is_err() {
                return Ok(count);
            }
        }
    }
    // whoever takes no more says why
    let _ = to.send(Chunk::Messages(chunk));
    let _ = to.send(Chunk::End { last_id, last_rev });
    Ok(count)
}

async fn write(target: &Target, chunks: &Receiver<Chunk>) -> Result<(), BoxError> {
    let failed = |failure| OpenError::Postgres(target.name.clone(), failure);
    let Opened { on, head, .. } = opening::open(target, Keep::All, NOTHING).await.map_err(failed)?;
    if head.last_id > 0 {
        return Err(OpenError::NotEmpty(target.name.clone()).into());
    }
    let client = on.client();
    // one that is not committed is rolled back; the file may come slowly
    client.batch_execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0").await?;
    while let Ok(chunk) = chunks.recv() {
        match chunk {
            Chunk::Messages(messages) => {
                let row =
                    |Imported { message, posted_at }| Row { message, created_at: posted_at, nonce: None };
                let columns = Columns::of(messages.into_iter().map(row));
                post(&on, &columns).await.map_err(Failure::from).map_err(failed)?;
            }
            Chunk::End { last_id, last_rev } => {
                let (last_id, last_rev) = (i64::try_from(last_id)?, i64::try_from(last_rev)?);
                client.execute(&on.statements.move_topic, &[&LOBBY, &last_id, &last_rev]).await?;
                client.batch_execute("COMMIT").await?;
                on.link.close().await;
                return Ok(());
            }
        }
    }
    Ok(())
}
