//! Agents over REST: how they are, what they did, who follows them; and their own reports, without a socket.

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::access::{Caller, forbidden, refused as not_admitted};
use super::asked::{Asked, Page, id};
use super::body::{object, refused};
use super::denied::denied;
use super::docs::shapes;
use super::{Api, Endpoint, Place, no_content, problem};
use crate::backplane::Error;
use crate::clock::rfc3339;
use crate::dialects::workspace::{AgentOut, agent_out, report};
use crate::domain::agents::{CANCELLED, COMPLETED, FAILED, IDLE, State};
use crate::domain::{Actor, Code, Reject, agents};
use crate::http::{Answer, Problem, json as answer};
use crate::ids::{AgentId, NodeId, SocketId, UserId, WorkspaceId};
use crate::node::agents::Teller;
use crate::node::{NotAdmitted, is_trusted};
use crate::records::Run;

const PAGE: Page = Page {
    usual: 50,
    most: 200,
};

/// Who follows, or follows no more.
#[derive(Deserialize, ToSchema)]
#[schema(as = Follower)]
pub(super) struct FollowerBody {
    #[schema(schema_with = shapes::id)]
    user_id: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Agents)]
pub(super) struct AgentsOut<'a> {
    agents: Vec<AgentOut<'a>>,
    /// Null: there are no more.
    next_cursor: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AgentRuns)]
pub(super) struct RunsOut<'a> {
    items: Vec<RunOut<'a>>,
    /// Null: there are no more.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AgentRun)]
pub(super) struct RunOut<'a> {
    run_id: String,
    agent_id: &'a str,
    user_id: &'a str,
    workspace_id: Option<&'a str>,
    task: &'a str,
    /// `completed`, `failed` or `cancelled`.
    status: &'a str,
    /// What it said.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<&'a RawValue>,
    /// `lost`: nobody heard of it any more.
    reason: Option<&'a str>,
    #[schema(format = DateTime)]
    started_at: String,
    /// Seconds.
    execution_time: f64,
}

/// What was made of a report.
#[derive(Serialize, ToSchema)]
#[schema(as = Reported)]
pub(super) struct ReportedOut {
    /// The event's place in its agent's order; null for an update, which has none.
    seq: Option<u64>,
}

impl Api {
    pub(super) async fn serve_agents(
        &self,
        endpoint: Endpoint,
        place: &Place<'_>,
        caller: &Caller,
        query: Option<&str>,
        body: &Bytes,
    ) -> Result<Answer, Problem> {
        let agent = || id("agent_id", place.agent, AgentId::parse);
        match endpoint {
            Endpoint::AgentRuns => self.agent_runs(&agent()?, &Asked::of(query)).await,
            Endpoint::AgentEvents => self.agent_report(caller, &agent()?, body).await,
            Endpoint::AgentSubscribe => {
                let user = follower(caller, body)?;
                let followed = self.node.follow(&user, &agent()?).await;
                followed.map_err(|why| match why {
                    NotAdmitted::Backplane(Error::Full) => too_many(),
                    NotAdmitted::Backplane(Error::Missing) => unknown(),
                    other => not_admitted(&other),
                })?;
                Ok(no_content())
            }
            Endpoint::AgentUnsubscribe => {
                let user = follower(caller, body)?;
                let unfollowed = self.node.unfollow(&user, &agent()?).await;
                unfollowed.map_err(|error| problem(&error))?;
                Ok(no_content())
            }
            _ => self.agents(&Asked::of(query)).await,
        }
    }

    async fn agents(&self, asked: &Asked<'_>) -> Result<Answer, Problem> {
        let (limit, cursor) = (asked.limit(PAGE)?, asked.id("cursor", AgentId::parse)?);
        let status = asked.text("status").map(str::to_owned);
        if let Some(status) = &status {
            agents::status_word(status).map_err(refused)?;
        }
        let workspace = asked.id("workspace_id", WorkspaceId::parse)?;
        let user = asked.id("user_id", UserId::parse)?;
        let shown = |state: &State| {
            let run = state.run.as_ref();
            status
                .as_deref()
                .is_none_or(|wanted| is_status(state, wanted))
                && workspace.as_ref().is_none_or(|wanted| {
                    run.is_some_and(|run| run.workspace.as_ref() == Some(wanted))
                })
                && user
                    .as_ref()
                    .is_none_or(|wanted| run.is_some_and(|run| run.user == *wanted))
        };
        let found = self
            .node
            .agents(cursor.as_ref(), limit as usize, shown)
            .await;
        let (states, next) = found.map_err(denied)?;
        let body = AgentsOut {
            agents: states.iter().map(agent_out).collect(),
            next_cursor: next.as_ref().map(AgentId::as_str),
        };
        Ok(answer(StatusCode::OK, &body))
    }

