//! What other services say of who comes, and of agents; and what follows when they say nothing.

use std::sync::Arc;

use super::{Node, NotAdmitted};
use crate::auth::{Identity, Role};
use crate::backplane::Error;
use crate::ids::{AgentId, Room, UserId};

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

    /// Whether there may be such an agent: one of which nobody has heard here is asked after, if there is somebody to
    /// ask. What is said of it is noted in its room.
    pub(super) async fn knows_agent(&self, agent: &AgentId) -> Result<(), NotAdmitted> {
        let Some(agents) = &self.neighbours.agents else {
            return Ok(());
        };
        let room = Room::Agent(agent.clone());
        if self.backplane.position(&room).await?.is_some() {
            return Ok(());
        }
        match agents.lookup(agent.as_str()).await {
            Ok(Some(card)) => {
                let said = [("name", card.name), ("description", card.description)];
                let said = said
                    .into_iter()
                    .filter_map(|(field, text)| Some((field, text?.to_string())));
                let fields = std::iter::once(("agent_id", agent.to_string())).chain(said);
                self.backplane
                    .create(&room, fields.collect(), Vec::new(), Vec::new())
                    .await?;
                Ok(())
            }
            Ok(None) => Err(Error::Missing.into()),
            // Who cannot be asked after may be there.
            Err(away) => {
                tracing::debug!(%agent, %away, "an agent is not asked after");
                Ok(())
            }
        }
    }
}
