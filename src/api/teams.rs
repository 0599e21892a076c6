//! Teams over REST: made, called something, given members; what they note and what is counted of them is next door.

use bytes::Bytes;
use hyper::body::Body;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, Page, id};
use super::body::object;
use super::denied::denied;
use super::docs::shapes;
use super::{Api, Endpoint, Place, no_content};
use crate::auth::Identity;
use crate::clock::rfc3339;
use crate::domain::teams::Role;
use crate::http::{Answer, Problem, json as answer};
use crate::ids::{TeamId, UserId};
use crate::node::teams::Mate;
use crate::records::{Team, TeamWish};

const PAGE: Page = Page {
    usual: 50,
    most: 200,
};

/// What a team is to be called.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewTeam)]
pub(super) struct TeamBody {
    #[schema(schema_with = shapes::team_name)]
    name: String,
    #[serde(default)]
    #[schema(schema_with = shapes::description)]
    description: Option<String>,
}

/// What of a team is to be changed.
#[derive(Deserialize, ToSchema)]
#[schema(as = TeamWish)]
pub(super) struct TeamPatch {
    #[serde(default)]
    #[schema(schema_with = shapes::maybe_team_name)]
    name: Option<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::description)]
    description: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TeamRoleWish)]
pub(super) struct MateBody {
    #[schema(value_type = Role)]
    role: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Team)]
pub(super) struct TeamOut<'a> {
    id: &'a str,
    name: &'a str,
    description: &'a str,
    /// The caller's.
    role: Role,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Teams)]
pub(super) struct TeamsOut<'a> {
    items: Vec<TeamOut<'a>>,
    /// Null: there are no more.
    next_cursor: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TeamMember)]
pub(super) struct MateOut<'a> {
    user_id: &'a str,
    username: &'a str,
    role: Role,
    #[schema(format = DateTime)]
    added_at: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TeamMembers)]
pub(super) struct MatesOut<'a> {
    items: Vec<MateOut<'a>>,
    /// Null: there are no more.
    next_cursor: Option<&'a str>,
}

impl Api {
    /// What is asked about teams, their insights and their analytics.
    pub(super) async fn serve_teams<B>(
        &self,
        endpoint: Endpoint,
        place: &Place<'_>,
        request: Request<B>,
    ) -> Result<Answer, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let caller = self.bearer(&request).await?;
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let asked = Asked::of(uri.query());
        // Read where it is wanted alone; a GET has none.
        let body = match method {
            Method::POST | Method::PUT | Method::PATCH => self.body(request).await?,
            _ => Bytes::new(),
        };
        let team = || id("team_id", place.team, TeamId::parse);
        match endpoint {
            Endpoint::Insights | Endpoint::Insight => {
                let insight = place.insight;
                self.serve_insights(&caller, insight, &method, &asked, &body)
                    .await
            }
            Endpoint::TeamAnalytics => self.team_analytics(&caller, &asked).await,
            Endpoint::Teams if method == Method::POST => self.create_team(&caller, &body).await,
            Endpoint::Teams => self.teams(&caller, &asked).await,
            Endpoint::TeamMembers => self.mates(&caller, &team()?, &asked).await,
            Endpoint::TeamMember => {
                let user = id("user_id", place.user, UserId::parse)?;
                if method == Method::PUT {
                    return self.put_mate(&caller, &team()?, &user, &body).await;
                }
                let removed = self.node.remove_mate(&team()?, &caller, &user).await;
                removed.map_err(denied)?;
                Ok(no_content())
            }
            _ if method == Method::DELETE => {
                let deleted = self.node.delete_team(&team()?, &caller).await;
                deleted.map_err(denied)?;
                Ok(no_content())
            }
            _ => {
                let found = if method == Method::PATCH {
                    let wish = wish(&body)?;
                    self.node.update_team(&team()?, &caller, wish).await
                } else {
                    self.node.team(&team()?, &caller).await
                };
                let (team, role) = found.map_err(denied)?;
                Ok(answer(StatusCode::OK, &TeamOut::of(&team, role)))
            }
        }
    }

    async fn create_team(&self, caller: &Identity, body: &[u8]) -> Result<Answer, Problem> {
        let TeamBody { name, description } = object(body, "team with name and description")?;
        let description = description.unwrap_or_default();
        let made = self.node.create_team(caller, name, description).await;
        let made = made.map_err(denied)?;
        let out = TeamOut::of(&made, Role::Owner);
        Ok(answer(StatusCode::CREATED, &out))
    }

    async fn teams(&self, caller: &Identity, asked: &Asked<'_>) -> Result<Answer, Problem> {
        let (limit, cursor) = (asked.limit(PAGE)?, asked.id("cursor", TeamId::parse)?);
        let found = self.node.teams_of(caller, cursor.as_ref(), limit + 1);
        let mut found = found.await.map_err(denied)?;
        let more = cut(&mut found, limit);
        let next = found.last().filter(|_| more);
        let items = found.iter().map(|(team, role)| TeamOut::of(team, *role));
        let body = TeamsOut {
            items: items.collect(),
            next_cursor: next.map(|(team, _)| team.id.as_str()),
        };
        Ok(answer(StatusCode::OK, &body))
    }

    async fn mates(
        &self,
        caller: &Identity,
        team: &TeamId,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let (limit, cursor) = (asked.limit(PAGE)?, asked.id("cursor", UserId::parse)?);
        let found = self.node.mates(team, caller, cursor.as_ref(), limit + 1);
        let mut found = found.await.map_err(denied)?;
        let more = cut(&mut found, limit);
        let next = found.last().filter(|_| more);
        let body = MatesOut {
            items: found.iter().map(MateOut::of).collect(),
            next_cursor: next.map(|mate| mate.user.as_str()),
        };
        Ok(answer(StatusCode::OK, &body))
    }

    async fn put_mate(
        &self,
        caller: &Identity,
        team: &TeamId,
        user: &UserId,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        let MateBody { role } = object(body, "role")?;
        let mate = self.node.put_mate(team, caller, user, &role).await;
        let mate = mate.map_err(denied)?;
        Ok(answer(StatusCode::OK, &MateOut::of(&mate)))
    }
}

/// Cuts a page that was read one longer, and says whether there is more.
pub(super) fn cut<T>(found: &mut Vec<T>, limit: u32) -> bool {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    more
}

impl<'a> TeamOut<'a> {
    fn of(team: &'a Team, role: Role) -> Self {
        Self {
            id: team.id.as_str(),
            name: &team.name,
            description: &team.description,
            role,
            created_at: rfc3339(team.created_at),
            updated_at: rfc3339(team.updated_at),
        }
    }
}

impl<'a> MateOut<'a> {
    fn of(mate: &'a Mate) -> Self {
        Self {
            user_id: mate.user.as_str(),
            username: &mate.username,
            role: mate.role,
            added_at: rfc3339(mate.added_at),
        }
    }
}

fn wish(body: &[u8]) -> Result<TeamWish, Problem> {
    let TeamPatch { name, description } = object(body, "team with name and description")?;
    Ok(TeamWish { name, description })
}
