//! What agents did: their runs that are over.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{AgentId, EventId, UserId, WorkspaceId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: EventId,
    pub agent: AgentId,
    pub user: UserId,
    pub workspace: Option<WorkspaceId>,
    pub task: String,
    pub status: String,
    /// JSON.
    pub result: Option<String>,
    pub reason: Option<String>,
    pub started_at: Millis,
    pub took_ms: u64,
}

impl Records {
    /// A repeat changes nothing.
    pub async fn note_run(&self, run: &Run) -> Result<(), Error> {
        let statement = sqlx::query(
            "INSERT INTO agent_runs (id, agent_id, user_id, workspace_id, task, status, result, reason, \
             started_at, took_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(run.id.to_string())
        .bind(run.agent.as_str())
        .bind(run.user.as_str())
        .bind(run.workspace.as_ref().map(WorkspaceId::as_str))
        .bind(run.task.as_str())
        .bind(run.status.as_str())
        .bind(run.result.as_deref())
        .bind(run.reason.as_deref())
        .bind(run.started_at)
        .bind(run.took_ms as i64);
        self.run("note_run", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// The youngest first, from behind `after` on.
    pub async fn runs_of(
        &self,
        agent: &AgentId,
        after: Option<EventId>,
        most: u32,
    ) -> Result<Vec<Run>, Error> {
        // Ids of one form and length, whose order is that of their making.
        let behind = after.map_or_else(|| "g".to_owned(), |id| id.to_string());
        let statement = sqlx::query(
            "SELECT id, agent_id, user_id, workspace_id, task, status, result, reason, started_at, took_ms \
             FROM agent_runs WHERE agent_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(agent.as_str())
        .bind(behind)
        .bind(i64::from(most))
        .try_map(read);
        self.run("runs_of", statement.fetch_all(&self.pool)).await
    }

    /// Forgets runs that began before that, so many at most; how many there were.
    pub async fn prune_runs(&self, before: Millis, most: u32) -> Result<u64, Error> {
        let statement = sqlx::query(
            "DELETE FROM agent_runs WHERE id IN \
             (SELECT id FROM agent_runs WHERE started_at < $1 ORDER BY started_at LIMIT $2)",
        )
        .bind(before)
        .bind(i64::from(most));
        let gone = self.run("prune_runs", statement.execute(&self.pool));
        Ok(gone.await?.rows_affected())
    }
}

fn read(row: AnyRow) -> Result<Run, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let bad = |what: &str| sqlx::Error::Decode(format!("no {what}").into());
    let workspace: Option<String> = row.try_get("workspace_id")?;
    Ok(Run {
        id: EventId::parse(&text("id")?).ok_or_else(|| bad("id of a run"))?,
        agent: AgentId::parse(&text("agent_id")?).map_err(|_| bad("agent"))?,
        user: UserId::parse(&text("user_id")?).map_err(|_| bad("user"))?,
        workspace: workspace.and_then(|id| WorkspaceId::parse(&id).ok()),
        task: text("task")?,
        status: text("status")?,
        result: row.try_get("result")?,
        reason: row.try_get("reason")?,
        started_at: row.try_get("started_at")?,
        took_ms: row.try_get::<i64, _>("took_ms")?.try_into().unwrap_or(0),
    })
}
