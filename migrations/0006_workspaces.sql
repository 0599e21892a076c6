-- Workspaces, who belongs to them, and what agents did. Columns named _at are milliseconds since 1970.
CREATE TABLE workspaces (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    -- Where somebody said who.
    created_by TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE workspace_members (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    username TEXT NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);

-- Runs that are over.
CREATE TABLE agent_runs (
    id TEXT NOT NULL PRIMARY KEY,
    agent_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    -- It need not be one of those above.
    workspace_id TEXT,
    task TEXT NOT NULL,
    -- completed, failed or cancelled.
    status TEXT NOT NULL,
    -- JSON.
    result TEXT,
    -- Why, where nobody said how it ended.
    reason TEXT,
    started_at BIGINT NOT NULL,
    took_ms BIGINT NOT NULL
);

CREATE INDEX runs_of_agent ON agent_runs (agent_id, id);
CREATE INDEX runs_by_age ON agent_runs (started_at);
