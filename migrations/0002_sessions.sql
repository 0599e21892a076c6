-- Recorded sessions, and who has which role in them. Times are milliseconds since 1970.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    language TEXT NOT NULL,
    -- Of whoever has no row below.
    default_role TEXT NOT NULL,
    -- Whose it is: a token's user, who need not have an account here.
    owner_id TEXT NOT NULL,
    owner_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- NULL while it goes on.
    ended_at BIGINT,
    -- The text as it was saved last.
    code TEXT NOT NULL,
    version BIGINT NOT NULL
);

CREATE INDEX sessions_of_owner ON sessions (owner_id, id);

CREATE TABLE participants (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    user_id TEXT NOT NULL,
    username TEXT NOT NULL,
    -- host, editor, viewer or banned.
    role TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (session_id, user_id)
);

CREATE INDEX sessions_of_participant ON participants (user_id, session_id);
