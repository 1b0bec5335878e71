-- Where each topic has come to. `epoch` tells one life of a topic from another: ids of one mean nothing in the other.
CREATE TABLE topics (
    topic TEXT PRIMARY KEY,
    last_id INTEGER NOT NULL,
    last_rev INTEGER NOT NULL,
    epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `body` is the message as clients get it, but for `likes`. `rev` is the topic's number of likes when the message was
-- posted or last liked. `created_at` is in microseconds since 1970.
CREATE TABLE messages (
    topic TEXT NOT NULL,
    id INTEGER NOT NULL,
    body TEXT NOT NULL,
    likes INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (topic, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_by_rev ON messages (topic, rev);
