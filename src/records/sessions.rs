//! Recorded sessions: what they are called, whose they are, who has which role, and their text as it was saved last.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{SessionId, UserId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub id: SessionId,
    pub title: String,
    pub description: String,
    pub language: String,
    pub default_role: String,
    pub owner: UserId,
    pub owner_name: String,
    pub created_at: Millis,
    pub updated_at: Millis,
    pub ended_at: Option<Millis>,
}

/// What a session is to be called, and so on; `None`: as it is, or the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub title: Option<String>,
    pub description: Option<String>,
    pub language: Option<String>,
    pub default_role: Option<String>,
}

/// Its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    pub code: String,
    pub version: u64,
    pub language: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    pub user: UserId,
    pub username: String,
    pub role: String,
    pub added_at: Millis,
}

const COLUMNS: &str = "id, title, description, language, default_role, owner_id, owner_name, \
                       created_at, updated_at, ended_at";

impl Records {
    pub async fn add_session(&self, session: &Recorded) -> Result<(), Error> {
        let statement = sqlx::query(
            "INSERT INTO sessions (id, title, description, language, default_role, owner_id, owner_name, \
             created_at, updated_at, code, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', 0)",
        )
        .bind(session.id.as_str())
        .bind(session.title.as_str())
        .bind(session.description.as_str())
        .bind(session.language.as_str())
        .bind(session.default_role.as_str())
        .bind(session.owner.as_str())
        .bind(session.owner_name.as_str())
        .bind(session.created_at)
        .bind(session.updated_at);
        self.run("add_session", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    pub async fn session(&self, id: &SessionId) -> Result<Option<Recorded>, Error> {
        let statement = format!("SELECT {COLUMNS} FROM sessions WHERE id = $1");
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(id.as_str());
        self.run(
            "session",
            statement.try_map(read).fetch_optional(&self.pool),
        )
        .await
    }

    /// Those that go on and are the user's own or have a role for that user, the youngest first, from behind `after` on.
    pub async fn sessions_of(
        &self,
        user: &UserId,
        after: Option<&SessionId>,
        most: u32,
    ) -> Result<Vec<Recorded>, Error> {
        // Ids of one form and length, whose order is that of their making.
        let behind = after.map_or("r-z", SessionId::as_str);
        let statement = format!(
            "SELECT {COLUMNS} FROM sessions WHERE ended_at IS NULL AND id < $2 AND (owner_id = $1 OR id IN \
             (SELECT session_id FROM participants WHERE user_id = $1 AND role <> 'banned')) \
             ORDER BY id DESC LIMIT $3"
        );
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(user.as_str())
            .bind(behind)
            .bind(i64::from(most));
        self.run("sessions_of", statement.try_map(read).fetch_all(&self.pool))
            .await
    }

    /// What it is called from now on, where that is said; false when it has ended or never was.
    pub async fn update_session(
        &self,
        id: &SessionId,
        now: Millis,
        wish: &Wish,
    ) -> Result<bool, Error> {
        // Columns that nobody wants changed are not written as they were read: somebody else may have changed them.
        let statement = sqlx::query(
            "UPDATE sessions SET title = COALESCE($1, title), description = COALESCE($2, description), \
             language = COALESCE($3, language), default_role = COALESCE($4, default_role), updated_at = $5 \
             WHERE id = $6 AND ended_at IS NULL",
        )
        .bind(wish.title.as_deref())
        .bind(wish.description.as_deref())
        .bind(wish.language.as_deref())
        .bind(wish.default_role.as_deref())
        .bind(now)
        .bind(id.as_str());
        let done = self.run("update_session", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    /// False when it had ended.
    pub async fn end_session(&self, id: &SessionId, now: Millis) -> Result<bool, Error> {
        let statement =
            sqlx::query("UPDATE sessions SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL")
                .bind(now)
                .bind(id.as_str());
        let done = self.run("end_session", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    pub async fn saved_text(&self, id: &SessionId) -> Result<Saved, Error> {
        let statement = sqlx::query("SELECT code, version, language FROM sessions WHERE id = $1")
            .bind(id.as_str())
            .try_map(|row: AnyRow| {
                Ok(Saved {
                    code: row.try_get("code")?,
                    version: row.try_get::<i64, _>("version")?.max(0) as u64,
                    language: row.try_get("language")?,
                })
            });
        let found = self.run("saved_text", statement.fetch_optional(&self.pool));
        Ok(found.await?.unwrap_or_default())
    }

    /// Unless it, or a newer one, is saved.
    pub async fn save_text(&self, id: &SessionId, text: &Saved) -> Result<(), Error> {
        let statement = sqlx::query(
            "UPDATE sessions SET code = $1, version = $2, language = $4 \
             WHERE id = $3 AND (version < $2 OR (version = $2 AND language <> $4))",
        )
        .bind(text.code.as_str())
        .bind(i64::try_from(text.version).unwrap_or(i64::MAX))
        .bind(id.as_str())
        .bind(text.language.as_str());
        self.run("save_text", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// Those with a role of their own, in the order they were given one.
    pub async fn participants(
        &self,
        session: &SessionId,
        most: u32,
    ) -> Result<Vec<Participant>, Error> {
        let statement = sqlx::query(
            "SELECT user_id, username, role, added_at FROM participants WHERE session_id = $1 \
             ORDER BY added_at, user_id LIMIT $2",
        )
        .bind(session.as_str())
        .bind(i64::from(most))
        .try_map(|row: AnyRow| {
            let user: String = row.try_get("user_id")?;
            Ok(Participant {
                user: UserId::parse(&user).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                username: row.try_get("username")?,
                role: row.try_get("role")?,
                added_at: row.try_get("added_at")?,
            })
        });
        self.run("participants", statement.fetch_all(&self.pool))
            .await
    }

    pub async fn role_in(
        &self,
        session: &SessionId,
        user: &UserId,
    ) -> Result<Option<String>, Error> {
        let statement =
            sqlx::query("SELECT role FROM participants WHERE session_id = $1 AND user_id = $2")
                .bind(session.as_str())
                .bind(user.as_str())
                .try_map(|row: AnyRow| row.try_get("role"));
        self.run("role_in", statement.fetch_optional(&self.pool))
            .await
    }

    /// Gives a role, or another one in its place; false when as many as may have one have one.
    pub async fn put_participant(
        &self,
        session: &SessionId,
        participant: &Participant,
        most: u32,
    ) -> Result<bool, Error> {
        // Held until the end: who is counted is there, and nobody comes meanwhile.
        let hold = sqlx::query("UPDATE sessions SET updated_at = updated_at WHERE id = $1")
            .bind(session.as_str());
        let count = sqlx::query(
            "SELECT COUNT(*) AS n FROM participants WHERE session_id = $1 AND user_id <> $2",
        )
        .bind(session.as_str())
        .bind(participant.user.as_str())
        .try_map(|row: AnyRow| row.try_get::<i64, _>("n"));
        let put = sqlx::query(
            "INSERT INTO participants (session_id, user_id, username, role, added_at) \
             VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (session_id, user_id) DO UPDATE SET role = excluded.role",
        )
        .bind(session.as_str())
        .bind(participant.user.as_str())
        .bind(participant.username.as_str())
        .bind(participant.role.as_str())
        .bind(participant.added_at);
        self.run("put_participant", async {
            let mut step = self.pool.begin().await?;
            hold.execute(&mut *step).await?;
            let fits = count.fetch_one(&mut *step).await? < i64::from(most);
            if fits {
                put.execute(&mut *step).await?;
            }
            step.commit().await?;
            Ok(fits)
        })
        .await
    }

    pub async fn remove_participant(
        &self,
        session: &SessionId,
        user: &UserId,
    ) -> Result<bool, Error> {
        let statement =
            sqlx::query("DELETE FROM participants WHERE session_id = $1 AND user_id = $2")
                .bind(session.as_str())
                .bind(user.as_str());
        let done = self.run("remove_participant", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }
}

fn read(row: AnyRow) -> Result<Recorded, sqlx::Error> {
    let decode = |error| sqlx::Error::Decode(Box::new(error));
    let (id, owner): (String, String) = (row.try_get("id")?, row.try_get("owner_id")?);
    Ok(Recorded {
        id: SessionId::parse(&id).map_err(decode)?,
        title: row.try_get("title")?,
        description: row.try_get("description")?,
        language: row.try_get("language")?,
        default_role: row.try_get("default_role")?,
        owner: UserId::parse(&owner).map_err(decode)?,
        owner_name: row.try_get("owner_name")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}
