//! Runs of agents that this node's sockets tell of, and the end of those that nobody tells of any more.
//!
//! A run rests on a deadline that its node moves on, not on anybody's farewell. Whichever node finds one overdue ends it;
//! that two find it does no harm, for the end is committed under a condition and what follows is done once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use super::Node;
use crate::backplane::{Envelope, Error, Link, Queue, Replay};
use crate::domain::agents::{Complete, Completed, FAILED, LOST, Run, Started};
use crate::domain::{Event, Voice};
use crate::ids::{AgentId, EventId, Position, Room, SocketId, UserId};

/// Between two words to the others that runs go on, at most.
pub(super) const REFRESH: Duration = Duration::from_secs(10);
/// How often it is seen which are overdue, at least, and how many at once.
const LOOK: Duration = Duration::from_secs(1);
const AT_ONCE: u64 = 100;
/// Of these, how many are ended together.
const TOGETHER: usize = 16;
/// What could not be done of a run's end is tried again after this.
pub(super) const AGAIN: Duration = Duration::from_secs(15);

/// Runs that are told of here.
#[derive(Default)]
pub(super) struct Runs(Mutex<HashMap<AgentId, Told>>);

struct Told {
    run: Run,
    /// Which tells of it.
    by: SocketId,
}

impl Runs {
    pub fn of(&self, agent: &AgentId) -> Option<Run> {
        self.0.lock().get(agent).map(|told| told.run.clone())
    }

    /// True when another socket told of it before, or none. What REST tells of is not kept: nobody would say when it
    /// is over.
    pub fn take(&self, run: &Run, by: Option<SocketId>) -> bool {
        let mut runs = self.0.lock();
        let Some(by) = by else {
            return runs.remove(&run.agent).is_some();
        };
        if let Some(told) = runs.get_mut(&run.agent)
            && told.run.id == run.id
        {
            return std::mem::replace(&mut told.by, by) != by;
        }
        let run = run.clone();
        runs.insert(run.agent.clone(), Told { run, by });
        true
    }

    /// Whether a socket that is here tells of the agent's run.
    pub fn has_teller(&self, agent: &AgentId, is_here: impl Fn(SocketId) -> bool) -> bool {
        let runs = self.0.lock();
        runs.get(agent).is_some_and(|told| is_here(told.by))
    }

    /// Those of a socket go to another one of the same agent.
    fn hand_over(&self, agent: &AgentId, from: SocketId, to: SocketId) {
        let mut runs = self.0.lock();
        if let Some(told) = runs.get_mut(agent)
            && told.by == from
        {
            told.by = to;
        }
    }

    /// Others have ended them.
    fn forget_all(&self, keys: &[String]) {
        let is_over = |agent: &AgentId, told: &mut Told| keys.contains(&key(agent, told.run.id));
        self.0.lock().retain(|agent, told| !is_over(agent, told));
    }

    pub fn forget(&self, agent: &AgentId, run: EventId) {
        let mut runs = self.0.lock();
        if runs.get(agent).is_some_and(|told| told.run.id == run) {
            runs.remove(agent);
        }
    }

    /// Those of a socket that goes.
    fn let_go(&self, socket: SocketId) -> Vec<String> {
        let mut runs = self.0.lock();
        let gone = runs.extract_if(|_, told| told.by == socket);
        gone.map(|(agent, told)| key(&agent, told.run.id)).collect()
    }

    /// Those of sockets that are here, and of some that are not: a socket may go while its word is on its way.
    fn of_sockets(&self, is_here: impl Fn(SocketId) -> bool) -> (Vec<String>, Vec<String>) {
        let mut runs = self.0.lock();
        let gone = runs.extract_if(|_, told| !is_here(told.by));
        let gone = gone.map(|(agent, told)| key(&agent, told.run.id)).collect();
        let here = runs.iter().map(|(agent, told)| key(agent, told.run.id));
        let here = here.collect();
        (here, gone)
    }
}

pub(super) fn key(agent: &AgentId, run: EventId) -> String {
    format!("{agent} {run}")
}

impl Node {
    /// Keeps up the runs of this node's sockets, until the node stops.
    pub async fn attend_runs(self: Arc<Self>) {
        let refresh = self.config.agents.refresh();
        let mut every = tokio::time::interval(LOOK.min(refresh));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refreshed = Instant::now();
        while self
            .stopping
            .run_until_cancelled(every.tick())
            .await
            .is_some()
        {
            if self.link() != Link::Up {
                continue;
            }
            if refreshed.elapsed() >= refresh {
                refreshed = Instant::now();
                let lost_after = self.config.agents.lost_after;
                let (here, gone) = self.runs.of_sockets(|socket| self.hub.has_socket(socket));
                self.put_off_runs(here, lost_after + refresh).await;
                self.put_off_runs(gone, lost_after).await;
            }
        }
    }

