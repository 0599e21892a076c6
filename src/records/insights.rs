//! A team's notes on sessions, and how they are found again: by session, by tag, by what they say.

use std::fmt::Write;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::teams::hold;
use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{InsightId, SessionId, TeamId, UserId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insight {
    pub id: InsightId,
    pub team: TeamId,
    pub session: SessionId,
    pub author: UserId,
    /// The account's; where there is none, what was known when it was written.
    pub author_name: String,
    pub title: String,
    pub body: String,
    /// Each once.
    pub tags: Vec<String>,
    pub created_at: Millis,
    pub updated_at: Millis,
}

/// What is to be changed; `None`: as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InsightWish {
    pub title: Option<String>,
    pub body: Option<String>,
    pub tags: Option<Vec<String>>,
}

/// Which of a team's insights are wanted; `None`: any.
#[derive(Debug, Clone, Default)]
pub struct Sought {
    pub session: Option<SessionId>,
    pub tag: Option<String>,
    /// In title or body, in whatever case.
    pub text: Option<String>,
    /// From behind this one on.
    pub after: Option<InsightId>,
    pub most: u32,
}

const SELECT: &str = "SELECT i.id, i.team_id, i.session_id, i.author_id, \
                      COALESCE(u.username, i.author_name) AS author_name, i.title, i.body, i.tags, \
                      i.created_at, i.updated_at FROM insights i LEFT JOIN users u ON u.id = i.author_id";

