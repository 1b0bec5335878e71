-- How many of these files have been run.
CREATE TABLE schema_version (version INTEGER NOT NULL);

-- Where each topic has come to. `epoch` tells one life of a topic from another: ids of one mean nothing in the other. Its row
-- is locked by whoever writes messages, until the commit: so ids are given in the order of the commits. Each batch updates it;
-- with half of a page free, the new version is beside the old one.
CREATE TABLE topics (
    topic TEXT PRIMARY KEY,
    last_id BIGINT NOT NULL,
    last_rev BIGINT NOT NULL,
    epoch BIGINT NOT NULL
) WITH (fillfactor = 50);

-- `body` is the message as clients get it, but for `likes`. It is not JSONB, which cannot hold \u0000. `posted_rev` and `rev`
-- are the topic's number of likes when the message was posted, and when it was last liked. `created_at` is in microseconds
-- since 1970. `nonce` is the name that the message's client gave it, if any, in UTF-8: TEXT cannot hold U+0000.
CREATE TABLE messages (
    topic TEXT NOT NULL,
    id BIGINT NOT NULL,
    body TEXT NOT NULL,
    likes BIGINT NOT NULL,
    rev BIGINT NOT NULL,
    posted_rev BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    nonce BYTEA,
    PRIMARY KEY (topic, id)
);

CREATE INDEX messages_liked ON messages (topic, rev) WHERE likes > 0;
CREATE UNIQUE INDEX messages_by_nonce ON messages (topic, nonce) WHERE nonce IS NOT NULL;

-- The last batch of each life of a server: written with the batch, it tells whether that was committed when the answer was
-- lost.
CREATE TABLE writers (
    writer BIGINT PRIMARY KEY,
    batch_no BIGINT NOT NULL,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL,
    written_at TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
