//! Agents as they are shown: one, a page of them, and what they did.

use futures_util::future::join_all;

use super::super::relay::make_agent_room;
use super::super::{Denied, Node, snapshots};
use crate::backplane::{Error, Shelf};
use crate::domain::agents::State;
use crate::ids::{AgentId, EventId, Position, Room};
use crate::records;

/// Agents read from their list for a page, how often for one in which few are shown, and how many are looked at at once.
const LISTED: u64 = 200;
const LOOKS: usize = 10;
const AT_ONCE: usize = 32;

impl Node {
    /// A page of agents in the order of their ids, those that are to be shown; and behind which the next one begins.
    pub async fn agents(
        &self,
        after: Option<&AgentId>,
        most: usize,
        shown: impl Fn(&State) -> bool,
    ) -> Result<(Vec<State>, Option<AgentId>), Denied> {
        let (mut page, mut behind) = (Vec::new(), after.cloned());
        for _ in 0..LOOKS {
            let after = behind.as_ref().map(AgentId::as_str);
            let listed = self.backplane.listed(Shelf::Agents, after, LISTED).await?;
            let is_last = (listed.len() as u64) < LISTED;
            let ids: Vec<AgentId> = listed
                .iter()
                .filter_map(|id| AgentId::parse(id).ok())
                .collect();
            for some in ids.chunks(AT_ONCE) {
                let states = join_all(some.iter().map(|id| self.agent_at(id))).await;
                for (id, state) in some.iter().zip(states) {
                    let (state, at) = state?;
                    if at.is_none() {
                        // Its time is over.
                        self.backplane.unlist(Shelf::Agents, id.as_str()).await?;
                    }
                    behind = Some(id.clone());
                    if state.is_known() && shown(&state) {
                        page.push(state);
                    }
                    if page.len() == most {
                        return Ok((page, behind));
                    }
                }
            }
            if is_last {
                return Ok((page, None));
            }
        }
        Ok((page, behind))
    }

    /// Those that are over, the youngest first.
    pub async fn runs_of(
        &self,
        agent: &AgentId,
        after: Option<EventId>,
        most: u32,
    ) -> Result<Vec<records::Run>, Denied> {
        Ok(self.books()?.runs_of(agent, after, most).await?)
    }

    pub(in crate::node) async fn agent_at(
        &self,
        agent: &AgentId,
    ) -> Result<(State, Option<Position>), Error> {
        let room = Room::Agent(agent.clone());
        let snapshot = self.backplane.snapshot(&room).await?;
        Ok((snapshots::agent(agent, &snapshot), snapshot.position()))
    }

    /// Makes the agent's room if it is not there.
    pub(in crate::node) async fn agent_room(&self, agent: &AgentId) -> Result<(), Error> {
        let room = Room::Agent(agent.clone());
        match self.backplane.position(&room).await? {
            Some(_) => Ok(()),
            None => make_agent_room(&self.backplane, &room, agent).await,
        }
    }
}
