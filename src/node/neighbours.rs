//! What other services say of who comes, and of agents; and what follows when they say nothing.

use std::sync::Arc;

use super::{Node, NotAdmitted};
use crate::auth::{Identity, Role};
use crate::ids::UserId;
use crate::neighbours::{AgentCard, Away};

const UNKNOWN: &str = "the user service knows no such user";

impl Node {
    /// The name that the user service has a user shown by, if it says one. Where the service is required, who is not
    /// known there is not let in.
    pub async fn shown_name(
        &self,
        user: &UserId,
        identity: Option<&Identity>,
    ) -> Result<Option<Arc<str>>, NotAdmitted> {
        let Some(users) = &self.neighbours.users else {
            return Ok(None);
        };
        // A token that says so is no person's, and persons are all that the service knows.
        let role = identity.and_then(|identity| identity.role);
        if matches!(role, Some(Role::Service | Role::Agent)) {
            return Ok(None);
        }
        // Boxed: it is large, and the task that waits here may live as long as its socket.
        match Box::pin(users.lookup(user)).await {
            Ok(Some(known)) => Ok(known.name),
            Ok(None) if users.is_required() => Err(NotAdmitted::Forbidden(UNKNOWN)),
            Err(_) if users.is_required() => Err(NotAdmitted::UserService),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// What the AI-agents service says of an agent; `None` also where there is no such service.
    pub async fn agent_card(&self, agent: &str) -> Result<Option<AgentCard>, Away> {
        match &self.neighbours.agents {
            Some(agents) => agents.lookup(agent).await,
            None => Ok(None),
        }
    }
}
