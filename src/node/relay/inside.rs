//! How workspaces and agents greet those who come: each in answer to its own command.

use bytes::Bytes;

use super::resume::Missed;
use crate::backplane::{Error, SharedBackplane, Snapshot};
use crate::dialects::workspace::{self, Greeting};
use crate::domain::{agents, workspaces};
use crate::hub::{Lane, Socket, frame};
use crate::ids::{AgentId, Position, Room};
use crate::node::snapshots;
use crate::telemetry::metrics::metrics;

/// What there is inside.
pub(super) enum Inner {
    Agent(agents::State),
    Workspace(workspaces::View),
}

/// A workspace or an agent at one instant.
pub(super) struct Inside {
    pub(super) room: Room,
    pub(super) at: Position,
    pub(super) inner: Inner,
    pub(super) missed: Vec<Missed>,
}

impl Inside {
    /// What a socket is told that came by the command of this id.
    pub(super) fn first(
        &self,
        socket: &Socket,
        since: Option<Position>,
        ask: Option<&str>,
        afresh: bool,
    ) -> Vec<(Lane, Bytes)> {
        let missed = self
            .missed
            .iter()
            .find(|missed| missed.is_for(socket.tongue));
        let told = since
            .zip(missed.filter(|_| !afresh))
            .and_then(|(since, missed)| missed.since(since, &socket.user));
        let resumed = since.map(|_| told.is_some());
        if let Some(resumed) = resumed {
            metrics().resumed(resumed);
        }
        let greeting = Greeting {
            position: Some(self.at),
            id: ask,
            resumed,
        };
        let mut frames = told.unwrap_or_default();
        frames.push(self.frame(greeting));
        if resumed == Some(true) {
            frames.push(frame::text_with(128, |out| greeting.end(&self.room, out)));
        }
        frames
            .into_iter()
            .map(|frame| (Lane::Ordered, frame))
            .collect()
    }

    /// What is told to everybody here whose order is no more.
    pub(super) fn again(&self) -> (Lane, Bytes) {
        let greeting = Greeting {
            position: Some(self.at),
            resumed: Some(false),
            ..Greeting::default()
        };
        (Lane::Ordered, self.frame(greeting))
    }

    fn frame(&self, greeting: Greeting<'_>) -> Bytes {
        self.inner.frame(greeting)
    }
}

impl Inner {
    fn frame(&self, greeting: Greeting<'_>) -> Bytes {
        frame::text_with(256, |out| match self {
            Inner::Agent(state) => workspace::subscribed(state, greeting, out),
            Inner::Workspace(view) => workspace::joined(view, greeting, out),
        })
    }
}

/// An agent's room, which is there as soon as somebody asks for it: its first run begins where they listen.
pub(super) async fn agent_room(
    backplane: &SharedBackplane,
    room: &Room,
    agent: &AgentId,
) -> Result<Snapshot, Error> {
    let snapshot = backplane.snapshot(room).await?;
    if snapshot.epoch.is_some() {
        return Ok(snapshot);
    }
    make_agent_room(backplane, room, agent).await?;
    backplane.snapshot(room).await
}

pub(in crate::node) async fn make_agent_room(
    backplane: &SharedBackplane,
    room: &Room,
    agent: &AgentId,
) -> Result<(), Error> {
    let fields = vec![("agent_id", agent.to_string())];
    backplane
        .create(room, fields, Vec::new(), Vec::new())
        .await
        .map(drop)
}

/// What is inside of a room now, and up to where that is.
pub(super) async fn look(
    backplane: &SharedBackplane,
    room: &Room,
) -> Result<(Inner, Position), Error> {
    let snapshot = match room {
        Room::Agent(agent) => agent_room(backplane, room, agent).await?,
        _ => backplane.snapshot(room).await?,
    };
    if snapshot.ended() {
        return Err(Error::Ended);
    }
    let at = snapshot.position().ok_or(Error::Missing)?;
    let inner = match room {
        Room::Agent(agent) => Inner::Agent(snapshots::agent(agent, &snapshot)),
        Room::Workspace(id) => Inner::Workspace(snapshots::workspace(id, &snapshot)),
        _ => return Err(Error::Missing),
    };
    Ok((inner, at))
}
