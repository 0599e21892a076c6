//! What agents tell of their runs, by socket or over REST: into the agent's room, and a copy into its workspace's.
//!
//! A run is written down as due before it starts, and struck off when all that its end entails is done: whoever finds it
//! overdue (see [`super::runs`]) goes on from wherever it was left.

mod end;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use super::commands::Asker;
use super::workspaces::standing;
use super::{Node, pack, runs};
use crate::backplane::{Audience, Change, Committed, Entry, Error, Exit, Link, Queue, Shelf};
use crate::domain::agents::{Complete, RUN, Run, Start, Update, Word};
use crate::domain::{Code, Event, Reject};
use crate::ids::{AgentId, EventId, Room, SocketId, UserId};
use crate::telemetry::metrics::metrics;

#[derive(Debug, Clone)]
pub struct Config {
    /// Agents that a user follows, or a socket listens to.
    pub followed: u64,
    /// A run whose socket has been gone for this long has failed.
    pub lost_after: Duration,
    /// The same of one that was told of without a socket, from its last word on.
    pub silence: Duration,
}

/// Who tells.
#[derive(Debug, Clone)]
pub struct Teller {
    pub user: UserId,
    /// `None`: over REST.
    pub socket: Option<SocketId>,
}

impl Asker {
    pub(super) async fn report(self, word: Word) {
        let teller = Teller {
            user: self.participant.socket.user.clone(),
            socket: Some(self.participant.socket.id),
        };
        match self.node.report(&teller, word, self.id.clone()).await {
            Ok(Some(committed)) => self.acknowledge(committed, false),
            Ok(None) => {}
            Err(reject) => self.reject(reject),
        }
    }
}

impl Node {
    /// What an agent says of its run. Nothing is answered to what the next word supersedes.
    pub async fn report(
        self: &Arc<Self>,
        teller: &Teller,
        word: Word,
        once: Option<String>,
    ) -> Result<Option<Committed>, Reject> {
        if self.link() != Link::Up {
            return Err(Reject::unavailable());
        }
        let once = once.map(|id| (teller.user.clone(), id));
        let told = match word {
            Word::Start(start) => self.start_run(teller, &start, once).await.map(Some),
            Word::Update(update) => self.update_run(teller, &update).await.map(|()| None),
            Word::Complete(complete) => self.complete_run(teller, &complete, once).await.map(Some),
        };
        told.map_err(|error| self.refused_report(error))
    }

    fn refused_report(&self, error: Refusal) -> Reject {
        match error {
            Refusal::Rejected(reject) => reject,
            Refusal::Backplane(error) => {
                tracing::debug!(%error, "a report was not taken");
                Reject::unavailable()
            }
        }
    }

