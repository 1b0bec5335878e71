-- For both databases: schema.rs writes the types of each for {serial} and {bytes}. Times are milliseconds since 1970, flags are
-- 0 or 1.
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- the name without case
    name_key TEXT NOT NULL UNIQUE,
    -- argon2's, with its salt and parameters
    password TEXT NOT NULL,
    admin BIGINT NOT NULL,
    removed BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users,
    created_at BIGINT NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE TABLE rooms (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL REFERENCES users,
    -- the ids of the two users of a direct room
    direct_key TEXT UNIQUE,
    -- of its newest change
    last_position BIGINT NOT NULL DEFAULT 0,
    -- its newest message
    last_message BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);
CREATE TABLE members (
    room_id TEXT NOT NULL REFERENCES rooms,
    user_id TEXT NOT NULL REFERENCES users,
    -- everything up to this message
    last_read BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX rooms_of_user ON members (user_id);
CREATE TABLE invitations (
    code TEXT PRIMARY KEY,
    room_id TEXT NOT NULL REFERENCES rooms,
    invited_by TEXT NOT NULL REFERENCES users,
    expires_at BIGINT NOT NULL
);
-- which message a position of a room changed: the newest 10,000
CREATE TABLE changes (
    room_id TEXT NOT NULL REFERENCES rooms,
    position BIGINT NOT NULL,
    message_id BIGINT NOT NULL,
    PRIMARY KEY (room_id, position)
);
CREATE TABLE mentions (
    room_id TEXT NOT NULL REFERENCES rooms,
    user_id TEXT NOT NULL REFERENCES users,
    message_id BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id, message_id)
);
CREATE TABLE pictures (
    id TEXT PRIMARY KEY,
    uploader TEXT NOT NULL REFERENCES users,
    content_type TEXT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    bytes {bytes} NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE messages (
    -- ascending in each room, as whoever posts has the room's row locked
    id {serial},
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
