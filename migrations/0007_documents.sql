-- The texts of recorded sessions as documents. Columns named _at are milliseconds since 1970; documents and updates are in
-- the first encoding of Yjs, as base64, because the two databases call bytes by different names.

-- As it was saved last.
CREATE TABLE documents (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    state TEXT NOT NULL
);

-- As it was now and then: an older version is made of the last of these before it and of the updates in between.
CREATE TABLE document_snapshots (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (session_id, version)
);

-- What made each version of the one before it.
CREATE TABLE document_updates (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    happened_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_id, version)
);

CREATE INDEX document_updates_by_age ON document_updates (happened_at);
