-- People with a password, and the tokens they were given.
-- Times are milliseconds since 1970; truth is 0 or 1: SQLite and PostgreSQL share these statements.
CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    username TEXT NOT NULL,
    -- In lower case: who is who does not depend on it.
    username_key TEXT NOT NULL CONSTRAINT username_taken UNIQUE,
    email TEXT NOT NULL,
    email_key TEXT CONSTRAINT email_taken UNIQUE,
    -- A PHC string, a bcrypt hash, or nothing: nobody logs in with that.
    password TEXT NOT NULL,
    guest BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE tokens (
    jti TEXT NOT NULL PRIMARY KEY,
    -- No account goes while a token of its is not taken back.
    user_id TEXT NOT NULL REFERENCES users (id),
    expires_at BIGINT NOT NULL
);

CREATE INDEX tokens_of_user ON tokens (user_id, expires_at);

-- Tokens that are believed no more, for a backplane that forgot them.
CREATE TABLE revoked (
    jti TEXT NOT NULL PRIMARY KEY,
    ends_at BIGINT NOT NULL
);
