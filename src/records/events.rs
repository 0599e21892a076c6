//! Everything durable that happened in recorded sessions, in the room's order.
//!
//! Written from the room's log, some time after it happened, by whoever comes first: a place in the order has one row.
//! A room that was lost and made again counts from the beginning; its orders are told apart by their number, the part.
//! The words of messages are not here but in their own rows, so that what is deleted there is deleted everywhere.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::messages::user;
use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{EventId, SessionId, UserId};

/// Rows in one statement.
const ROWS: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    pub seq: u64,
    pub at: Millis,
    pub kind: String,
    pub user: Option<UserId>,
    pub message: Option<EventId>,
    /// JSON, without the words of a message.
    pub body: String,
    /// The text after it, where that was kept, and the version of it.
    pub code: Option<String>,
    pub version: Option<u64>,
}

/// How far a room's log is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Empty: nothing is recorded.
    pub epoch: String,
    pub part: i64,
    pub seq: u64,
}

/// Behind an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    pub part: i64,
    pub seq: u64,
}

/// Which events are wanted: from then on, and before.
#[derive(Debug, Clone, Default)]
pub struct Span {
    pub from: Option<Millis>,
    pub to: Option<Millis>,
    pub kind: Option<String>,
    /// Whether their texts are, too.
    pub code: bool,
}

/// An event as it is read, with the words of its message.
#[derive(Debug, Clone)]
pub struct Told {
    pub cursor: Cursor,
    pub event: Happened,
    pub words: Option<Words>,
}

/// What a message says now.
#[derive(Debug, Clone)]
pub struct Words {
    pub content: String,
    pub snippet: Option<String>,
    pub mentions: Vec<UserId>,
}

impl Records {
    pub async fn log_order(&self, session: &SessionId) -> Result<Option<Order>, Error> {
        let statement =
            sqlx::query("SELECT log_epoch, log_part, log_seq FROM sessions WHERE id = $1")
                .bind(session.as_str())
                .try_map(|row: AnyRow| {
                    Ok(Order {
                        epoch: row.try_get("log_epoch")?,
                        part: row.try_get("log_part")?,
                        seq: unsigned(&row, "log_seq")?.unwrap_or(0),
                    })
                });
        self.run("log_order", statement.fetch_optional(&self.pool))
            .await
    }

