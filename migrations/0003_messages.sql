-- What is said in recorded sessions. Columns named _at are milliseconds since 1970.
CREATE TABLE messages (
    id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    -- chat or comment.
    kind TEXT NOT NULL,
    user_id TEXT NOT NULL,
    username TEXT NOT NULL,
    -- The sender's own id for the command: said again, it is the same message.
    command_id TEXT,
    -- Empty once it was deleted, as code_snippet is.
    content TEXT NOT NULL,
    -- For this user and the sender alone.
    to_user TEXT,
    -- What it answers, and the message that the whole thread answers.
    reply_to TEXT,
    thread_id TEXT,
    -- JSON list of users.
    mentions TEXT NOT NULL,
    -- Of comments.
    file TEXT,
    line BIGINT,
    code_snippet TEXT,
    resolved BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    edited_at BIGINT,
    deleted_at BIGINT,
    -- Where in the room's order it was told; NULL: nobody has been told, and nobody may see it.
    seq BIGINT,
    UNIQUE (session_id, user_id, command_id)
);

CREATE INDEX messages_of_session ON messages (session_id, kind, created_at, id);
CREATE INDEX messages_of_thread ON messages (thread_id, created_at, id);

CREATE TABLE reactions (
    message_id TEXT NOT NULL REFERENCES messages (id),
    emoji TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (message_id, emoji, user_id)
);

CREATE INDEX messages_pending ON messages (session_id, created_at) WHERE seq IS NULL;
CREATE INDEX messages_direct ON messages (session_id, created_at) WHERE to_user IS NOT NULL;
CREATE INDEX messages_by_age ON messages (created_at, id);
