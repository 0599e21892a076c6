//! The texts of recorded sessions as documents: the newest, and what every older version is made of.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{SessionId, UserId};

/// What made a version of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub version: u64,
    pub user: UserId,
    pub at: Millis,
    pub update: Vec<u8>,
}

/// What a version is made of: the last snapshot before it, if there is one, and the updates since, without a hole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    pub snapshot: Option<Vec<u8>>,
    pub updates: Vec<Vec<u8>>,
    /// Who made the version, and when; unknown of one that is a snapshot.
    pub by: Option<(UserId, Millis)>,
}

/// Rows of one statement.
const TOGETHER: usize = 50;
/// Updates that a version is made of at most.
const MOST: i64 = 20_000;

impl Records {
    /// The document as it was saved last, and its version.
    pub async fn document(&self, session: &SessionId) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let statement = sqlx::query("SELECT version, state FROM documents WHERE session_id = $1")
            .bind(session.as_str())
            .try_map(|row: AnyRow| Ok((version(&row)?, bytes(&row, "state")?)));
        self.run("document", statement.fetch_optional(&self.pool))
            .await
    }

    /// Unless a newer one is saved.
    pub async fn save_document(
        &self,
        session: &SessionId,
        version: u64,
        state: &[u8],
    ) -> Result<(), Error> {
        let statement = sqlx::query(
            "INSERT INTO documents (session_id, version, state) \
             SELECT id, CAST($2 AS BIGINT), CAST($3 AS TEXT) FROM sessions WHERE id = $1 \
             ON CONFLICT (session_id) DO UPDATE SET version = excluded.version, state = excluded.state \
             WHERE documents.version <= excluded.version",
        )
        .bind(session.as_str())
        .bind(signed(version))
        .bind(STANDARD.encode(state));
        self.run("save_document", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// Keeps a version as a whole, for those after it to be made of.
    pub async fn add_snapshot(
        &self,
        session: &SessionId,
        version: u64,
        state: &[u8],
    ) -> Result<(), Error> {
        let statement = sqlx::query(
            "INSERT INTO document_snapshots (session_id, version, state) \
             SELECT id, CAST($2 AS BIGINT), CAST($3 AS TEXT) FROM sessions WHERE id = $1 \
             ON CONFLICT (session_id, version) DO NOTHING",
        )
        .bind(session.as_str())
        .bind(signed(version))
        .bind(STANDARD.encode(state));
        self.run("add_snapshot", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// A version that a store lost may be another one now: the last one counts.
    pub async fn add_updates(&self, session: &SessionId, changed: &[Changed]) -> Result<(), Error> {
        for some in changed.chunks(TOGETHER) {
            let rows: Vec<String> = (0..some.len())
                .map(|row| {
                    let at = 2 + row * 4;
                    format!("($1, ${}, ${}, ${}, ${})", at, at + 1, at + 2, at + 3)
                })
                .collect();
            let text = format!(
                "INSERT INTO document_updates (session_id, version, user_id, happened_at, body) VALUES {} \
                 ON CONFLICT (session_id, version) DO UPDATE SET user_id = excluded.user_id, \
                 happened_at = excluded.happened_at, body = excluded.body",
                rows.join(", ")
            );
            let mut statement = sqlx::query(sqlx::AssertSqlSafe(text)).bind(session.as_str());
            for one in some {
                statement = statement
                    .bind(signed(one.version))
                    .bind(one.user.as_str())
                    .bind(one.at)
                    .bind(STANDARD.encode(&one.update));
            }
            self.run("add_updates", statement.execute(&self.pool))
                .await?;
        }
        Ok(())
    }

    /// Who made a version, and when, if that was written down.
    pub async fn author(
        &self,
        session: &SessionId,
        version: u64,
    ) -> Result<Option<(UserId, Millis)>, Error> {
        let statement = sqlx::query(
            "SELECT user_id, happened_at FROM document_updates WHERE session_id = $1 AND version = $2",
        )
        .bind(session.as_str())
        .bind(signed(version))
        .try_map(|row: AnyRow| by(&row));
        self.run("author", statement.fetch_optional(&self.pool))
            .await
    }

    /// What a version is made of; `None`: something of that is not there any more, or was never written down.
    pub async fn parts(&self, session: &SessionId, wanted: u64) -> Result<Option<Parts>, Error> {
        let snapshot = sqlx::query(
            "SELECT version, state FROM document_snapshots WHERE session_id = $1 AND version <= $2 \
             ORDER BY version DESC LIMIT 1",
        )
        .bind(session.as_str())
        .bind(signed(wanted))
        .try_map(|row: AnyRow| Ok((version(&row)?, bytes(&row, "state")?)));
        let snapshot = self
            .run("parts", snapshot.fetch_optional(&self.pool))
            .await?;
        let base = snapshot.as_ref().map_or(0, |(version, _)| *version);
        let updates = sqlx::query(
            "SELECT version, user_id, happened_at, body FROM document_updates \
             WHERE session_id = $1 AND version > $2 AND version <= $3 ORDER BY version LIMIT $4",
        )
        .bind(session.as_str())
        .bind(signed(base))
        .bind(signed(wanted))
        .bind(MOST)
        .try_map(|row: AnyRow| Ok((version(&row)?, bytes(&row, "body")?, by(&row)?)));
        let updates = self.run("parts", updates.fetch_all(&self.pool)).await?;
        let versions = updates.iter().map(|(version, ..)| *version);
        if !versions.eq(base + 1..=wanted) {
            return Ok(None);
        }
        Ok(Some(Parts {
            snapshot: snapshot.map(|(_, state)| state),
            by: updates.last().map(|(_, _, by)| by.clone()),
            updates: updates.into_iter().map(|(_, body, _)| body).collect(),
        }))
    }
}

fn by(row: &AnyRow) -> Result<(UserId, Millis), sqlx::Error> {
    let user: String = row.try_get("user_id")?;
    let user = UserId::parse(&user).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok((user, row.try_get("happened_at")?))
}

fn version(row: &AnyRow) -> Result<u64, sqlx::Error> {
    Ok(row.try_get::<i64, _>("version")?.max(0) as u64)
}

fn bytes(row: &AnyRow, column: &str) -> Result<Vec<u8>, sqlx::Error> {
    let text: String = row.try_get(column)?;
    STANDARD
        .decode(text)
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn signed(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
