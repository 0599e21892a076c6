//! What is counted of what was said and done, all of it in the database.
//!
//! A message counts when somebody was told it and it is not deleted.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{TeamId, UserId};

/// What a team's members did from one moment to before another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeamCounts {
    /// Every member, in the order of their ids.
    pub members: Vec<(UserId, String, Counts)>,
    /// Days since 1970 (UTC) on which something happened, in their order.
    pub days: Vec<(i64, Counts)>,
    pub all: Counts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Different ones.
    pub sessions: i64,
    /// Lines of chat.
    pub messages: i64,
    pub comments: i64,
    /// Minutes with an event of a user; those of several users are added up.
    pub active_minutes: i64,
}

/// One statement, so that all is of the same moment. `done` has a row for each user, session and minute.
const TEAM: &str = "\
WITH done AS ( \
  SELECT user_id, session_id, created_at / 60000 AS minute, 0 AS active, \
    SUM(CASE WHEN kind = 'chat' THEN 1 ELSE 0 END) AS messages, \
    SUM(CASE WHEN kind = 'comment' THEN 1 ELSE 0 END) AS comments \
  FROM messages \
  WHERE user_id IN (SELECT user_id FROM team_members WHERE team_id = $1) \
    AND created_at >= $2 AND created_at < $3 AND seq IS NOT NULL AND deleted_at IS NULL \
  GROUP BY user_id, session_id, created_at / 60000 \
  UNION ALL \
  SELECT user_id, session_id, happened_at / 60000, 1, 0, 0 \
  FROM events \
  WHERE user_id IN (SELECT user_id FROM team_members WHERE team_id = $1) \
    AND happened_at >= $2 AND happened_at < $3 \
  GROUP BY user_id, session_id, happened_at / 60000 \
), minutes AS (SELECT DISTINCT user_id, minute FROM done WHERE active = 1), \
by_user AS ( \
  SELECT user_id, COUNT(DISTINCT session_id) AS sessions, SUM(messages) AS messages, SUM(comments) AS comments \
  FROM done GROUP BY user_id \
), by_day AS ( \
  SELECT minute / 1440 AS day, COUNT(DISTINCT session_id) AS sessions, SUM(messages) AS messages, \
    SUM(comments) AS comments \
  FROM done GROUP BY minute / 1440 \
), in_all AS ( \
  SELECT COUNT(DISTINCT session_id) AS sessions, SUM(messages) AS messages, SUM(comments) AS comments FROM done \
), minutes_by_user AS (SELECT user_id, COUNT(*) AS n FROM minutes GROUP BY user_id), \
minutes_by_day AS (SELECT minute / 1440 AS day, COUNT(*) AS n FROM minutes GROUP BY minute / 1440) \
SELECT 'member' AS about, m.user_id AS user_id, COALESCE(u.username, m.username) AS username, \
  CAST(0 AS BIGINT) AS day, CAST(COALESCE(d.sessions, 0) AS BIGINT) AS sessions, \
  CAST(COALESCE(d.messages, 0) AS BIGINT) AS messages, CAST(COALESCE(d.comments, 0) AS BIGINT) AS comments, \
  CAST(COALESCE(a.n, 0) AS BIGINT) AS minutes \
FROM team_members m LEFT JOIN users u ON u.id = m.user_id LEFT JOIN by_user d ON d.user_id = m.user_id \
  LEFT JOIN minutes_by_user a ON a.user_id = m.user_id \
WHERE m.team_id = $1 \
UNION ALL \
SELECT 'day', '', '', CAST(d.day AS BIGINT), CAST(d.sessions AS BIGINT), CAST(d.messages AS BIGINT), \
  CAST(d.comments AS BIGINT), CAST(COALESCE(a.n, 0) AS BIGINT) \
FROM by_day d LEFT JOIN minutes_by_day a ON a.day = d.day \
UNION ALL \
SELECT 'all', '', '', CAST(0 AS BIGINT), CAST(d.sessions AS BIGINT), CAST(COALESCE(d.messages, 0) AS BIGINT), \
  CAST(COALESCE(d.comments, 0) AS BIGINT), CAST((SELECT COUNT(*) FROM minutes) AS BIGINT) \
FROM in_all d \
ORDER BY about, day, user_id";

impl Records {
    pub async fn team_counts(
        &self,
        team: &TeamId,
        from: Millis,
        to: Millis,
    ) -> Result<TeamCounts, Error> {
        let statement = sqlx::query(TEAM).bind(team.as_str()).bind(from).bind(to);
        let rows = self.run("team_counts", statement.try_map(read).fetch_all(&self.pool));
        let mut counted = TeamCounts::default();
        for row in rows.await? {
            match row {
                Line::Member(user, username, counts) => {
                    counted.members.push((user, username, counts));
                }
                Line::Day(day, counts) => counted.days.push((day, counts)),
                Line::All(counts) => counted.all = counts,
            }
        }
        Ok(counted)
    }

    /// Messages and comments that count, from a moment on.
    pub async fn messages_since(&self, from: Millis) -> Result<u64, Error> {
        let statement = sqlx::query(
            "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM messages \
             WHERE created_at >= $1 AND seq IS NOT NULL AND deleted_at IS NULL",
        )
        .bind(from)
        .try_map(|row: AnyRow| row.try_get::<i64, _>("n"));
        let counted = self.run("messages_since", statement.fetch_one(&self.pool));
        Ok(counted.await?.max(0) as u64)
    }
}

/// What a row is about.
enum Line {
    Member(UserId, String, Counts),
    Day(i64, Counts),
    All(Counts),
}

fn read(row: AnyRow) -> Result<Line, sqlx::Error> {
    let text = |name| row.try_get::<String, _>(name);
    let counts = Counts {
        sessions: row.try_get("sessions")?,
        messages: row.try_get("messages")?,
        comments: row.try_get("comments")?,
        active_minutes: row.try_get("minutes")?,
    };
    Ok(match &*text("about")? {
        "member" => {
            let user = UserId::parse(&text("user_id")?);
            let user = user.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Line::Member(user, text("username")?, counts)
        }
        "day" => Line::Day(row.try_get("day")?, counts),
        _ => Line::All(counts),
    })
}
