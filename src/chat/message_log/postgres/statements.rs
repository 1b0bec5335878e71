//! The statements, prepared once for each connection.

use tokio_postgres::{Client, Error, Statement};

pub(super) const LOCK_TOPIC: &str = "SELECT epoch, last_id, last_rev FROM topics WHERE topic = $1 FOR UPDATE";

const WRITTEN: &str = "SELECT batch_no FROM writers WHERE writer = $1";

const MESSAGES: &str =
    "SELECT id, body, likes, rev, posted_rev FROM messages WHERE topic = $1 AND id = ANY($2::bigint[])";

const NONCES: &str = "SELECT nonce, id FROM messages WHERE topic = $1 AND nonce = ANY($2::bytea[])";

const POST: &str = "
    INSERT INTO messages (topic, id, body, likes, rev, posted_rev, created_at, nonce)
    SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bytea[])";

const LIKE: &str = "
    UPDATE messages SET likes = liked.likes, rev = liked.rev
    FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS liked (id, likes, rev)
    WHERE messages.topic = $1 AND messages.id = liked.id";

const MOVE_TOPIC: &str = "UPDATE topics SET last_id = $2, last_rev = $3 WHERE topic = $1";

const WRITE: &str = "
    INSERT INTO writers (writer, batch_no, first_id, last_id) VALUES ($1, $2, $3, $4)
    ON CONFLICT (writer) DO UPDATE
    SET batch_no = excluded.batch_no, first_id = excluded.first_id, last_id = excluded.last_id, written_at = now()";

const TOPIC: &str = "
    SELECT epoch, last_id, last_rev, coalesce((SELECT min(id) FROM messages WHERE topic = $1), last_id + 1)
    FROM topics WHERE topic = $1";

const BEFORE: &str = "
    SELECT id, body, likes, rev, posted_rev FROM messages WHERE topic = $1 AND id < $2 ORDER BY id DESC LIMIT $3";

const AFTER: &str = "
    SELECT id, body, likes, rev, posted_rev FROM messages WHERE topic = $1 AND id > $2 ORDER BY id LIMIT $3";

const LIKED: &str = "
    SELECT id, body, likes, rev, posted_rev FROM messages
    WHERE topic = $1 AND likes > 0 AND rev > $2 AND id <= $3 ORDER BY rev LIMIT $4";

/// Statements of one connection.
pub(super) struct Statements {
    /// Locks the topic: its epoch, last id and last revision.
    pub(super) lock_topic: Statement,
    /// The last batch of a writer.
    pub(super) written: Statement,
    /// The messages of some ids.
    pub(super) messages: Statement,
    /// The ids of messages with some nonces.
    pub(super) nonces: Statement,
    pub(super) post: Statement,
    pub(super) like: Statement,
    pub(super) move_topic: Statement,
    /// Notes the last batch of a writer.
    pub(super) write: Statement,
    /// The topic's epoch, last id and last revision, and the id of its oldest message, or of its next one.
    pub(super) topic: Statement,
    /// Some messages with smaller ids, the newest first.
    pub(super) before: Statement,
    /// Some messages with greater ids, the oldest first.
    pub(super) after: Statement,
    /// Messages up to an id that were liked after a revision.
    pub(super) liked: Statement,
}

impl Statements {
    /// All of them, in one round trip.
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let (
            lock_topic,
            written,
            messages,
            nonces,
            post,
            like,
            move_topic,
            write,
            topic,
            before,
            after,
            liked,
        ) = tokio::try_join!(
            client.prepare(LOCK_TOPIC),
            client.prepare(WRITTEN),
            client.prepare(MESSAGES),
            client.prepare(NONCES),
            client.prepare(POST),
            client.prepare(LIKE),
            client.prepare(MOVE_TOPIC),
            client.prepare(WRITE),
            client.prepare(TOPIC),
            client.prepare(BEFORE),
            client.prepare(AFTER),
            client.prepare(LIKED),
        )?;
        Ok(Self {
            lock_topic,
            written,
            messages,
            nonces,
            post,
            like,
            move_topic,
            write,
            topic,
            before,
            after,
            liked,
        })
    }
}
