//! The start: waits for the database, makes the tables and reads what a history begins with.

use std::time::Duration;

use hinotori::cluster::Backoff;
use hinotori_postgres::Target;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::{
    super::{
        super::{LOBBY, history::Limit},
        Keep, Liked, Sharing, Snapshot,
        snapshot::new_epoch,
    },
    batch::Head,
    failure::Failure,
    link::{Link, Prepared, within},
    reader, schema,
    transaction::{head, number},
};

/// How long a database that is not there yet is waited for: it may be started at the same time.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long another server is waited for: the database may take that long to notice that it is gone.
const IN_USE: Duration = Duration::from_secs(6);

/// How long making the tables and reading them may take.
pub(super) const READING: Duration = Duration::from_secs(300);

/// Likes that a history begins with.
const LIKED: i64 = 4_096;

/// An open database, which no other server has unless it is shared.
pub(super) struct Opened {
    pub(super) on: Prepared,
    pub(super) head: Head,
    pub(super) snapshot: Snapshot,
}

/// Opens it, and waits for it if it is not there.
pub(super) async fn open(
    target: &Target,
    sharing: Sharing,
    keep: Keep,
    limit: Limit,
) -> Result<Opened, Failure> {
    let (start, mut backoff, mut has_said) = (Instant::now(), Backoff::default(), false);
    loop {
        let failure = match once(target, sharing, keep, limit).await {
            Ok(opened) => return Ok(opened),
            Err(failure) => failure,
        };
        let patience = match failure {
            Failure::InUse => IN_USE,
            _ if failure.is_passing() => PATIENCE,
            _ => Duration::ZERO,
        };
        let rest = patience.saturating_sub(start.elapsed());
        if rest.is_zero() {
            return Err(failure);
        }
        if !has_said {
            let why = failure.to_string();
            log::warn!(
                "event=store_waiting database={:?} seconds={} why={why:?}",
                target.name,
                patience.as_secs()
            );
            has_said = true;
        }
        sleep(backoff.next().min(rest)).await;
    }
}

async fn once(target: &Target, sharing: Sharing, keep: Keep, limit: Limit) -> Result<Opened, Failure> {
    let mut link = Link::connect(target).await?;
    within(target.patience, link.lock(sharing)).await?;
    within(READING, schema::migrate(&mut link.client)).await?;
    let on = within(target.patience, link.prepare()).await?;
    let (head, snapshot) = within(READING, snapshot(&on, keep.since(), limit)).await?;
    Ok(Opened { on, head, snapshot })
}

/// What a history begins with: of the newest messages, those that were not posted before `since`, in microseconds. Makes the
/// topic if it is not there.
pub(super) async fn snapshot(on: &Prepared, since: i64, limit: Limit) -> Result<(Head, Snapshot), Failure> {
    let client = on.client();
    client
        .execute(
            "INSERT INTO topics (topic, last_id, last_rev, epoch) VALUES ($1, 0, 0, $2) ON CONFLICT DO NOTHING",
            &[&LOBBY, &new_epoch().cast_signed()],
        )
        .await?;
    // servers that are gone ask for none of their batches
    client.execute("DELETE FROM writers WHERE written_at < now() - interval '1 day'", &[]).await?;
    client.batch_execute(reader::SNAPSHOT).await?;
    let head = head(&client.query_one(&on.statements.topic, &[&LOBBY]).await?)?;
    let mut newest = reader::before(on, u64::MAX, limit).await?;
    let first = newest.first().map_or(0, |message| message.id().cast_signed());
    let sql = "SELECT max(id) FROM messages WHERE topic = $1 AND id >= $2 AND created_at < $3";
    let expired: Option<i64> = client.query_one(sql, &[&LOBBY, &first, &since]).await?.try_get(0)?;
    newest.retain(|message| expired.is_none_or(|id| message.id().cast_signed() > id));
    let liked = liked(client).await?;
    client.batch_execute("COMMIT").await?;
    let Head { epoch, last_id, last_rev } = head;
    Ok((head, Snapshot { epoch, last_id, last_rev, newest, liked }))
}

/// The newest likes, one for each message, the oldest of them first.
async fn liked(client: &Client) -> Result<Vec<Liked>, Failure> {
    let sql = "SELECT id, likes, rev FROM messages WHERE topic = $1 AND likes > 0 ORDER BY rev DESC LIMIT $2";
    let rows = client.query(sql, &[&LOBBY, &LIKED]).await?;
    let like = |row| Ok(Liked { id: number(row, 0)?, count: number(row, 1)?, rev: number(row, 2)? });
    rows.iter().rev().map(like).collect()
}
