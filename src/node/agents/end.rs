//! What the end of a run entails beside its event: its workspace is told, the agent rests, the run goes into the records.

use std::time::Duration;

use super::super::{Node, runs};
use crate::backplane::{Audience, Change, Committed, Error};
use crate::domain::Event;
use crate::domain::agents::{self, Complete, Completed, RUN, Run, State};
use crate::ids::{Room, SocketId, UserId};
use crate::records;
use crate::telemetry::metrics::metrics;

impl Node {
    /// Ends the run if it is under way, with all that this entails.
    pub(in crate::node) async fn end_run(
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
            ..Change::of(self.roster.draft(&event, origin, Audience::All))
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
    pub(in crate::node) async fn finish_run(&self, run: &Run, ended: &Completed) {
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
    pub(super) async fn copy_start(&self, run: &Run, room: &Room) {
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
    pub(super) async fn copy_young(&self, run: &Run) -> bool {
        let age = u64::try_from(self.clock().now() - run.started_at).unwrap_or(0);
        let is_young = Duration::from_millis(age) < self.config.idempotency / 2;
        !is_young || self.copy(run, &run.event(), "start").await
    }

    /// Tells the run's workspace, once; false when it has to be tried again.
    pub(super) async fn copy(&self, run: &Run, event: &Event, which: &str) -> bool {
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
            ..Change::of(self.roster.draft(event, None, Audience::All))
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
}
