//! Workspaces that somebody made, and who belongs to them whether there or not.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{UserId, WorkspaceId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: String,
    pub description: String,
    /// `None`: nobody said who.
    pub created_by: Option<UserId>,
    pub created_at: Millis,
}

/// Who belongs to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fellow {
    pub user: UserId,
    pub username: String,
}

const COLUMNS: &str = "id, name, description, created_by, created_at";

impl Records {
    /// A workspace, and who is the first to belong to it.
    pub async fn add_workspace(
        &self,
        made: &Workspace,
        first: Option<&Fellow>,
    ) -> Result<(), Error> {
        let add = sqlx::query(
            "INSERT INTO workspaces (id, name, description, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(made.id.as_str())
        .bind(made.name.as_str())
        .bind(made.description.as_str())
        .bind(made.created_by.as_ref().map(UserId::as_str))
        .bind(made.created_at);
        let put = first.map(|first| put(&made.id, first));
        self.run("add_workspace", async {
            let mut step = self.pool.begin().await?;
            add.execute(&mut *step).await?;
            if let Some(put) = put {
                put.execute(&mut *step).await?;
            }
            step.commit().await
        })
        .await
    }

    pub async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, Error> {
        let statement = format!("SELECT {COLUMNS} FROM workspaces WHERE id = $1");
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(id.as_str());
        let statement = statement.try_map(read);
        self.run("workspace", statement.fetch_optional(&self.pool))
            .await
    }

    /// In the order of their ids, from behind `after` on.
    pub async fn workspaces(
        &self,
        after: Option<&WorkspaceId>,
        most: u64,
    ) -> Result<Vec<Workspace>, Error> {
        let statement =
            format!("SELECT {COLUMNS} FROM workspaces WHERE id > $1 ORDER BY id LIMIT $2");
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(after.map_or("", WorkspaceId::as_str))
            .bind(most as i64)
            .try_map(read);
        self.run("workspaces", statement.fetch_all(&self.pool))
            .await
    }

    /// False when there is no such workspace. What is `None` stays as it is.
    pub async fn update_workspace(
        &self,
        id: &WorkspaceId,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<bool, Error> {
        let statement = sqlx::query(
            "UPDATE workspaces SET name = COALESCE($1, name), \
             description = COALESCE($2, description) WHERE id = $3",
        )
        .bind(name)
        .bind(description)
        .bind(id.as_str());
        let done = self.run("update_workspace", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    /// With those who belong to it.
    pub async fn remove_workspace(&self, id: &WorkspaceId) -> Result<(), Error> {
        let statement = sqlx::query("DELETE FROM workspaces WHERE id = $1").bind(id.as_str());
        self.run("remove_workspace", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// [`Error::Bound`] without such a workspace.
    pub async fn put_fellow(&self, id: &WorkspaceId, fellow: &Fellow) -> Result<(), Error> {
        self.run("put_fellow", put(id, fellow).execute(&self.pool))
            .await
            .map(drop)
    }

    pub async fn remove_fellow(&self, id: &WorkspaceId, user: &UserId) -> Result<(), Error> {
        let statement =
            sqlx::query("DELETE FROM workspace_members WHERE workspace_id = $1 AND user_id = $2")
                .bind(id.as_str())
                .bind(user.as_str());
        self.run("remove_fellow", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    pub async fn fellows(&self, id: &WorkspaceId, most: u64) -> Result<Vec<Fellow>, Error> {
        let statement = sqlx::query(
            "SELECT user_id, username FROM workspace_members \
             WHERE workspace_id = $1 ORDER BY user_id LIMIT $2",
        )
        .bind(id.as_str())
        .bind(most as i64)
        .try_map(|row: AnyRow| {
            Ok(Fellow {
                user: user(&row, "user_id")?,
                username: row.try_get("username")?,
            })
        });
        self.run("fellows", statement.fetch_all(&self.pool)).await
    }
}

fn put<'q>(
    id: &'q WorkspaceId,
    fellow: &'q Fellow,
) -> sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments> {
    sqlx::query(
        "INSERT INTO workspace_members (workspace_id, user_id, username) VALUES ($1, $2, $3) \
         ON CONFLICT (workspace_id, user_id) DO UPDATE SET username = excluded.username",
    )
    .bind(id.as_str())
    .bind(fellow.user.as_str())
    .bind(fellow.username.as_str())
}

fn read(row: AnyRow) -> Result<Workspace, sqlx::Error> {
    let id: String = row.try_get("id")?;
    let by: Option<String> = row.try_get("created_by")?;
    Ok(Workspace {
        id: WorkspaceId::parse(&id).map_err(decode)?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        created_by: by.and_then(|id| UserId::parse(&id).ok()),
        created_at: row.try_get("created_at")?,
    })
}

fn user(row: &AnyRow, column: &str) -> Result<UserId, sqlx::Error> {
    let id: String = row.try_get(column)?;
    UserId::parse(&id).map_err(decode)
}

fn decode(bad: crate::ids::BadId) -> sqlx::Error {
    sqlx::Error::Decode(bad.into())
}
