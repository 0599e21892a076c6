//! A team's insights over REST, and its analytics.

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, Page, bad_field, id};
use super::body::object;
use super::denied::denied;
use super::docs::shapes;
use super::teams::cut;
use super::{Api, no_content};
use crate::auth::Identity;
use crate::clock::{Millis, rfc3339};
use crate::http::{Answer, Problem, json as answer};
use crate::ids::{InsightId, SessionId, TeamId};
use crate::node::insights::Note;
use crate::records::{Counts, Insight, InsightWish, Sought};

/// They may be long.
const PAGE: Page = Page {
    usual: 20,
    most: 50,
};
const DAY: Millis = 86_400_000;
/// What is counted unless it is said from when on; and at most.
const USUAL_DAYS: Millis = 30;
const MOST_DAYS: Millis = 366;

/// What is noted of a session.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewInsight)]
pub(super) struct NoteBody {
    #[schema(schema_with = shapes::id)]
    team_id: String,
    #[schema(schema_with = shapes::id)]
    session_id: String,
    #[schema(schema_with = shapes::title)]
    title: String,
    #[schema(schema_with = shapes::note)]
    body: String,
    /// Each counts once.
    #[serde(default)]
    #[schema(schema_with = shapes::tags)]
    tags: Option<Vec<String>>,
}

/// What of an insight is to be changed.
#[derive(Deserialize, ToSchema)]
#[schema(as = InsightWish)]
pub(super) struct NotePatch {
    #[serde(default)]
    #[schema(schema_with = shapes::maybe_title)]
    title: Option<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::maybe_note)]
    body: Option<String>,
    /// In place of those it has.
    #[serde(default)]
    #[schema(schema_with = shapes::tags)]
    tags: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Insight)]
pub(super) struct InsightOut<'a> {
    id: &'a str,
    team_id: &'a str,
    session_id: &'a str,
    author: AuthorOut<'a>,
    title: &'a str,
    body: &'a str,
    tags: &'a [String],
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Author)]
pub(super) struct AuthorOut<'a> {
    user_id: &'a str,
    username: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Insights)]
pub(super) struct InsightsOut<'a> {
    items: Vec<InsightOut<'a>>,
    /// Null: there are no more.
    next_cursor: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TeamAnalytics)]
pub(super) struct AnalyticsOut<'a> {
    team_id: &'a str,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    members: Vec<MemberCountsOut<'a>>,
    /// Those on which something happened.
    days: Vec<DayCountsOut>,
    totals: CountsOut,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MemberCounts)]
pub(super) struct MemberCountsOut<'a> {
    user_id: &'a str,
    username: &'a str,
    #[serde(flatten)]
    counts: CountsOut,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DayCounts)]
pub(super) struct DayCountsOut {
    /// `2025-11-12`, in UTC.
    #[schema(format = Date)]
    day: String,
    #[serde(flatten)]
    counts: CountsOut,
}

/// What was done in recorded sessions.
#[derive(Serialize, ToSchema)]
#[schema(as = TeamCounts)]
pub(super) struct CountsOut {
    /// Those in which something was done, each once.
    #[schema(minimum = 0)]
    sessions: i64,
    /// Told, and not deleted.
    #[schema(minimum = 0)]
    messages: i64,
    /// The same.
    #[schema(minimum = 0)]
    comments: i64,
    /// Minutes with an event of the user, added up over members.
    #[schema(minimum = 0)]
    active_minutes: i64,
}

