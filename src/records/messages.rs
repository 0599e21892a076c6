//! What is said in recorded sessions: chat, direct messages and comments, and what people made of them.
//!
//! A message is stored before anybody is told, and marked with its place in the room's order afterwards. Until then it
//! is nobody's to see. Every reading here is some reader's, and leaves out what that user may not see.

use std::future::Future;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{EventId, SessionId, UserId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: EventId,
    pub session: SessionId,
    pub user: UserId,
    pub username: String,
    /// Empty once it was deleted.
    pub content: String,
    /// For this user and the sender alone.
    pub to: Option<UserId>,
    pub reply_to: Option<EventId>,
    /// The message that the whole thread answers.
    pub thread: Option<EventId>,
    pub mentions: Vec<UserId>,
    /// Where it is a comment.
    pub spot: Option<Spot>,
    pub created_at: Millis,
    pub edited_at: Option<Millis>,
    pub deleted_at: Option<Millis>,
    /// Where in the room's order it was told; `None`: nobody was told.
    pub seq: Option<u64>,
}

/// What became of a reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reacted {
    New,
    /// It was there, or its message is not any more.
    Known,
    /// There are as many as there may be.
    Full,
}

/// What a comment is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    pub file: String,
    pub line: u32,
    pub snippet: Option<String>,
    pub resolved: bool,
}

impl Message {
    pub fn may_see(&self, reader: &UserId) -> bool {
        self.to.is_none() || self.to.as_ref() == Some(reader) || self.user == *reader
    }

    /// Whether both say the same.
    pub fn says(&self, other: &Self) -> bool {
        let what = |message: &Self| {
            let spot = message.spot.as_ref();
            let spot = spot.map(|spot| (spot.file.clone(), spot.line, spot.snippet.clone()));
            (message.to.clone(), message.reply_to, spot)
        };
        self.content == other.content && what(self) == what(other)
    }

    fn kind(&self) -> &'static str {
        if self.spot.is_some() { COMMENT } else { CHAT }
    }
}

const CHAT: &str = "chat";
const COMMENT: &str = "comment";

pub(super) const COLUMNS: &str = "id, session_id, user_id, username, content, to_user, reply_to, thread_id, mentions, file, \
                       line, code_snippet, resolved, created_at, edited_at, deleted_at, seq";
/// Columns that a new message fills.
const FILLED: usize = 17;

impl Records {
    /// Stores a message that nobody is told of yet, together with those of others that come at the same moment. What
    /// the same user said after `since` by the same command is there already: it is that one, whatever it says. Ids of
    /// commands are used again later on.
    pub async fn post(
        &self,
        message: Message,
        command: Option<&str>,
        since: Millis,
    ) -> Result<Message, Error> {
        self.ready()?;
        let command = command.map(storable);
        if let Some(command) = &command
            && let Some(known) = self.said(&message.session, &message.user, command).await?
        {
            if known.created_at > since || (known.seq.is_none() && known.says(&message)) {
                return Ok(known);
            }
            self.free_command(known.id).await?;
        }
        let (id, session, user) = (message.id, message.session.clone(), message.user.clone());
        let stored = self.grouped(self.posts.put((message.clone(), command.clone())));
        let stored = stored.await?;
        if stored {
            return Ok(message);
        }
        // Somebody was quicker by a moment: the same command on another node.
        let known = match &command {
            Some(command) => self.said(&session, &user, command).await?,
            None => None,
        };
        known.ok_or_else(|| Error::Unavailable(format!("{id} was not stored")))
    }

