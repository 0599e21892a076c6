//! Agents: programs that do work for people. A run of one starts, says how far it is, and is complete.
//!
//! One run at a time. Start and completion are durable; what lies between is superseded by the next word of it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::workspaces::text;
use super::{Actor, Event, Reject};
use crate::clock::Millis;
use crate::ids::{AgentId, EventId, UserId, WorkspaceId};

/// Longest task, step and word of a status, in characters.
const MAX_TASK: usize = 8_192;
const MAX_STEP: usize = 1_024;
const MAX_STATUS: usize = 64;
/// Largest metrics and result, in bytes of JSON.
pub const MAX_METRICS: usize = 4 * 1024;
pub const MAX_RESULT: usize = 64 * 1024;
/// Between two words of a run's progress to one socket, in milliseconds.
pub const PROGRESS_PACE_MS: u64 = 100;
/// Longest time a run says it took, in seconds: a year.
const MAX_SECONDS: f64 = 31_536_000.0;

pub const RUNNING: &str = "running";
pub const COMPLETED: &str = "completed";
pub const FAILED: &str = "failed";
pub const CANCELLED: &str = "cancelled";
/// Of an agent that never ran.
pub const IDLE: &str = "idle";
/// Why a run failed of which nobody heard any more.
pub const LOST: &str = "lost";

/// The field of an agent's state that has the run it is at.
pub const RUN: &str = "run";

/// What an agent says of its work.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    Start(Start),
    Update(Update),
    Complete(Complete),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub agent: AgentId,
    pub task: String,
    /// For whom.
    pub user: UserId,
    pub workspace: Option<WorkspaceId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub agent: AgentId,
    pub status: Option<String>,
    pub progress: Option<f64>,
    pub step: Option<String>,
    /// A JSON object.
    pub metrics: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Complete {
    pub agent: AgentId,
    pub status: String,
    /// JSON.
    pub result: Option<String>,
    /// In seconds; `None`: since the start.
    pub took: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub agent: AgentId,
    pub run: EventId,
    pub task: Arc<str>,
    pub user: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progressed {
    pub agent: AgentId,
    pub status: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Arc<str>>,
    /// A JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    pub agent: AgentId,
    pub run: EventId,
    pub status: Arc<str>,
    /// JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Arc<str>>,
    pub took_ms: u64,
    /// Why, when nobody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// A run that is over, or under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub id: EventId,
    pub agent: AgentId,
    pub task: String,
    pub user: UserId,
    pub workspace: Option<WorkspaceId>,
    pub started_at: Millis,
}

/// An agent as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub agent: AgentId,
    /// As the service of agents has it.
    pub name: Option<String>,
    pub description: Option<String>,
    /// `None`: it is at none.
    pub run: Option<Run>,
    pub status: String,
    pub progress: Option<f64>,
    pub step: Option<String>,
    pub task: Option<String>,
    /// JSON.
    pub metrics: Option<String>,
    pub updated_at: Option<Millis>,
    /// Runs that are over, those of them that failed, and how long all took.
    pub runs: u64,
    pub failures: u64,
    pub total_ms: u64,
}

