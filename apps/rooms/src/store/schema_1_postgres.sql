-- what the search finds, by the ids of messages
CREATE TABLE message_terms (
    rowid BIGINT PRIMARY KEY REFERENCES messages,
    terms TSVECTOR NOT NULL
);
CREATE INDEX terms_of_messages ON message_terms USING GIN (terms);