    /// Another order begins behind that one; false when somebody else has begun one.
    pub async fn begin_order(
        &self,
        session: &SessionId,
        behind: &Order,
        epoch: &str,
    ) -> Result<bool, Error> {
        let statement = sqlx::query(
            "UPDATE sessions SET log_epoch = $1, log_part = log_part + 1, log_seq = 0 \
             WHERE id = $2 AND log_part = $3 AND log_epoch = $4",
        )
        .bind(epoch)
        .bind(session.as_str())
        .bind(behind.part)
        .bind(behind.epoch.as_str());
        let done = self.run("begin_order", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    /// Writes events of an order down; those that are there stay as they are, but for a text they lack.
    pub async fn record(
        &self,
        session: &SessionId,
        part: i64,
        events: &[Happened],
    ) -> Result<(), Error> {
        const COLUMNS: usize = 10;
        for rows in events.chunks(ROWS) {
            let values: Vec<String> = (0..rows.len())
                .map(|row| {
                    let at = |column| format!("${}", row * COLUMNS + column);
                    let all: Vec<String> = (1..=COLUMNS).map(at).collect();
                    format!("({})", all.join(", "))
                })
                .collect();
            let statement = format!(
                "INSERT INTO events (session_id, part, seq, happened_at, kind, user_id, message_id, body, code, version) \
                 VALUES {} ON CONFLICT (session_id, part, seq) DO UPDATE SET \
                 code = COALESCE(excluded.code, events.code)",
                values.join(", ")
            );
            let mut statement = sqlx::query(sqlx::AssertSqlSafe(statement));
            for event in rows {
                statement = statement
                    .bind(session.as_str())
                    .bind(part)
                    .bind(signed(event.seq))
                    .bind(event.at)
                    .bind(event.kind.as_str())
                    .bind(event.user.as_ref().map(UserId::as_str))
                    .bind(event.message.map(|id| id.to_string()))
                    .bind(event.body.as_str())
                    .bind(event.code.as_deref())
                    .bind(event.version.map(signed));
            }
            self.run("record", statement.execute(&self.pool)).await?;
        }
        Ok(())
    }

    /// All of the order up to there is written down.
    pub async fn recorded_to(&self, session: &SessionId, part: i64, seq: u64) -> Result<(), Error> {
        let statement = sqlx::query(
            "UPDATE sessions SET log_seq = $1 WHERE id = $2 AND log_part = $3 AND log_seq < $1",
        )
        .bind(signed(seq))
        .bind(session.as_str())
        .bind(part);
        self.run("recorded_to", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// Events that the reader may see, after that one.
    pub async fn events(
        &self,
        session: &SessionId,
        reader: &UserId,
        span: &Span,
        after: Cursor,
        most: u32,
    ) -> Result<Vec<Told>, Error> {
        let code = if span.code { "e.code" } else { "NULL" };
        let statement = format!(
            "SELECT e.part AS part, e.seq AS seq, e.happened_at AS happened_at, e.kind AS kind, e.user_id AS user_id, \
             e.message_id AS message_id, e.body AS body, CAST({code} AS TEXT) AS code, e.version AS version, \
             m.content AS content, m.code_snippet AS code_snippet, m.mentions AS mentions \
             FROM events e LEFT JOIN messages m ON m.id = e.message_id \
             WHERE e.session_id = $1 AND (e.message_id IS NULL OR \
             (m.id IS NOT NULL AND (m.to_user IS NULL OR m.to_user = $2 OR m.user_id = $2))) \
             AND e.happened_at >= $3 AND e.happened_at < $4 AND ($5 = '' OR e.kind = $5) \
             AND (e.part, e.seq) > ($6, $7) ORDER BY e.part, e.seq LIMIT $8"
        );
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(session.as_str())
            .bind(reader.as_str())
            .bind(span.from.unwrap_or(Millis::MIN))
            .bind(span.to.unwrap_or(Millis::MAX))
            .bind(span.kind.as_deref().unwrap_or_default())
            .bind(after.part)
            .bind(signed(after.seq))
            .bind(i64::from(most));
        let found = statement.try_map(|row| read(&row));
        self.run("events", found.fetch_all(&self.pool)).await
    }

    /// Forgets events older than that, so many at most; how many there were.
    pub async fn prune_events(&self, before: Millis, most: u32) -> Result<u64, Error> {
        let statement = sqlx::query(
            "DELETE FROM events WHERE (session_id, part, seq) IN \
             (SELECT session_id, part, seq FROM events WHERE happened_at < $1 LIMIT $2)",
        )
        .bind(before)
        .bind(i64::from(most));
        let done = self.run("prune_events", statement.execute(&self.pool));
        Ok(done.await?.rows_affected())
    }

    /// The same of messages, and of what people made of them.
    pub async fn prune_messages(&self, before: Millis, most: u32) -> Result<u64, Error> {
        const OLD: &str =
            "SELECT id FROM messages WHERE created_at < $1 ORDER BY created_at, id LIMIT $2";
        let all = async {
            let mut all = self.pool.begin().await?;
            let reactions = format!("DELETE FROM reactions WHERE message_id IN ({OLD})");
            sqlx::query(sqlx::AssertSqlSafe(reactions))
                .bind(before)
                .bind(i64::from(most))
                .execute(&mut *all)
                .await?;
            let messages = format!("DELETE FROM messages WHERE id IN ({OLD})");
            let done = sqlx::query(sqlx::AssertSqlSafe(messages))
                .bind(before)
                .bind(i64::from(most))
                .execute(&mut *all)
                .await?;
            all.commit().await?;
            Ok(done.rows_affected())
        };
        self.run("prune_messages", all).await
    }
}

fn read(row: &AnyRow) -> Result<Told, sqlx::Error> {
    let message: Option<String> = row.try_get("message_id")?;
    let by: Option<String> = row.try_get("user_id")?;
    let content: Option<String> = row.try_get("content")?;
    let words = match content {
        None => None,
        Some(content) => {
            let mentions: String = row.try_get("mentions")?;
            Some(Words {
                content,
                snippet: row.try_get("code_snippet")?,
                mentions: serde_json::from_str(&mentions).unwrap_or_default(),
            })
        }
    };
    let seq = unsigned(row, "seq")?.unwrap_or(0);
    Ok(Told {
        cursor: Cursor {
            part: row.try_get("part")?,
            seq,
        },
        event: Happened {
            seq,
            at: row.try_get("happened_at")?,
            kind: row.try_get("kind")?,
            user: by.map(|_| user(row, "user_id")).transpose()?,
            message: message.and_then(|id| EventId::parse(&id)),
            body: row.try_get("body")?,
            code: row.try_get("code")?,
            version: unsigned(row, "version")?,
        },
        words,
    })
}

fn unsigned(row: &AnyRow, field: &str) -> Result<Option<u64>, sqlx::Error> {
    let number: Option<i64> = row.try_get(field)?;
    Ok(number.and_then(|number| u64::try_from(number).ok()))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
