-- `posted_rev` is the topic's number of likes when the message was posted, which is not known of the messages that are
-- there: 0 is on the safe side. `nonce` is the name that the message's client gave it, if any.
ALTER TABLE messages ADD COLUMN posted_rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN nonce TEXT;

-- whoever comes back asks for the likes since; posting writes no entry
DROP INDEX messages_by_rev;
CREATE INDEX messages_liked ON messages (topic, rev) WHERE likes > 0;
CREATE UNIQUE INDEX messages_by_nonce ON messages (topic, nonce) WHERE nonce IS NOT NULL;

-- JavaScript counts to 2^53 - 1
UPDATE topics SET epoch = epoch % 0x1ffffffffffffe + 1;