type Fields = Vec<(&'static str, String)>;

impl Word {
    pub fn agent(&self) -> &AgentId {
        match self {
            Word::Start(start) => &start.agent,
            Word::Update(update) => &update.agent,
            Word::Complete(complete) => &complete.agent,
        }
    }

    /// Whether somebody may say so, and it is within its bounds.
    pub fn check(&self, actor: &Actor) -> Result<(), Reject> {
        if !actor.speaks_for(self.agent()) {
            let sentence =
                "an agent's runs are told by itself (role agent, sub is agent_id) or by a service";
            return Err(Reject::new(super::Code::Forbidden, sentence));
        }
        match self {
            Word::Start(start) => text("task", &start.task, 0, MAX_TASK),
            Word::Update(update) => update.check(),
            Word::Complete(complete) => complete.check(),
        }
    }
}

impl Update {
    fn check(&self) -> Result<(), Reject> {
        if let Some(status) = &self.status {
            status_word(status)?;
        }
        if let Some(step) = &self.step {
            text("current_step", step, 0, MAX_STEP)?;
        }
        match self.progress {
            Some(progress) if !(0.0..=100.0).contains(&progress) => Err(Reject::field(
                "progress",
                format!("progress is {progress}; right is a number from 0 to 100"),
            )),
            _ => Ok(()),
        }
    }

    pub fn event(&self) -> Progressed {
        let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
        Progressed {
            agent: self.agent.clone(),
            status: self.status.as_deref().unwrap_or(RUNNING).into(),
            progress: self.progress,
            step: shared(&self.step),
            metrics: shared(&self.metrics),
        }
    }

    /// What of the agent's state is another now.
    pub fn fields(&self, now: Millis) -> Fields {
        let mut fields = vec![
            ("status", self.status.clone().unwrap_or(RUNNING.to_owned())),
            ("updated_at", now.to_string()),
        ];
        fields.extend(
            self.progress
                .map(|progress| ("progress", progress.to_string())),
        );
        fields.extend(self.step.clone().map(|step| ("current_step", step)));
        fields.extend(self.metrics.clone().map(|metrics| ("metrics", metrics)));
        fields
    }
}

impl Complete {
    fn check(&self) -> Result<(), Reject> {
        if ![COMPLETED, FAILED, CANCELLED].contains(&self.status.as_str()) {
            let shown: String = self.status.chars().take(40).collect();
            let sentence = format!("status is {shown:?}; right is completed, failed or cancelled");
            return Err(Reject::field("status", sentence));
        }
        match self.took {
            Some(took) if !(0.0..=MAX_SECONDS).contains(&took) => Err(Reject::field(
                "execution_time",
                format!("execution_time is {took}; right is seconds from 0 to {MAX_SECONDS}"),
            )),
            _ => Ok(()),
        }
    }
}

impl Start {
    pub fn run(&self, id: EventId, now: Millis) -> Run {
        Run {
            id,
            agent: self.agent.clone(),
            task: self.task.clone(),
            user: self.user.clone(),
            workspace: self.workspace.clone(),
            started_at: now,
        }
    }
}

impl Run {
    pub fn event(&self) -> Event {
        Event::AgentStarted(Started {
            agent: self.agent.clone(),
            run: self.id,
            task: self.task.as_str().into(),
            user: self.user.clone(),
            workspace: self.workspace.clone(),
        })
    }

    /// What of the agent's state is another when it starts.
    pub fn fields(&self) -> Fields {
        let workspace = self.workspace.as_ref().map(WorkspaceId::to_string);
        vec![
            (RUN, self.id.to_string()),
            ("task", self.task.clone()),
            ("user_id", self.user.to_string()),
            ("workspace_id", workspace.unwrap_or_default()),
            ("started_at", self.started_at.to_string()),
            ("updated_at", self.started_at.to_string()),
            ("status", RUNNING.to_owned()),
            ("progress", "0".to_owned()),
            ("current_step", String::new()),
            ("metrics", String::new()),
        ]
    }
}

/// An agent's own word for how it is.
pub fn status_word(status: &str) -> Result<(), Reject> {
    if status.contains(char::is_control) {
        let sentence = "status has a control character; right is none";
        return Err(Reject::field("status", sentence));
    }
    text("status", status, 1, MAX_STATUS)
}

/// What comes of a run's end: what happened, and what of the agent's state is another.
pub fn end(
    state: &State,
    run: &Run,
    complete: &Complete,
    reason: Option<&str>,
    now: Millis,
) -> (Completed, Fields) {
    let since = u64::try_from(now - run.started_at).unwrap_or(0);
    let took_ms = complete
        .took
        .map_or(since, |took| (took * 1_000.0).round() as u64);
    let event = Completed {
        agent: run.agent.clone(),
        run: run.id,
        status: complete.status.as_str().into(),
        result: complete.result.as_deref().map(Arc::from),
        took_ms,
        reason: reason.map(Arc::from),
    };
    let failed = u64::from(complete.status == FAILED);
    let mut fields = vec![
        (RUN, String::new()),
        ("status", complete.status.clone()),
        ("updated_at", now.to_string()),
        ("runs", (state.runs + 1).to_string()),
        ("failures", (state.failures + failed).to_string()),
        ("total_ms", (state.total_ms + took_ms).to_string()),
    ];
    if complete.status == COMPLETED {
        fields.push(("progress", "100".to_owned()));
    }
    (event, fields)
}

/// An agent as its fields say.
pub fn state(agent: &AgentId, fields: &HashMap<String, String>) -> State {
    let field = |name: &str| fields.get(name).filter(|value| !value.is_empty()).cloned();
    let number = |name: &str| field(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let run = field(RUN).and_then(|run| EventId::parse(&run));
    let user = field("user_id").and_then(|user| UserId::parse(&user).ok());
    let run = run.zip(user).map(|(id, user)| Run {
        id,
        agent: agent.clone(),
        task: field("task").unwrap_or_default(),
        user,
        workspace: field("workspace_id").and_then(|id| WorkspaceId::parse(&id).ok()),
        started_at: number("started_at") as Millis,
    });
    State {
        agent: agent.clone(),
        name: field("name"),
        description: field("description"),
        run,
        status: field("status").unwrap_or_else(|| IDLE.to_owned()),
        progress: field("progress").and_then(|text| text.parse().ok()),
        step: field("current_step"),
        task: field("task"),
        metrics: field("metrics"),
        updated_at: field("updated_at").and_then(|text| text.parse().ok()),
        runs: number("runs"),
        failures: number("failures"),
        total_ms: number("total_ms"),
    }
}

impl State {
    /// Whether it ever ran.
    pub fn is_known(&self) -> bool {
        self.updated_at.is_some()
    }

    /// How long a run takes, in seconds; `None`: none is over.
    pub fn mean_seconds(&self) -> Option<f64> {
        (self.runs > 0).then(|| self.total_ms as f64 / self.runs as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: Fields) -> HashMap<String, String> {
        let fields = fields.into_iter();
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn start() -> Start {
        Start {
            agent: AgentId::parse("a").unwrap(),
            task: "sort".to_owned(),
            user: UserId::parse("ann").unwrap(),
            workspace: WorkspaceId::parse("w").ok(),
        }
    }

    #[test]
    fn a_run_survives_its_fields_and_ends_in_the_counts() {
        let run = start().run(EventId::new(), 1_000);
        let mut fields = map(run.fields());
        let running = state(&run.agent, &fields);
        assert_eq!(running.run.as_ref(), Some(&run));
        assert_eq!(
            (running.status.as_str(), running.progress),
            (RUNNING, Some(0.0))
        );
        let complete = Complete {
            agent: run.agent.clone(),
            status: FAILED.to_owned(),
            result: None,
            took: None,
        };
        let (event, ended) = end(&running, &run, &complete, Some(LOST), 4_000);
        assert_eq!(
            (event.took_ms, event.reason.as_deref()),
            (3_000, Some(LOST))
        );
        fields.extend(map(ended));
        let over = state(&run.agent, &fields);
        assert_eq!((over.run.is_none(), over.runs, over.failures), (true, 1, 1));
        assert_eq!(over.mean_seconds(), Some(3.0));
    }

    #[test]
    fn what_is_out_of_bounds_names_its_field() {
        let update = |progress| Update {
            agent: AgentId::parse("a").unwrap(),
            status: None,
            progress: Some(progress),
            step: None,
            metrics: None,
        };
        for progress in [-1.0, 140.0, f64::NAN] {
            assert_eq!(
                update(progress).check().unwrap_err().field,
                Some("progress")
            );
        }
        assert_eq!(update(99.5).check(), Ok(()));
    }
}
