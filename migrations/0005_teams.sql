-- Teams, what they write down of sessions, and what is counted of their members. Columns named _at are milliseconds since 1970.
CREATE TABLE teams (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    made_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX teams_of_maker ON teams (made_by);

-- A row for whoever ever made a team, held while that one's teams are counted.
CREATE TABLE team_makers (
    user_id TEXT NOT NULL PRIMARY KEY
);

CREATE TABLE team_members (
    team_id TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    -- A token's user, who need not have an account here.
    user_id TEXT NOT NULL,
    -- Where there is no account.
    username TEXT NOT NULL,
    -- owner, admin or member.
    role TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (team_id, user_id)
);

CREATE INDEX teams_of_member ON team_members (user_id, team_id);

-- A team's notes on sessions, which they outlive.
CREATE TABLE insights (
    id TEXT NOT NULL PRIMARY KEY,
    team_id TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    session_id TEXT NOT NULL,
    author_id TEXT NOT NULL,
    -- Where there is no account.
    author_name TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    -- In lower case, to be searched: the databases' own lower case is not the same.
    title_key TEXT NOT NULL,
    body_key TEXT NOT NULL,
    -- JSON list, in the author's order; the same as below.
    tags TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX insights_of_team ON insights (team_id, id);
CREATE INDEX insights_of_session ON insights (team_id, session_id, id);

CREATE TABLE insight_tags (
    insight_id TEXT NOT NULL REFERENCES insights (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    team_id TEXT NOT NULL,
    PRIMARY KEY (insight_id, tag)
);

CREATE INDEX insights_of_tag ON insight_tags (team_id, tag, insight_id);

-- What somebody said and did in a time, and what was said in a day.
CREATE INDEX messages_of_user ON messages (user_id, created_at);
CREATE INDEX events_of_user ON events (user_id, happened_at);
CREATE INDEX messages_told_by_age ON messages (created_at) WHERE seq IS NOT NULL AND deleted_at IS NULL;
