//! The transaction of a batch: one round trip reads, another writes and commits.

use std::{collections::HashMap, mem};

use tokio_postgres::{Row, error::SqlState, types::ToSql};

use super::{
    super::{
        super::{
            LOBBY,
            message::{Likes, Message},
        },
        damaged,
        snapshot::new_epoch,
    },
    batch::{Columns, Found, Head, Needs, Plan},
    failure::Failure,
    link::Prepared,
};

/// Which batch of which life of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) writer: i64,
    pub(super) number: i64,
}

/// Begins it: locks the topic until it ends, and reads what is needed.
pub(super) async fn begin(on: &Prepared, needs: &Needs) -> Result<Found, Failure> {
    let (client, statements) = (on.client(), &on.statements);
    let ids: Vec<i64> = needs.ids.iter().copied().collect();
    let nonces: Vec<&[u8]> = needs.nonces.iter().map(Vec::as_slice).collect();
    let messages = async {
        if ids.is_empty() {
            Ok(Vec::new())
        } else {
            client.query(&statements.messages, &[&LOBBY, &ids]).await
        }
    };
    let known = async {
        if nonces.is_empty() {
            Ok(Vec::new())
        } else {
            client.query(&statements.nonces, &[&LOBBY, &nonces]).await
        }
    };
    // all of them are sent before the first is answered
    let (begun, topic, messages, known) = tokio::join!(
        biased;
        client.batch_execute("BEGIN"),
        client.query_opt(&statements.lock_topic, &[&LOBBY]),
        messages,
        known,
    );
    begun?;
    let head = head(&topic?.ok_or(Failure::Replaced)?)?;
    let messages = messages?;
    let messages = messages.iter().filter_map(|row| message(row).transpose());
    let messages = messages.map(|message| message.map(|message| (message.id(), message)));
    let nonces = known?.into_iter().map(|row| Ok((row.try_get(0)?, number(&row, 1)?)));
    Ok(Found {
        head,
        messages: messages.collect::<Result<HashMap<_, _>, _>>()?,
        nonces: nonces.collect::<Result<HashMap<_, _>, Failure>>()?,
    })
}

/// How the second half of a transaction ended.
pub(super) enum Ended {
    Committed,
    /// Nothing is stored.
    Failed(Failure),
    /// The answer to the commit was lost.
    Unknown(Failure),
}

/// Writes a plan and commits it.
pub(super) async fn finish(on: &Prepared, batch: Batch, plan: &mut Plan, before: Head) -> Ended {
    let (client, statements) = (on.client(), &on.statements);
    let columns = Columns::of(mem::take(&mut plan.posted).into_iter());
    let liked: Vec<_> = plan.liked.iter().map(|(id, likes)| (id.cast_signed(), *likes)).collect();
    let ids: Vec<i64> = liked.iter().map(|(id, _)| *id).collect();
    let likes: Vec<i64> = liked.iter().map(|(_, likes)| likes.count.cast_signed()).collect();
    let revs: Vec<i64> = liked.iter().map(|(_, likes)| likes.rev.cast_signed()).collect();
    let (last_id, last_rev) = (plan.head.last_id.cast_signed(), plan.head.last_rev.cast_signed());
    let first_id = before.last_id.cast_signed() + 1;
    let post = async { if columns.ids.is_empty() { Ok(0) } else { post(on, &columns).await } };
    let like = async {
        if ids.is_empty() {
            Ok(0)
        } else {
            client.execute(&statements.like, &[&LOBBY, &ids, &likes, &revs]).await
        }
    };
    // all of them are sent before the first is answered; after one that fails, the others do, and the commit rolls back
    let (posted, liked, moved, written, committed) = tokio::join!(
        biased;
        post,
        like,
        async { client.execute(&statements.move_topic, &[&LOBBY, &last_id, &last_rev]).await },
        async {
            let batch: [&(dyn ToSql + Sync); 4] = [&batch.writer, &batch.number, &first_id, &last_id];
            client.execute(&statements.write, &batch).await
        },
        client.batch_execute("COMMIT"),
    );
    if let Err(error) = committed {
        return Ended::Unknown(error.into());
    }
    match [posted, liked, moved, written].into_iter().find_map(Result::err) {
        None => Ended::Committed,
        Some(error) if error.as_db_error().is_some() => Ended::Failed(error.into()),
        Some(error) => Ended::Unknown(error.into()),
    }
}

/// Adds messages.
pub(super) async fn post(on: &Prepared, rows: &Columns) -> Result<u64, tokio_postgres::Error> {
    let values: [&(dyn ToSql + Sync); 8] = [
        &LOBBY,
        &rows.ids,
        &rows.bodies,
        &rows.likes,
        &rows.revs,
        &rows.posted_revs,
        &rows.created_at,
        &rows.nonces,
    ];
    on.client().execute(&on.statements.post, &values).await
}

/// Whether a batch was committed. Whoever has the topic locked still decides that, so this waits for them.
pub(super) async fn is_committed(on: &Prepared, batch: Batch) -> Result<(bool, Head), Failure> {
    let (client, statements) = (on.client(), &on.statements);
    let (begun, topic, written, ended) = tokio::join!(
        biased;
        client.batch_execute("BEGIN"),
        client.query_opt(&statements.lock_topic, &[&LOBBY]),
        async { client.query_opt(&statements.written, &[&batch.writer]).await },
        client.batch_execute("ROLLBACK"),
    );
    begun?;
    let head = head(&topic?.ok_or(Failure::Replaced)?)?;
    let written = written?.map(|row| row.try_get::<_, i64>(0)).transpose()?;
    ended?;
    Ok((written == Some(batch.number), head))
}

/// Gives the topic, which has been locked, another epoch, and commits that.
pub(super) async fn replace(on: &Prepared) -> Result<(), Failure> {
    let sql = "UPDATE topics SET epoch = $2 WHERE topic = $1";
    on.client().execute(sql, &[&LOBBY, &new_epoch().cast_signed()]).await?;
    Ok(on.client().batch_execute("COMMIT").await?)
}

pub(super) async fn roll_back(on: &Prepared) -> Result<(), Failure> {
    match on.client().batch_execute("ROLLBACK").await {
        // there was none
        Err(error) if error.code() == Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION) => Ok(()),
        ended => Ok(ended?),
    }
}

/// The epoch, the last id and the last revision of a topic.
pub(super) fn head(row: &Row) -> Result<Head, Failure> {
    Ok(Head { epoch: number(row, 0)?, last_id: number(row, 1)?, last_rev: number(row, 2)? })
}

/// The message of the columns id, body, likes, rev and posted_rev; none if it is damaged, which is reported.
pub(super) fn message(row: &Row) -> Result<Option<Message>, Failure> {
    let (id, body) = (number(row, 0)?, row.try_get::<_, &str>(1)?);
    let likes = Likes { count: number(row, 2)?, rev: number(row, 3)?, posted_rev: number(row, 4)? };
    let message = Message::from_body(id, body, likes);
    if message.is_none() {
        damaged(id);
    }
    Ok(message)
}

/// A column that is never negative.
pub(super) fn number(row: &Row, column: usize) -> Result<u64, Failure> {
    Ok(row.try_get::<_, i64>(column)?.cast_unsigned())
}