    async fn agent_runs(&self, agent: &AgentId, asked: &Asked<'_>) -> Result<Answer, Problem> {
        let (limit, cursor) = (asked.limit(PAGE)?, asked.message("cursor")?);
        let runs = self.node.runs_of(agent, cursor, limit).await;
        let runs = runs.map_err(denied)?;
        let next = (runs.len() == limit as usize)
            .then(|| runs.last())
            .flatten();
        let body = RunsOut {
            items: runs.iter().map(RunOut::of).collect(),
            next_cursor: next.map(|run| run.id.to_string()),
        };
        Ok(answer(StatusCode::OK, &body))
    }

    /// The same words as by a socket.
    async fn agent_report(
        &self,
        caller: &Caller,
        agent: &AgentId,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        let text = std::str::from_utf8(body).map_err(|_| {
            let detail = "the body is no UTF-8";
            Problem::new(StatusCode::BAD_REQUEST, "bad_frame", detail)
        })?;
        let (word, once) = report(text).map_err(refused)?;
        if word.agent() != agent {
            let sentence = format!(
                "agent_id is {}; right is {agent}, as in the path",
                word.agent()
            );
            return Err(refused(Reject::field("agent_id", sentence)));
        }
        let user = match caller {
            Some(identity) => identity.user.clone(),
            None => agent.as_user(),
        };
        let actor = Actor {
            // Of nobody's: nothing is told to it.
            socket: SocketId::next(NodeId::random()),
            name: user.as_str().into(),
            user,
            recorded: false,
            voice: self.node.voice(caller.as_ref()),
        };
        word.check(&actor).map_err(not_taken)?;
        let teller = Teller {
            user: actor.user,
            socket: None,
        };
        let told = self.node.report(&teller, word, once).await;
        let committed = told.map_err(not_taken)?;
        let body = ReportedOut {
            seq: committed.map(|committed| committed.position.seq),
        };
        Ok(answer(StatusCode::ACCEPTED, &body))
    }
}

/// Oneself; others are for services and admins.
fn follower(caller: &Caller, body: &[u8]) -> Result<UserId, Problem> {
    let FollowerBody { user_id } = object(body, "follower with user_id")?;
    let user = id("user_id", &user_id, UserId::parse)?;
    match caller {
        Some(identity) if identity.user != user && !is_trusted(identity) => Err(forbidden(
            "user_id is not the token's sub; only a service or an admin subscribes others",
        )),
        _ => Ok(user),
    }
}

/// While a run is under way its status is the agent's own word.
fn is_status(state: &State, wanted: &str) -> bool {
    let over = [IDLE, COMPLETED, FAILED, CANCELLED];
    match wanted {
        agents::RUNNING => state.run.is_some(),
        wanted if over.contains(&wanted) => state.run.is_none() && state.status == wanted,
        wanted => state.status == wanted,
    }
}

/// What the domain refuses of a report, or the run's state.
fn not_taken(reject: Reject) -> Problem {
    let status = match reject.code {
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::BackplaneUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => return refused(reject),
    };
    Problem {
        field: reject.field.map(Into::into),
        ..Problem::new(status, reject.code.as_str(), reject.message)
    }
}

fn unknown() -> Problem {
    let detail = "the AI-agents service knows no such agent";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

fn too_many() -> Problem {
    let detail = "the user follows as many agents as may be; unsubscribe from one first";
    Problem::new(StatusCode::BAD_REQUEST, "too_many", detail)
}

impl<'a> RunOut<'a> {
    fn of(run: &'a Run) -> Self {
        let result = run.result.as_deref();
        Self {
            run_id: run.id.to_string(),
            agent_id: run.agent.as_str(),
            user_id: run.user.as_str(),
            workspace_id: run.workspace.as_ref().map(WorkspaceId::as_str),
            task: &run.task,
            status: &run.status,
            result: result.and_then(|text| serde_json::from_str(text).ok()),
            reason: run.reason.as_deref(),
            started_at: rfc3339(run.started_at),
            execution_time: run.took_ms as f64 / 1_000.0,
        }
    }
}
