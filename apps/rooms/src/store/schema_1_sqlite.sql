-- what the search finds, by the ids of messages; the text itself is in messages
CREATE VIRTUAL TABLE message_terms USING fts5 (terms, content='', contentless_delete=1);