impl Records {
    /// False when the team has as many as it may have; [`Error::Bound`] when there is no such team.
    pub async fn add_insight(&self, insight: &Insight, most: u32) -> Result<bool, Error> {
        let count = sqlx::query("SELECT COUNT(*) AS n FROM insights WHERE team_id = $1")
            .bind(insight.team.as_str())
            .try_map(|row: AnyRow| row.try_get::<i64, _>("n"));
        let add = sqlx::query(
            "INSERT INTO insights (id, team_id, session_id, author_id, author_name, title, body, title_key, \
             body_key, tags, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(insight.id.as_str())
        .bind(insight.team.as_str())
        .bind(insight.session.as_str())
        .bind(insight.author.as_str())
        .bind(insight.author_name.as_str())
        .bind(insight.title.as_str())
        .bind(insight.body.as_str())
        .bind(key(&insight.title))
        .bind(key(&insight.body))
        .bind(list(&insight.tags))
        .bind(insight.created_at)
        .bind(insight.updated_at);
        self.run("add_insight", async {
            let mut step = self.pool.begin().await?;
            hold(&insight.team).execute(&mut *step).await?;
            let fits = count.fetch_one(&mut *step).await? < i64::from(most);
            if fits {
                add.execute(&mut *step).await?;
                tag(&mut step, &insight.id, &insight.tags).await?;
            }
            step.commit().await?;
            Ok(fits)
        })
        .await
    }

    pub async fn insight(&self, id: &InsightId) -> Result<Option<Insight>, Error> {
        let statement = format!("{SELECT} WHERE i.id = $1");
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(id.as_str());
        let statement = statement.try_map(read);
        self.run("insight", statement.fetch_optional(&self.pool))
            .await
    }

    /// The youngest first.
    pub async fn insights(&self, team: &TeamId, sought: &Sought) -> Result<Vec<Insight>, Error> {
        // Ids of one form and length, whose order is that of their making.
        let behind = sought.after.as_ref().map_or("i-z", InsightId::as_str);
        let mut statement = format!("{SELECT} WHERE i.team_id = $1 AND i.id < $2");
        let mut values = vec![team.as_str().to_owned(), behind.to_owned()];
        let mut narrow = |value: String, make: &dyn Fn(usize) -> String| {
            values.push(value);
            // Only what stands here and the number of a placeholder.
            let _ = write!(statement, " AND {}", make(values.len()));
        };
        if let Some(session) = &sought.session {
            narrow(session.to_string(), &|at| format!("i.session_id = ${at}"));
        }
        if let Some(tag) = &sought.tag {
            narrow(tag.clone(), &|at| {
                format!(
                    "i.id IN (SELECT insight_id FROM insight_tags WHERE team_id = $1 AND tag = ${at})"
                )
            });
        }
        if let Some(text) = &sought.text {
            narrow(pattern(text), &|at| {
                format!("(i.title_key LIKE ${at} ESCAPE '!' OR i.body_key LIKE ${at} ESCAPE '!')")
            });
        }
        let last = values.len() + 1;
        let _ = write!(statement, " ORDER BY i.id DESC LIMIT ${last}");
        let mut statement = sqlx::query(sqlx::AssertSqlSafe(statement));
        for value in values {
            statement = statement.bind(value);
        }
        let statement = statement.bind(i64::from(sought.most)).try_map(read);
        self.run("insights", statement.fetch_all(&self.pool)).await
    }

    /// False when there is no such insight.
    pub async fn update_insight(
        &self,
        id: &InsightId,
        now: Millis,
        wish: &InsightWish,
    ) -> Result<bool, Error> {
        let update = sqlx::query(
            "UPDATE insights SET title = COALESCE($1, title), title_key = COALESCE($2, title_key), \
             body = COALESCE($3, body), body_key = COALESCE($4, body_key), tags = COALESCE($5, tags), \
             updated_at = $6 WHERE id = $7",
        )
        .bind(wish.title.as_deref())
        .bind(wish.title.as_deref().map(key))
        .bind(wish.body.as_deref())
        .bind(wish.body.as_deref().map(key))
        .bind(wish.tags.as_deref().map(list))
        .bind(now)
        .bind(id.as_str());
        let untag = sqlx::query("DELETE FROM insight_tags WHERE insight_id = $1").bind(id.as_str());
        self.run("update_insight", async {
            let mut step = self.pool.begin().await?;
            let is_there = update.execute(&mut *step).await?.rows_affected() > 0;
            if let Some(tags) = wish.tags.as_deref().filter(|_| is_there) {
                untag.execute(&mut *step).await?;
                tag(&mut step, id, tags).await?;
            }
            step.commit().await?;
            Ok(is_there)
        })
        .await
    }

    /// False when there is no such insight.
    pub async fn remove_insight(&self, id: &InsightId) -> Result<bool, Error> {
        let statement = sqlx::query("DELETE FROM insights WHERE id = $1").bind(id.as_str());
        let done = self.run("remove_insight", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }
}

/// In one statement; there are few.
async fn tag(
    step: &mut sqlx::Transaction<'_, sqlx::Any>,
    id: &InsightId,
    tags: &[String],
) -> Result<(), sqlx::Error> {
    if tags.is_empty() {
        return Ok(());
    }
    let rows: Vec<String> = (2..tags.len() + 2).map(|at| format!("(${at})")).collect();
    let statement = format!(
        "WITH given (tag) AS (VALUES {}) INSERT INTO insight_tags (insight_id, tag, team_id) \
         SELECT i.id, given.tag, i.team_id FROM insights i CROSS JOIN given WHERE i.id = $1",
        rows.join(", ")
    );
    let mut statement = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(id.as_str());
    for tag in tags {
        statement = statement.bind(tag.as_str());
    }
    statement.execute(&mut **step).await.map(drop)
}

/// What a text is found by. Letter by letter: what a word ends with is no other letter when the word goes on.
fn key(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// For LIKE, with `!` before what would mean something there.
fn pattern(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in key(text).chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

fn list(tags: &[String]) -> String {
    serde_json::to_string(tags).expect("a list of strings is JSON")
}

fn read(row: AnyRow) -> Result<Insight, sqlx::Error> {
    let text = |name| row.try_get::<String, _>(name);
    let decode = |error| sqlx::Error::Decode(Box::new(error));
    let tags = serde_json::from_str(&text("tags")?);
    Ok(Insight {
        id: InsightId::parse(&text("id")?).map_err(decode)?,
        team: TeamId::parse(&text("team_id")?).map_err(decode)?,
        session: SessionId::parse(&text("session_id")?).map_err(decode)?,
        author: UserId::parse(&text("author_id")?).map_err(decode)?,
        author_name: text("author_name")?,
        title: text("title")?,
        body: text("body")?,
        tags: tags.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_means_itself() {
        for (text, right) in [
            ("Plain", "%plain%"),
            ("50%_!", "%50!%!_!!%"),
            ("ÅΣ", "%åσ%"),
            ("", "%%"),
        ] {
            assert_eq!(pattern(text), right);
        }
    }
}
