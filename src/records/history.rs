//! What was said, read again: pages of chat, threads and comments, and sums of them.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::messages::{COLUMNS, Message, read, user};
use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{EventId, SessionId, UserId};

/// How long a reader waits for what is being told at this moment, and how often it looks.
const SETTLING: u32 = 40;
const LOOK: Duration = Duration::from_millis(15);
/// What has been pending for longer than this was left behind by a node that died.
const PENDING: Millis = 10_000;
/// Messages waited for at most.
const AWAITED: i64 = 100;

/// Only what this user may see: `$2` in each statement.
const SEEN: &str = "seq IS NOT NULL AND (to_user IS NULL OR to_user = $2 OR user_id = $2)";

/// Whose reactions a message has, by emoji, in the order they came.
pub type Reactions = HashMap<EventId, Vec<(String, Vec<UserId>)>>;

/// Which comments are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub file: Option<String>,
    pub resolved: Option<bool>,
}

/// What was said in a session, summed up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    pub total: u64,
    /// The most talkative first.
    pub by_user: Vec<(UserId, String, u64)>,
    /// Days since 1970.
    pub by_day: Vec<(i64, u64)>,
    pub reactions: Vec<(String, u64)>,
}

impl Records {
    /// Chat that the reader may see, before that message, the newest first.
    pub async fn chat(
        &self,
        session: &SessionId,
        reader: &UserId,
        before: Option<&Message>,
        most: u32,
    ) -> Result<Vec<Message>, Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND kind = 'chat' AND {SEEN} \
             AND (created_at, id) < ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $5"
        );
        let (at, id) = before.map_or((Millis::MAX, String::new()), place);
        self.page("chat", statement, session, reader, (at, id), most)
            .await
    }

    /// A message and all that answers it, after that one, the oldest first.
    pub async fn thread(
        &self,
        session: &SessionId,
        reader: &UserId,
        root: EventId,
        after: Option<&Message>,
        most: u32,
    ) -> Result<Vec<Message>, Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND (id = $6 OR thread_id = $6) AND {SEEN} \
             AND (created_at, id) > ($3, $4) ORDER BY created_at, id LIMIT $5"
        );
        let (at, id) = after.map_or((0, String::new()), place);
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(session.as_str())
            .bind(reader.as_str())
            .bind(at)
            .bind(id)
            .bind(i64::from(most))
            .bind(root.to_string());
        let found = statement.try_map(|row| read(&row));
        self.run("thread", found.fetch_all(&self.pool)).await
    }

    /// Comments after that one, the oldest first.
    pub async fn comments(
        &self,
        session: &SessionId,
        reader: &UserId,
        wanted: &Wanted,
        after: Option<&Message>,
        most: u32,
    ) -> Result<Vec<Message>, Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND kind = 'comment' AND {SEEN} \
             AND (created_at, id) > ($3, $4) AND ($6 = '' OR file = $6) AND ($7 < 0 OR resolved = $7) \
             ORDER BY created_at, id LIMIT $5"
        );
        let (at, id) = after.map_or((0, String::new()), place);
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(session.as_str())
            .bind(reader.as_str())
            .bind(at)
            .bind(id)
            .bind(i64::from(most))
            .bind(wanted.file.as_deref().unwrap_or_default())
            .bind(wanted.resolved.map_or(-1, i64::from));
        let found = statement.try_map(|row| read(&row));
        self.run("comments", found.fetch_all(&self.pool)).await
    }

    /// The newest direct messages from or to the reader, the oldest of them first.
    pub async fn letters(
        &self,
        session: &SessionId,
        reader: &UserId,
        most: u32,
    ) -> Result<Vec<Message>, Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND kind = 'chat' AND {SEEN} AND to_user IS NOT NULL \
             AND deleted_at IS NULL AND (created_at, id) < ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $5"
        );
        let newest = (Millis::MAX, String::new());
        let mut found = self
            .page("letters", statement, session, reader, newest, most)
            .await?;
        found.reverse();
        Ok(found)
    }

    /// Whether there are any.
    pub async fn has_letters(&self, session: &SessionId) -> Result<bool, Error> {
        let statement = sqlx::query(
            "SELECT id FROM messages WHERE session_id = $1 AND to_user IS NOT NULL LIMIT 1",
        )
        .bind(session.as_str());
        let found = self.run("has_letters", statement.fetch_optional(&self.pool));
        Ok(found.await?.is_some())
    }

    async fn page(
        &self,
        what: &'static str,
        statement: String,
        session: &SessionId,
        reader: &UserId,
        (at, id): (Millis, String),
        most: u32,
    ) -> Result<Vec<Message>, Error> {
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(session.as_str())
            .bind(reader.as_str())
            .bind(at)
            .bind(id)
            .bind(i64::from(most));
        let found = statement.try_map(|row| read(&row));
        self.run(what, found.fetch_all(&self.pool)).await
    }

    /// The newest chat that everybody may see, the oldest of it first.
    pub async fn public_chat(&self, session: &SessionId, most: u32) -> Result<Vec<Message>, Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND kind = 'chat' AND seq IS NOT NULL \
             AND to_user IS NULL AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $2"
        );
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(session.as_str())
            .bind(i64::from(most));
        let found = statement.try_map(|row| read(&row));
        let mut found = self.run("public_chat", found.fetch_all(&self.pool)).await?;
        found.reverse();
        Ok(found)
    }

    pub async fn reactions(&self, messages: &[Message]) -> Result<Reactions, Error> {
        // What is deleted has none, also when one came at the same moment.
        let messages: Vec<&Message> = messages
            .iter()
            .filter(|message| message.deleted_at.is_none())
            .collect();
        if messages.is_empty() {
            return Ok(Reactions::new());
        }
        let places: Vec<String> = (1..=messages.len()).map(|at| format!("${at}")).collect();
        let statement = format!(
            "SELECT message_id, emoji, user_id FROM reactions WHERE message_id IN ({}) \
             ORDER BY created_at, user_id",
            places.join(", ")
        );
        let mut statement = sqlx::query(sqlx::AssertSqlSafe(statement));
        for message in messages {
            statement = statement.bind(message.id.to_string());
        }
        let found = statement.try_map(|row: AnyRow| {
            let message: String = row.try_get("message_id")?;
            let emoji: String = row.try_get("emoji")?;
            Ok((message, emoji, user(&row, "user_id")?))
        });
        let found = self.run("reactions", found.fetch_all(&self.pool)).await?;
        let mut sorted = Reactions::new();
        for (message, emoji, user) in found {
            let Some(message) = EventId::parse(&message) else {
                continue;
            };
            let of_message = sorted.entry(message).or_default();
            match of_message.iter_mut().find(|(known, _)| *known == emoji) {
                Some((_, users)) => users.push(user),
                None => of_message.push((emoji, vec![user])),
            }
        }
        Ok(sorted)
    }

    /// Of chat that everybody may see.
    pub async fn chat_sums(&self, session: &SessionId) -> Result<Sums, Error> {
        const PUBLIC: &str = "session_id = $1 AND kind = 'chat' AND seq IS NOT NULL AND to_user IS NULL AND \
                              deleted_at IS NULL";
        let by_user = format!(
            "SELECT user_id, max(username) AS name, CAST(count(*) AS BIGINT) AS number FROM messages WHERE {PUBLIC} \
             GROUP BY user_id ORDER BY number DESC, user_id"
        );
        let by_user = sqlx::query(sqlx::AssertSqlSafe(by_user)).bind(session.as_str());
        let by_user = by_user.try_map(|row: AnyRow| {
            Ok((user(&row, "user_id")?, row.try_get("name")?, number(&row)?))
        });
        let by_day = format!(
            "SELECT created_at / 86400000 AS day, CAST(count(*) AS BIGINT) AS number FROM messages WHERE {PUBLIC} \
             GROUP BY created_at / 86400000 ORDER BY day"
        );
        let by_day = sqlx::query(sqlx::AssertSqlSafe(by_day)).bind(session.as_str());
        let by_day = by_day.try_map(|row: AnyRow| Ok((row.try_get("day")?, number(&row)?)));
        let reactions = format!(
            "SELECT emoji, CAST(count(*) AS BIGINT) AS number FROM reactions WHERE message_id IN \
             (SELECT id FROM messages WHERE {PUBLIC}) GROUP BY emoji ORDER BY number DESC, emoji"
        );
        let reactions = sqlx::query(sqlx::AssertSqlSafe(reactions)).bind(session.as_str());
        let reactions = reactions.try_map(|row: AnyRow| Ok((row.try_get("emoji")?, number(&row)?)));
        let by_user: Vec<(UserId, String, u64)> =
            self.run("chat_sums", by_user.fetch_all(&self.pool)).await?;
        Ok(Sums {
            total: by_user.iter().map(|(_, _, number)| number).sum(),
            by_user,
            by_day: self.run("chat_sums", by_day.fetch_all(&self.pool)).await?,
            reactions: self
                .run("chat_sums", reactions.fetch_all(&self.pool))
                .await?,
        })
    }

    /// A message that was told, waiting a moment for one that is being told.
    pub async fn message_soon(
        &self,
        session: &SessionId,
        id: EventId,
        now: Millis,
    ) -> Result<Option<Message>, Error> {
        for _ in 0..SETTLING {
            if let Some(found) = self.message(session, id).await? {
                return Ok(Some(found));
            }
            if self.untold(&[id]).await?.is_empty() || is_left_behind(id, now) {
                // It may have been marked between the two.
                return self.message(session, id).await;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(None)
    }

    /// Waits a moment for what is being told in the session, so that who was told of a message finds it.
    pub async fn settle(&self, session: &SessionId, now: Millis) -> Result<(), Error> {
        let pending = sqlx::query(
            "SELECT id FROM messages WHERE session_id = $1 AND seq IS NULL AND created_at > $2 LIMIT $3",
        )
        .bind(session.as_str())
        .bind(now - PENDING)
        .bind(AWAITED)
        .try_map(|row: AnyRow| row.try_get::<String, _>("id"));
        let pending = self.run("pending", pending.fetch_all(&self.pool)).await?;
        if pending.is_empty() {
            return Ok(());
        }
        let places: Vec<String> = (1..=pending.len()).map(|at| format!("${at}")).collect();
        let left = format!(
            "SELECT CAST(count(*) AS BIGINT) FROM messages WHERE seq IS NULL AND id IN ({})",
            places.join(", ")
        );
        for _ in 0..SETTLING {
            tokio::time::sleep(LOOK).await;
            let mut left = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(left.clone()));
            for id in &pending {
                left = left.bind(id.as_str());
            }
            if self.run("pending", left.fetch_one(&self.pool)).await? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Whoever was about to tell of it is gone.
fn is_left_behind(id: EventId, now: Millis) -> bool {
    id.at().is_none_or(|at| at < now - PENDING)
}

fn place(message: &Message) -> (Millis, String) {
    (message.created_at, message.id.to_string())
}

fn number(row: &AnyRow) -> Result<u64, sqlx::Error> {
    let number: i64 = row.try_get("number")?;
    Ok(u64::try_from(number).unwrap_or(0))
}