    async fn start_run(
        self: &Arc<Self>,
        teller: &Teller,
        start: &Start,
        once: Option<(UserId, String)>,
    ) -> Result<Committed, Refusal> {
        let now = self.clock().now();
        let run = start.run(EventId::new(), now);
        let room = Room::Agent(run.agent.clone());
        if let Some(workspace) = &run.workspace
            && !self.is_there(&Room::Workspace(workspace.clone())).await?
        {
            let sentence =
                format!("there is no workspace {workspace}; right is one that exists, or none");
            return Err(Refusal::Rejected(Reject {
                field: Some("workspace_id"),
                ..Reject::new(Code::NotFound, sentence)
            }));
        }
        // Written down first: what dies in between is found.
        let due = self.config.agents.patience(teller);
        let (listed, expected, entered) = tokio::join!(
            self.backplane.list(Shelf::Agents, run.agent.as_str()),
            self.expect_run(&run.agent, run.id, due),
            self.backplane.enter(&room, self.at_work(&run.agent)),
        );
        if let Err(error) = listed {
            // Its own part of the backplane is away: the agent works all the same, and is listed with its next run.
            tracing::debug!(agent = %run.agent, %error, "an agent is not listed");
        }
        expected?;
        entered?;
        let change = Change {
            fields: run.fields(),
            once,
            when: Some((RUN, String::new())),
            hook: self.config.hooks && run.workspace.is_none(),
            ..Change::of(
                self.roster
                    .draft(&run.event(), teller.socket, Audience::All),
            )
        };
        match self.commit(&room, change).await {
            Ok(committed) if committed.repeated => {
                self.settle_run(&run.agent, run.id).await;
                // What was begun the first time is this teller's; it may be over, too. And it may not have been told on.
                match self.adopt(teller, &run.agent).await {
                    Ok(run) => self.copy_young(&run).await,
                    Err(Refusal::Backplane(error)) => return Err(error.into()),
                    Err(Refusal::Rejected(_)) => true,
                };
                Ok(committed)
            }
            Ok(committed) => {
                // Not before: the run that is under way when this one is refused goes on.
                self.runs.take(&run, teller.socket);
                metrics().run_started();
                if !self.copy(&run, &run.event(), "start").await {
                    let (node, room) = (self.clone(), room.clone());
                    self.chores
                        .spawn(async move { node.copy_start(&run, &room).await });
                }
                Ok(committed)
            }
            Err(Error::Unmet) => {
                self.settle_run(&run.agent, run.id).await;
                let sentence = format!("{} is at work already: complete that run first", run.agent);
                Err(Refusal::Rejected(Reject::new(Code::Conflict, sentence)))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn update_run(&self, teller: &Teller, update: &Update) -> Result<(), Refusal> {
        let room = Room::Agent(update.agent.clone());
        for _ in 0..2 {
            let run = match self.runs.of(&update.agent) {
                Some(run) => run,
                None => self.adopt(teller, &update.agent).await?,
            };
            let event = Event::AgentProgressed(update.event());
            let draft = self.roster.draft(&event, teller.socket, Audience::All);
            let fields = update.fields(self.clock().now());
            let when = (RUN, run.id.to_string());
            match self
                .backplane
                .report(&room, draft.clone(), fields, when)
                .await
            {
                Ok(()) => {
                    if self.runs.take(&run, teller.socket) || teller.socket.is_none() {
                        let due = self.config.agents.patience(teller);
                        self.expect_run(&run.agent, run.id, due).await?;
                    }
                    if let Some(workspace) = &run.workspace {
                        let workspace = Room::Workspace(workspace.clone());
                        self.backplane
                            .announce(&workspace, Some(draft), None)
                            .await?;
                    }
                    return Ok(());
                }
                // Another run, or none, by what other nodes did.
                Err(Error::Unmet | Error::Missing) => self.runs.forget(&run.agent, run.id),
                Err(error) => return Err(error.into()),
            }
        }
        Err(idle(&update.agent))
    }

    async fn complete_run(
        &self,
        teller: &Teller,
        complete: &Complete,
        once: Option<(UserId, String)>,
    ) -> Result<Committed, Refusal> {
        let room = Room::Agent(complete.agent.clone());
        let (state, at) = self.agent_at(&complete.agent).await?;
        let Some(run) = &state.run else {
            if let (Some((user, id)), Some(at)) = (&once, at)
                && let Some(seq) = self.backplane.known(&room, user, id).await?
            {
                return Ok(Committed {
                    position: crate::ids::Position { seq, ..at },
                    version: 0,
                    repeated: true,
                });
            }
            return Err(idle(&complete.agent));
        };
        match self
            .end_run(&state, run, complete, None, teller.socket, once)
            .await
        {
            Err(Error::Unmet) => Err(idle(&complete.agent)),
            ended => Ok(ended?),
        }
    }

    /// A run that another node, or another socket, has told of before.
    async fn adopt(&self, teller: &Teller, agent: &AgentId) -> Result<Run, Refusal> {
        let (state, _) = self.agent_at(agent).await?;
        let run = state.run.ok_or_else(|| idle(agent))?;
        let due = self.config.agents.patience(teller);
        self.expect_run(&run.agent, run.id, due).await?;
        self.runs.take(&run, teller.socket);
        Ok(run)
    }

    /// The run that an agent is at when it comes back; while another of its sockets is here, that one tells of it.
    pub(super) async fn adopt_own(&self, user: &UserId, socket: SocketId) {
        let Ok(agent) = AgentId::parse(user.as_str()) else {
            return;
        };
        if self
            .runs
            .has_teller(&agent, |teller| self.hub.has_socket(teller))
        {
            return;
        }
        let teller = Teller {
            user: user.clone(),
            socket: Some(socket),
        };
        // At none, as a rule.
        if let Err(Refusal::Backplane(error)) = self.adopt(&teller, &agent).await {
            tracing::debug!(%agent, %error, "a run was not found again");
        }
    }

    async fn is_there(&self, room: &Room) -> Result<bool, Error> {
        if let Room::Workspace(id) = room {
            let restored = self.roster.restore_workspace(&self.backplane, id).await;
            restored.map_err(|error| Error::Unavailable(error.to_string()))?;
        }
        Ok(self.backplane.position(room).await?.is_some())
    }

    pub(super) async fn expect_run(
        &self,
        agent: &AgentId,
        run: EventId,
        within: Duration,
    ) -> Result<(), Error> {
        let what = vec![runs::key(agent, run)];
        self.backplane.expect(Queue::Runs, what, within).await
    }

    pub(super) async fn settle_run(&self, agent: &AgentId, run: EventId) {
        let key = runs::key(agent, run);
        if let Err(error) = self
            .backplane
            .settle(Queue::Runs, &key, Duration::ZERO)
            .await
        {
            tracing::debug!(%agent, %error, "a run is looked at once more");
        }
    }

    /// An agent is a member of its room while it runs: afterwards the room lives on for a while.
    fn at_work(&self, agent: &AgentId) -> Entry {
        let user = agent.as_user();
        let record = standing(&user, agent.as_str().into(), self.clock().now());
        Entry {
            socket: SocketId::standing_for(&user),
            member: pack(&record),
            user,
            joined: None,
            create: Some(vec![("agent_id", agent.to_string())]),
        }
    }

    /// From here on its room lives on for a while.
    pub(super) async fn rest(&self, agent: &AgentId) -> Result<(), Error> {
        let user = agent.as_user();
        let exit = Exit {
            socket: SocketId::standing_for(&user),
            user,
            left: None,
        };
        let room = Room::Agent(agent.clone());
        self.backplane.leave(&room, vec![exit]).await
    }
}

impl Config {
    /// Between two words to the others that runs go on: often enough for who adopted one whose former socket is seen to
    /// be gone only afterwards.
    pub(super) fn refresh(&self) -> Duration {
        runs::REFRESH.min(self.lost_after / 3)
    }

    /// How long nobody need hear of a run. With a socket its node says time and again that it is there.
    fn patience(&self, teller: &Teller) -> Duration {
        match teller.socket {
            Some(_) => self.lost_after + self.refresh(),
            None => self.silence,
        }
    }
}

/// Why a report is not taken.
enum Refusal {
    Rejected(Reject),
    Backplane(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Backplane(error)
    }
}

fn idle(agent: &AgentId) -> Refusal {
    let sentence = format!("{agent} is at no run: start one with agent_execution_start");
    Refusal::Rejected(Reject::new(Code::NotFound, sentence))
}