impl Api {
    /// Of one insight, or of all where `insight` is empty.
    pub(super) async fn serve_insights(
        &self,
        caller: &Identity,
        insight: &str,
        method: &Method,
        asked: &Asked<'_>,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        match (insight, method) {
            ("", &Method::POST) => return self.add_insight(caller, body).await,
            ("", _) => return self.insights(caller, asked).await,
            _ => {}
        }
        let insight = id("insight_id", insight, InsightId::parse)?;
        let found = match *method {
            Method::DELETE => {
                let deleted = self.node.delete_insight(&insight, caller).await;
                deleted.map_err(denied)?;
                return Ok(no_content());
            }
            Method::PATCH => {
                let wish = wish(body)?;
                self.node.update_insight(&insight, caller, wish).await
            }
            _ => self.node.insight(&insight, caller).await,
        };
        let found = found.map_err(denied)?;
        Ok(answer(StatusCode::OK, &InsightOut::of(&found)))
    }

    async fn add_insight(&self, caller: &Identity, body: &[u8]) -> Result<Answer, Problem> {
        let what = "insight with team_id, session_id, title, body and tags";
        let body: NoteBody = object(body, what)?;
        let note = Note {
            team: id("team_id", &body.team_id, TeamId::parse)?,
            session: id("session_id", &body.session_id, SessionId::parse)?,
            title: body.title,
            body: body.body,
            tags: body.tags.unwrap_or_default(),
        };
        let added = self.node.add_insight(caller, note).await.map_err(denied)?;
        Ok(answer(StatusCode::CREATED, &InsightOut::of(&added)))
    }

    async fn insights(&self, caller: &Identity, asked: &Asked<'_>) -> Result<Answer, Problem> {
        let team = asked.needed("team_id", TeamId::parse)?;
        let limit = asked.limit(PAGE)?;
        let sought = Sought {
            session: asked.id("session_id", SessionId::parse)?,
            tag: asked.text("tag").map(str::to_owned),
            text: asked.text("q").map(str::to_owned),
            after: asked.id("cursor", InsightId::parse)?,
            most: limit + 1,
        };
        let found = self.node.insights(&team, caller, &sought).await;
        let mut found = found.map_err(denied)?;
        let more = cut(&mut found, limit);
        let next = found.last().filter(|_| more);
        let body = InsightsOut {
            items: found.iter().map(InsightOut::of).collect(),
            next_cursor: next.map(|insight| insight.id.as_str()),
        };
        Ok(answer(StatusCode::OK, &body))
    }

    pub(super) async fn team_analytics(
        &self,
        caller: &Identity,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let team = asked.needed("team_id", TeamId::parse)?;
        let (from, to) = span(asked, self.node.clock().now())?;
        let counted = self.node.team_counts(&team, caller, from, to).await;
        let counted = counted.map_err(denied)?;
        let members = counted.members.iter();
        let members = members.map(|(user, username, counts)| MemberCountsOut {
            user_id: user.as_str(),
            username,
            counts: CountsOut::of(*counts),
        });
        let days = counted.days.iter().map(|(day, counts)| DayCountsOut {
            day: rfc3339(day.saturating_mul(DAY)).chars().take(10).collect(),
            counts: CountsOut::of(*counts),
        });
        let out = AnalyticsOut {
            team_id: team.as_str(),
            from: rfc3339(from),
            to: rfc3339(to),
            members: members.collect(),
            days: days.collect(),
            totals: CountsOut::of(counted.all),
        };
        Ok(answer(StatusCode::OK, &out))
    }
}

/// From when to before when is counted.
fn span(asked: &Asked<'_>, now: Millis) -> Result<(Millis, Millis), Problem> {
    let to = asked.time("to")?.unwrap_or(now);
    let usual = to.saturating_sub(USUAL_DAYS * DAY);
    let from = asked.time("from")?.unwrap_or(usual);
    if from >= to {
        let detail = format!(
            "from is {}; right is before to, {}",
            rfc3339(from),
            rfc3339(to)
        );
        return Err(bad_field("from", detail));
    }
    if to - from > MOST_DAYS * DAY {
        let days = (to - from) / DAY;
        let detail = format!("from is {days} days before to; right is at most {MOST_DAYS}");
        return Err(bad_field("from", detail));
    }
    Ok((from, to))
}

impl<'a> InsightOut<'a> {
    fn of(insight: &'a Insight) -> Self {
        Self {
            id: insight.id.as_str(),
            team_id: insight.team.as_str(),
            session_id: insight.session.as_str(),
            author: AuthorOut {
                user_id: insight.author.as_str(),
                username: &insight.author_name,
            },
            title: &insight.title,
            body: &insight.body,
            tags: &insight.tags,
            created_at: rfc3339(insight.created_at),
            updated_at: rfc3339(insight.updated_at),
        }
    }
}

impl CountsOut {
    fn of(counts: Counts) -> Self {
        let Counts {
            sessions,
            messages,
            comments,
            active_minutes,
        } = counts;
        Self {
            sessions,
            messages,
            comments,
            active_minutes,
        }
    }
}

fn wish(body: &[u8]) -> Result<InsightWish, Problem> {
    let NotePatch { title, body, tags } = object(body, "insight with title, body and tags")?;
    Ok(InsightWish { title, body, tags })
}
