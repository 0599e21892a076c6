//! What a socket of the workspace dialect is told first: that it is here, what an agent is at, who is in a workspace.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::frames::{About, Number, Told, raw, write};
use crate::clock::rfc3339;
use crate::domain::agents::State;
use crate::domain::workspaces::{Person, View};
use crate::ids::{Position, Room, UserId};

/// How a room greets one of those who come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Greeting<'a> {
    pub position: Option<Position>,
    /// Of the command that asked.
    pub id: Option<&'a str>,
    /// Of who comes back: whether it was told all it missed.
    pub resumed: Option<bool>,
}

#[derive(Serialize)]
struct ConnectedOut<'a> {
    user_id: &'a str,
    username: &'a str,
    /// Rooms have one each; this is of none.
    position: Option<&'a str>,
}

#[derive(Serialize)]
struct AroundOut<'a> {
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<bool>,
}

#[derive(Serialize)]
struct SubscribedOut<'a> {
    agent_id: &'a str,
    agent: Option<AgentOut<'a>>,
    #[serde(flatten)]
    around: AroundOut<'a>,
}

/// An agent as it is, in this dialect and over REST.
#[derive(Serialize, ToSchema)]
#[schema(as = Agent)]
pub struct AgentOut<'a> {
    agent_id: &'a str,
    /// As the AI-agents service has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<&'a str>,
    status: &'a str,
    /// From 0 to 100.
    #[schema(value_type = Option<f64>)]
    progress: Option<Number>,
    current_step: Option<&'a str>,
    task: Option<&'a str>,
    #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
    metrics: Option<&'a RawValue>,
    #[schema(format = DateTime)]
    updated_at: Option<String>,
    runs: u64,
    failures: u64,
    /// Seconds.
    mean_execution_time: Option<f64>,
    /// Of the run it is at, as all below.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    workspace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    started_at: Option<String>,
}

#[derive(Serialize)]
struct JoinedOut<'a> {
    workspace_id: &'a str,
    name: &'a str,
    users: Vec<PersonOut<'a>>,
    user_count: u64,
    #[serde(flatten)]
    around: AroundOut<'a>,
}

#[derive(Serialize)]
struct PersonOut<'a> {
    user_id: &'a str,
    username: &'a str,
    online: bool,
}

#[derive(Serialize)]
struct ResumedOut<'a> {
    #[serde(flatten)]
    about: About<'a>,
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl Greeting<'_> {
    fn out(&self) -> AroundOut<'_> {
        AroundOut {
            position: self.position.map(|position| position.to_string()),
            id: self.id,
            resumed: self.resumed,
        }
    }

    /// Says at the end that all was told.
    pub fn end(&self, room: &Room, out: &mut Vec<u8>) {
        let data = ResumedOut {
            about: About::room(room),
            position: self.position.map(|position| position.to_string()),
            id: self.id,
        };
        say("resumed", data, out);
    }
}

pub fn connected(user: &UserId, name: &str, out: &mut Vec<u8>) {
    let data = ConnectedOut {
        user_id: user.as_str(),
        username: name,
        position: None,
    };
    say("connected", data, out);
}

pub fn agent_out(state: &State) -> AgentOut<'_> {
    let run = state.run.as_ref();
    AgentOut {
        agent_id: state.agent.as_str(),
        name: state.name.as_deref(),
        description: state.description.as_deref(),
        status: &state.status,
        progress: state.progress.map(Number::from),
        current_step: state.step.as_deref(),
        task: state.task.as_deref(),
        metrics: state.metrics.as_deref().and_then(raw),
        updated_at: state.updated_at.map(rfc3339),
        runs: state.runs,
        failures: state.failures,
        mean_execution_time: state.mean_seconds(),
        run_id: run.map(|run| run.id.to_string()),
        user_id: run.map(|run| run.user.as_str()),
        workspace_id: run.and_then(|run| Some(run.workspace.as_ref()?.as_str())),
        started_at: run.map(|run| rfc3339(run.started_at)),
    }
}

pub fn subscribed(state: &State, greeting: Greeting<'_>, out: &mut Vec<u8>) {
    let data = SubscribedOut {
        agent_id: state.agent.as_str(),
        agent: (state.is_known() || state.name.is_some()).then(|| agent_out(state)),
        around: greeting.out(),
    };
    say("subscribed", data, out);
}

pub fn joined(view: &View, greeting: Greeting<'_>, out: &mut Vec<u8>) {
    let data = JoinedOut {
        workspace_id: view.workspace.id.as_str(),
        name: &view.workspace.name,
        users: view.people.iter().map(PersonOut::of).collect(),
        user_count: view.user_count,
        around: greeting.out(),
    };
    say("joined", data, out);
}

impl<'a> PersonOut<'a> {
    fn of(person: &'a Person) -> Self {
        Self {
            user_id: person.user.as_str(),
            username: &person.name,
            online: person.online,
        }
    }
}

fn say(kind: &str, data: impl Serialize, out: &mut Vec<u8>) {
    let place = None;
    write(&Told { kind, place, data }, out);
}