    /// Ends runs that nobody keeps up, until the node stops. Apart from the former: what takes its time must not keep the
    /// living waiting.
    pub async fn attend_lost_runs(self: Arc<Self>) {
        let refresh = self.config.agents.refresh();
        let mut every = tokio::time::interval(LOOK.min(refresh));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self
            .stopping
            .run_until_cancelled(every.tick())
            .await
            .is_some()
        {
            // After the backplane was away nobody could say that runs go on.
            if self.link() != Link::Up || !self.may_bury() {
                continue;
            }
            match self.stopping.run_until_cancelled(self.end_lost()).await {
                Some(Err(error)) => tracing::debug!(%error, "lost runs are looked for again"),
                Some(Ok(())) => {}
                None => return,
            }
        }
    }

    /// Whose socket goes is given the time to come back.
    pub(super) fn let_runs_go(self: &Arc<Self>, user: &UserId, socket: SocketId) {
        if let (Ok(agent), Some(other)) = (
            AgentId::parse(user.as_str()),
            self.followers
                .speaker(user, |visit| self.voice_of(visit) == Voice::Own),
        ) {
            self.runs.hand_over(&agent, socket, other);
        }
        let runs = self.runs.let_go(socket);
        if runs.is_empty() {
            return;
        }
        let node = self.clone();
        self.farewells.spawn(async move {
            let patience = node.config.agents.lost_after;
            node.put_off_runs(runs, patience).await;
        });
    }

    async fn put_off_runs(&self, runs: Vec<String>, within: Duration) {
        for some in runs.chunks(AT_ONCE as usize) {
            let put_off = self.backplane.put_off(Queue::Runs, some.to_vec(), within);
            match put_off.await {
                Ok(over) => self.runs.forget_all(&over),
                Err(error) => tracing::debug!(%error, "others do not hear that runs go on"),
            }
        }
    }

    /// One that cannot be ended now, because its part of the backplane is away, keeps none of the others.
    async fn end_lost(&self) -> Result<(), Error> {
        let due = self.backplane.due(Queue::Runs, AT_ONCE).await?;
        let mut failed = None;
        for some in due.chunks(TOGETHER) {
            let ended = join_all(some.iter().map(|due| self.end_due(due))).await;
            failed = ended.into_iter().find_map(Result::err).or(failed);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn end_due(&self, due: &str) -> Result<(), Error> {
        let parsed = due
            .split_once(' ')
            .and_then(|(agent, run)| Some((AgentId::parse(agent).ok()?, EventId::parse(run)?)));
        match parsed {
            Some((agent, run)) => self.end_lost_run(&agent, run).await,
            None => {
                self.backplane
                    .settle(Queue::Runs, due, Duration::ZERO)
                    .await
            }
        }
    }

    async fn end_lost_run(&self, agent: &AgentId, run: EventId) -> Result<(), Error> {
        let (state, at) = self.agent_at(agent).await?;
        if let Some(under_way) = state.run.as_ref().filter(|known| known.id == run) {
            let complete = Complete {
                agent: agent.clone(),
                status: FAILED.to_owned(),
                result: None,
                took: None,
            };
            let ended = self.end_run(&state, under_way, &complete, Some(LOST), None, None);
            return match ended.await {
                Ok(_) => {
                    tracing::warn!(%agent, %run, "a run is lost: nobody has heard of it");
                    Ok(())
                }
                // Somebody was quicker.
                Err(Error::Unmet) => Ok(()),
                Err(error) => Err(error),
            };
        }
        // It is over, or never began; what its end entails may have been left undone.
        let ended = match at {
            Some(at) => self.end_of(agent, run, at).await?,
            None => None,
        };
        match ended {
            Some((run, ended)) => self.finish_run(&run, &ended).await,
            None => {
                if state.run.is_none() {
                    // It was about to begin: the agent is at work, and at nothing.
                    self.rest(agent).await?;
                }
                self.settle_run(agent, run).await;
            }
        }
        Ok(())
    }

    /// Start and end of a run, if the log still has both.
    async fn end_of(
        &self,
        agent: &AgentId,
        run: EventId,
        at: Position,
    ) -> Result<Option<(Run, Completed)>, Error> {
        let room = Room::Agent(agent.clone());
        let since = Position { seq: 0, ..at };
        let Replay::Events(events) = self.backplane.recent(&room, since).await? else {
            return Ok(None);
        };
        let (mut began, mut ended) = (None, None);
        for envelope in &events {
            match event(envelope) {
                Some(Event::AgentStarted(start)) if start.run == run => {
                    began = Some(started(start, envelope.at));
                }
                Some(Event::AgentCompleted(end)) if end.run == run => ended = Some(end),
                _ => {}
            }
        }
        Ok(began.zip(ended))
    }
}

fn event(envelope: &Envelope) -> Option<Event> {
    rmp_serde::from_slice(&envelope.event).ok()
}

fn started(start: Started, at: crate::clock::Millis) -> Run {
    Run {
        id: start.run,
        agent: start.agent,
        task: start.task.to_string(),
        user: start.user,
        workspace: start.workspace,
        started_at: at,
    }
}
