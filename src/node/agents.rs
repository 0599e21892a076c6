//! What agents tell of their runs, by socket or over REST: into the agent's room, and a copy into its workspace's.
//!
//! A run is written down as due before it starts, and struck off when all that its end entails is done: whoever finds it
//! overdue (see [`super::runs`]) goes on from wherever it was left.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::commands::Asker;
use super::relay::make_agent_room;
use super::workspaces::standing;
use super::{Denied, Node, pack, runs, snapshots};
use crate::backplane::{
    Audience, Change, Committed, Draft, Entry, Error, Exit, Link, Queue, Shelf,
};
use crate::domain::agents::{self, Complete, Completed, RUN, Run, Start, State, Update, Word};
use crate::domain::{Code, Event, Reject};
use crate::ids::{AgentId, EventId, Room, SocketId, UserId};
use crate::records;
use crate::telemetry::metrics::metrics;

/// Agents read from their list for a page, how often for one in which few are shown, and how many are looked at at once.
const LISTED: u64 = 200;
const LOOKS: usize = 10;
const AT_ONCE: usize = 32;

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

/// How changes of rooms without a text begin.
pub(super) struct Rooms;

impl Rooms {
    pub(super) fn change(draft: Draft) -> Change {
        Change {
            draft,
            logged: None,
            fields: Vec::new(),
            text: None,
            history: None,
            once: None,
            role: None,
            by: None,
            when: None,
            hook: false,
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
            ..Rooms::change(
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

    /// Ends the run if it is under way, with all that this entails.
    pub(super) async fn end_run(
        &self,
        state: &State,
        run: &Run,
        complete: &Complete,
        reason: Option<&str>,
        origin: Option<SocketId>,
        once: Option<(UserId, String)>,
    ) -> Result<Committed, Error> {
        let room = Room::Agent(run.agent.clone());
        let now = self.clock().now();
        let (ended, fields) = agents::end(state, run, complete, reason, now);
        let event = Event::AgentCompleted(ended.clone());
        let has_copy = match &run.workspace {
            Some(workspace) => {
                let room = Room::Workspace(workspace.clone());
                self.backplane.position(&room).await?.is_some()
            }
            None => false,
        };
        let change = Change {
            fields,
            once,
            when: Some((RUN, run.id.to_string())),
            hook: self.config.hooks && !has_copy,
            ..Rooms::change(self.roster.draft(&event, origin, Audience::All))
        };
        let committed = self.commit(&room, change).await?;
        if committed.repeated {
            // It ended another run; this one goes on.
            return Ok(committed);
        }
        metrics().run_ended(&ended.status, reason.is_some(), ended.took_ms);
        tracing::info!(
            target: "audit",
            agent = %run.agent,
            run = %run.id,
            status = &*ended.status,
            reason,
            "run ended"
        );
        self.finish_run(run, &ended).await;
        Ok(committed)
    }

    /// What the end of a run entails beside its event. What fails is done by who finds the run overdue.
    pub(super) async fn finish_run(&self, run: &Run, ended: &Completed) {
        self.runs.forget(&run.agent, run.id);
        let copied = self.copy_young(run).await
            && self
                .copy(run, &Event::AgentCompleted(ended.clone()), "end")
                .await;
        let left = self.rest(&run.agent).await;
        let noted = self.note_run(run, ended).await;
        if copied && left.is_ok() && noted {
            self.settle_run(&run.agent, run.id).await;
        } else if let Err(error) = self.expect_run(&run.agent, run.id, runs::AGAIN).await {
            tracing::debug!(agent = %run.agent, %error, "a run's end is gone on with at once");
        }
    }

    /// Tells the run's workspace that it began as soon as that can be told; of its end the others take care.
    async fn copy_start(&self, run: &Run, room: &Room) {
        let tell = || async {
            // When it is over its end took care of that, and must not be followed by its start.
            let is_on = self
                .runs
                .of(&run.agent)
                .is_some_and(|known| known.id == run.id);
            match !is_on || self.copy(run, &run.event(), "start").await {
                true => Ok(()),
                false => Err(Error::Unavailable("not told yet".to_owned())),
            }
        };
        self.insist(room, tell).await;
    }

    /// Tells the run's workspace of its start, if it may not have heard of it: as long as a repeat is known as one.
    async fn copy_young(&self, run: &Run) -> bool {
        let age = u64::try_from(self.clock().now() - run.started_at).unwrap_or(0);
        let is_young = Duration::from_millis(age) < self.config.idempotency / 2;
        !is_young || self.copy(run, &run.event(), "start").await
    }

    /// Tells the run's workspace, once; false when it has to be tried again.
    async fn copy(&self, run: &Run, event: &Event, which: &str) -> bool {
        let Some(workspace) = &run.workspace else {
            return true;
        };
        let room = Room::Workspace(workspace.clone());
        // Longer than a client's own: nobody else has it.
        let once = format!(
            "{which} of run {}, as the nodes tell it to its workspace",
            run.id
        );
        let change = Change {
            once: Some((run.agent.as_user(), once)),
            hook: self.hooks(&room),
            ..Rooms::change(self.roster.draft(event, None, Audience::All))
        };
        match self.commit(&room, change).await {
            // Nobody is there any more.
            Ok(_) | Err(Error::Missing | Error::Ended) => true,
            Err(error) => {
                tracing::debug!(%room, %error, "a run's event waits for its workspace");
                false
            }
        }
    }

    /// Writes a run down that is over; false when it has to be tried again.
    async fn note_run(&self, run: &Run, ended: &Completed) -> bool {
        let Some(records) = self.records() else {
            return true;
        };
        let row = records::Run {
            id: run.id,
            agent: run.agent.clone(),
            user: run.user.clone(),
            workspace: run.workspace.clone(),
            task: run.task.clone(),
            status: ended.status.to_string(),
            result: ended.result.as_deref().map(str::to_owned),
            reason: ended.reason.as_deref().map(str::to_owned),
            started_at: run.started_at,
            took_ms: ended.took_ms,
        };
        let noted = records.note_run(&row).await;
        noted
            .inspect_err(|error| {
                tracing::debug!(agent = %run.agent, %error, "a run waits for the database");
            })
            .is_ok()
    }

    /// An agent as it is now; none that never ran.
    pub async fn agent(&self, agent: &AgentId) -> Result<State, Denied> {
        let (state, _) = self.agent_at(agent).await?;
        match state.is_known() {
            true => Ok(state),
            false => Err(Denied::Missing("agent")),
        }
    }

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

    pub(super) async fn agent_at(
        &self,
        agent: &AgentId,
    ) -> Result<(State, Option<crate::ids::Position>), Error> {
        let room = Room::Agent(agent.clone());
        let snapshot = self.backplane.snapshot(&room).await?;
        Ok((snapshots::agent(agent, &snapshot), snapshot.position()))
    }

    /// Makes the agent's room if it is not there.
    pub(super) async fn agent_room(&self, agent: &AgentId) -> Result<(), Error> {
        let room = Room::Agent(agent.clone());
        match self.backplane.position(&room).await? {
            Some(_) => Ok(()),
            None => make_agent_room(&self.backplane, &room, agent).await,
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
