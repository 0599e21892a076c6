//! The AI-agents service: what an agent is.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::directory::Entry;
use super::{Access, Away, Directory};
use crate::ids;

const NAME: &str = "agents_service";
/// Longest description and status, in characters.
const MAX_DESCRIPTION: usize = 1_024;
const MAX_STATUS: usize = 64;

/// What the service says of an agent. What it says wrongly, or at too great length, counts as not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCard {
    /// As it was asked for.
    pub id: Arc<str>,
    pub name: Option<Arc<str>>,
    pub description: Option<Arc<str>>,
    pub status: Option<Arc<str>>,
}

impl Entry for AgentCard {
    fn read(id: &str, said: &Map<String, Value>) -> Self {
        let name = said.get("name").and_then(Value::as_str);
        Self {
            id: id.into(),
            name: name.and_then(|name| ids::name(name).ok()),
            description: text(said.get("description"), MAX_DESCRIPTION),
            status: text(said.get("status"), MAX_STATUS),
        }
    }
}

fn text(value: Option<&Value>, most: usize) -> Option<Arc<str>> {
    let text = value?.as_str()?;
    let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    let fits = !text.is_empty() && text.chars().count() <= most && !text.contains(strange);
    fits.then(|| text.into())
}

pub struct AgentsService(Directory<AgentCard>);

impl AgentsService {
    pub fn new(access: &Access) -> Result<Self, String> {
        Directory::new(NAME, "agents", access).map(Self)
    }

    /// The agent's card; `None`: there is no such agent.
    pub async fn lookup(&self, agent: &str) -> Result<Option<AgentCard>, Away> {
        self.0.lookup(agent).await
    }
}
