-- Everything durable that happened in recorded sessions. Columns named _at are milliseconds since 1970.
CREATE TABLE events (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    -- Orders of a room are counted: a room that was lost and made again begins another.
    part BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    happened_at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    -- Who did it; NULL: nobody in particular.
    user_id TEXT,
    -- The message it is about, whose words are in messages alone.
    message_id TEXT,
    -- JSON object, by kind.
    body TEXT NOT NULL,
    -- The text after it, where it changed the text and that was kept, and the version of it.
    code TEXT,
    version BIGINT,
    PRIMARY KEY (session_id, part, seq)
);

CREATE INDEX events_by_time ON events (session_id, happened_at);
CREATE INDEX events_by_age ON events (happened_at);

-- How far the room's log is recorded.
ALTER TABLE sessions ADD COLUMN log_epoch TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN log_part BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN log_seq BIGINT NOT NULL DEFAULT 0;
