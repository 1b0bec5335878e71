CREATE TABLE pictures (
    id TEXT PRIMARY KEY,
    uploader TEXT NOT NULL REFERENCES users,
    content_type TEXT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    bytes BLOB NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE messages (
    -- ascending in each room, as whoever posts has the room's row locked
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    room_id TEXT NOT NULL REFERENCES rooms,
    author TEXT NOT NULL REFERENCES users,
    -- none if it is deleted
    body TEXT,
    posted_at BIGINT NOT NULL,
    edited_at BIGINT,
    reply_to BIGINT REFERENCES messages,
    picture_id TEXT REFERENCES pictures,
    -- JSON, as clients get it
    reactions TEXT NOT NULL,
    nonce TEXT NOT NULL,
    UNIQUE (room_id, author, nonce)
);
CREATE INDEX messages_of_room ON messages (room_id, id);
CREATE INDEX messages_of_picture ON messages (picture_id) WHERE picture_id IS NOT NULL;
-- what the search finds, by the ids of messages; the text itself is in messages
CREATE VIRTUAL TABLE message_terms USING fts5 (terms, content='', contentless_delete=1);