    async fn said(
        &self,
        session: &SessionId,
        user: &UserId,
        command: &str,
    ) -> Result<Option<Message>, Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND user_id = $2 AND command_id = $3"
        );
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(session.as_str())
            .bind(user.as_str())
            .bind(command);
        let found = statement.try_map(|row| read(&row));
        self.run("said", found.fetch_optional(&self.pool)).await
    }

    /// The id by which it was said is another's from now on.
    async fn free_command(&self, message: EventId) -> Result<(), Error> {
        let statement = sqlx::query("UPDATE messages SET command_id = NULL WHERE id = $1")
            .bind(message.to_string());
        self.run("free_command", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// It was told there, with those of others that come at the same moment. False when there is no such message that
    /// was not told yet.
    pub async fn told(&self, message: EventId, seq: u64) -> Result<bool, Error> {
        self.ready()?;
        self.grouped(self.marks.put((message, seq))).await
    }

    /// Waits for its turn and its answer, but not for ever.
    async fn grouped(&self, put: impl Future<Output = Result<bool, Error>>) -> Result<bool, Error> {
        let late = |_| Error::Unavailable("its turn did not come in time".to_owned());
        tokio::time::timeout(self.timeout, put)
            .await
            .map_err(late)?
    }

    /// Which of these nobody was told of, as far as is written down.
    pub async fn untold(&self, messages: &[EventId]) -> Result<Vec<EventId>, Error> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<String> = (1..=messages.len()).map(|at| format!("${at}")).collect();
        let statement = format!(
            "SELECT id FROM messages WHERE seq IS NULL AND id IN ({})",
            places.join(", ")
        );
        let mut statement = sqlx::query(sqlx::AssertSqlSafe(statement));
        for message in messages {
            statement = statement.bind(message.to_string());
        }
        let found = statement.try_map(|row: AnyRow| row.try_get::<String, _>("id"));
        let found = self.run("untold", found.fetch_all(&self.pool)).await?;
        Ok(found.iter().filter_map(|id| EventId::parse(id)).collect())
    }

    /// Nobody was told of it, and nobody will be.
    pub async fn unsay(&self, message: EventId) -> Result<(), Error> {
        let statement = sqlx::query("DELETE FROM messages WHERE id = $1 AND seq IS NULL")
            .bind(message.to_string());
        self.run("unsay", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// A message that was told, whoever may see it.
    pub async fn message(
        &self,
        session: &SessionId,
        id: EventId,
    ) -> Result<Option<Message>, Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM messages WHERE session_id = $1 AND id = $2 AND seq IS NOT NULL"
        );
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(session.as_str())
            .bind(id.to_string());
        let found = statement.try_map(|row| read(&row));
        self.run("message", found.fetch_optional(&self.pool)).await
    }

    /// False when it is deleted.
    pub async fn edit(
        &self,
        id: EventId,
        content: &str,
        mentions: &[UserId],
        now: Millis,
    ) -> Result<bool, Error> {
        let statement = sqlx::query(
            "UPDATE messages SET content = $1, mentions = $2, edited_at = $3 WHERE id = $4 AND deleted_at IS NULL",
        )
        .bind(content)
        .bind(list(mentions))
        .bind(now)
        .bind(id.to_string());
        let done = self.run("edit", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    /// Blanks a message and forgets what people made of it. Its place stays.
    pub async fn delete(&self, id: EventId, now: Millis) -> Result<(), Error> {
        let all = async {
            let mut all = self.pool.begin().await?;
            sqlx::query(
                "UPDATE messages SET content = '', code_snippet = NULL, mentions = '[]', deleted_at = $1 \
                 WHERE id = $2 AND deleted_at IS NULL",
            )
            .bind(now)
            .bind(id.to_string())
            .execute(&mut *all)
            .await?;
            sqlx::query("DELETE FROM reactions WHERE message_id = $1")
                .bind(id.to_string())
                .execute(&mut *all)
                .await?;
            all.commit().await
        };
        self.run("delete", all).await
    }

    /// False when it was already.
    pub async fn resolve(&self, comment: EventId, resolved: bool) -> Result<bool, Error> {
        let statement =
            sqlx::query("UPDATE messages SET resolved = $1 WHERE id = $2 AND resolved <> $1")
                .bind(i64::from(resolved))
                .bind(comment.to_string());
        let done = self.run("resolve", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    /// What became of a reaction.
    pub async fn react(
        &self,
        message: EventId,
        emoji: &str,
        user: &UserId,
        now: Millis,
        most: u32,
    ) -> Result<Reacted, Error> {
        // Also not when it was deleted a moment ago.
        let count = "SELECT CAST(count(*) AS BIGINT) FROM reactions WHERE message_id = $1 AND NOT (emoji = $2 AND user_id = $3)";
        let others = sqlx::query_scalar::<_, i64>(count)
            .bind(message.to_string())
            .bind(emoji)
            .bind(user.as_str());
        let others = self.run("reactions", others.fetch_one(&self.pool)).await?;
        if others >= i64::from(most) {
            return Ok(Reacted::Full);
        }
        let statement = sqlx::query(
            "INSERT INTO reactions (message_id, emoji, user_id, created_at) \
             SELECT id, CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT) FROM messages \
             WHERE id = $1 AND deleted_at IS NULL ON CONFLICT DO NOTHING",
        )
        .bind(message.to_string())
        .bind(emoji)
        .bind(user.as_str())
        .bind(now);
        let done = self.run("react", statement.execute(&self.pool)).await?;
        Ok(match done.rows_affected() {
            0 => Reacted::Known,
            _ => Reacted::New,
        })
    }

    /// False when there was none.
    pub async fn unreact(
        &self,
        message: EventId,
        emoji: &str,
        user: &UserId,
    ) -> Result<bool, Error> {
        let statement = sqlx::query(
            "DELETE FROM reactions WHERE message_id = $1 AND emoji = $2 AND user_id = $3",
        )
        .bind(message.to_string())
        .bind(emoji)
        .bind(user.as_str());
        let done = self.run("unreact", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    /// Who reacted so, the first first.
    pub async fn reacted(&self, message: EventId, emoji: &str) -> Result<Vec<UserId>, Error> {
        let statement = sqlx::query(
            "SELECT user_id FROM reactions WHERE message_id = $1 AND emoji = $2 ORDER BY created_at, user_id",
        )
        .bind(message.to_string())
        .bind(emoji)
        .try_map(|row: AnyRow| user(&row, "user_id"));
        self.run("reacted", statement.fetch_all(&self.pool)).await
    }
}

/// Inserts messages; answers for each whether it is new.
pub(super) async fn insert(
    records: &Records,
    rows: &[(Message, Option<String>)],
) -> Result<Vec<bool>, Error> {
    let values: Vec<String> = (0..rows.len())
        .map(|row| {
            let columns: Vec<String> = (1..=FILLED)
                .map(|column| format!("${}", row * FILLED + column))
                .collect();
            format!("({})", columns.join(", "))
        })
        .collect();
    let statement = format!(
        "INSERT INTO messages (id, session_id, kind, user_id, username, command_id, content, to_user, reply_to, thread_id, \
         mentions, file, line, code_snippet, resolved, created_at, seq) VALUES {} ON CONFLICT DO NOTHING RETURNING id",
        values.join(", ")
    );
    let mut statement = sqlx::query(sqlx::AssertSqlSafe(statement));
    for (message, command) in rows {
        let spot = message.spot.as_ref();
        statement = statement
            .bind(message.id.to_string())
            .bind(message.session.as_str())
            .bind(message.kind())
            .bind(message.user.as_str())
            .bind(message.username.as_str())
            .bind(command.as_deref())
            .bind(message.content.as_str())
            .bind(message.to.as_ref().map(UserId::as_str))
            .bind(message.reply_to.map(|id| id.to_string()))
            .bind(message.thread.map(|id| id.to_string()))
            .bind(list(&message.mentions))
            .bind(spot.map(|spot| spot.file.as_str()))
            .bind(spot.map(|spot| i64::from(spot.line)))
            .bind(spot.and_then(|spot| spot.snippet.as_deref()))
            .bind(i64::from(spot.is_some_and(|spot| spot.resolved)))
            .bind(message.created_at)
            .bind(None::<i64>);
    }
    let inserted = statement.try_map(|row: AnyRow| row.try_get::<String, _>("id"));
    let inserted = records
        .run("post", inserted.fetch_all(&records.pool))
        .await?;
    let is_new = |(message, _): &(Message, _)| inserted.contains(&message.id.to_string());
    Ok(rows.iter().map(is_new).collect())
}

/// Marks messages as told.
pub(super) async fn mark(records: &Records, rows: &[(EventId, u64)]) -> Result<Vec<bool>, Error> {
    let (mut cases, mut ids) = (String::new(), Vec::with_capacity(rows.len()));
    for row in 0..rows.len() {
        let (id, seq) = (2 * row + 1, 2 * row + 2);
        cases.push_str(&format!(" WHEN ${id} THEN CAST(${seq} AS BIGINT)"));
        ids.push(format!("${id}"));
    }
    let statement = format!(
        "UPDATE messages SET seq = CASE id{cases} END WHERE seq IS NULL AND id IN ({}) RETURNING id",
        ids.join(", ")
    );
    let mut statement = sqlx::query(sqlx::AssertSqlSafe(statement));
    for (message, seq) in rows {
        statement = statement
            .bind(message.to_string())
            .bind(i64::try_from(*seq).unwrap_or(i64::MAX));
    }
    let marked = statement.try_map(|row: AnyRow| row.try_get::<String, _>("id"));
    let marked = records.run("told", marked.fetch_all(&records.pool)).await?;
    let is_marked = |(message, _): &(EventId, u64)| marked.contains(&message.to_string());
    Ok(rows.iter().map(is_marked).collect())
}

pub(super) fn read(row: &AnyRow) -> Result<Message, sqlx::Error> {
    let event = |field: &str| -> Result<Option<EventId>, sqlx::Error> {
        let text: Option<String> = row.try_get(field)?;
        Ok(text.and_then(|text| EventId::parse(&text)))
    };
    let file: Option<String> = row.try_get("file")?;
    let spot = match file {
        None => None,
        Some(file) => Some(Spot {
            file,
            line: u32::try_from(row.try_get::<i64, _>("line")?).unwrap_or(u32::MAX),
            snippet: row.try_get("code_snippet")?,
            resolved: row.try_get::<i64, _>("resolved")? != 0,
        }),
    };
    let session: String = row.try_get("session_id")?;
    let mentions: String = row.try_get("mentions")?;
    let to: Option<String> = row.try_get("to_user")?;
    let seq: Option<i64> = row.try_get("seq")?;
    Ok(Message {
        id: event("id")?.ok_or_else(|| odd("id"))?,
        session: SessionId::parse(&session).map_err(|_| odd("session_id"))?,
        user: user(row, "user_id")?,
        username: row.try_get("username")?,
        content: row.try_get("content")?,
        to: to.and_then(|to| UserId::parse(&to).ok()),
        reply_to: event("reply_to")?,
        thread: event("thread_id")?,
        mentions: serde_json::from_str(&mentions).unwrap_or_default(),
        spot,
        created_at: row.try_get("created_at")?,
        edited_at: row.try_get("edited_at")?,
        deleted_at: row.try_get("deleted_at")?,
        seq: seq.and_then(|seq| u64::try_from(seq).ok()),
    })
}

pub(super) fn user(row: &AnyRow, field: &str) -> Result<UserId, sqlx::Error> {
    let id: String = row.try_get(field)?;
    UserId::parse(&id).map_err(|_| odd(field))
}

fn odd(field: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{field} is no id").into())
}

/// An id as a database takes it: without NUL.
fn storable(command: &str) -> String {
    command.replace('\\', "\\\\").replace('\0', "\\0")
}

fn list(users: &[UserId]) -> String {
    serde_json::to_string(users).expect("a list of texts is JSON")
}
