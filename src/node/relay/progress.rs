//! How often a run's progress is told: of many words only the newest, and the last one before the run is over.

use std::time::Duration;

use tokio::time::Instant;

use super::Note;
use super::worker::Worker;
use crate::backplane::Envelope;
use crate::domain::Event;
use crate::domain::agents::PROGRESS_PACE_MS;
use crate::ids::{AgentId, Room};
use crate::telemetry::metrics::metrics;

const PACE: Duration = Duration::from_millis(PROGRESS_PACE_MS);

impl Worker {
    /// True when the word waits for its time.
    pub(super) fn hold_progress(&mut self, envelope: &Envelope, event: &Event) -> bool {
        let Event::AgentProgressed(progress) = event else {
            return false;
        };
        let Some(local) = self.rooms.get_mut(&envelope.room) else {
            return false;
        };
        let paced = local.progress.entry(progress.agent.clone()).or_default();
        let was_waiting = paced.pending.take().is_some();
        if was_waiting {
            metrics().conflated(1);
        }
        let now = Instant::now();
        match paced.next {
            Some(next) if next > now => {
                paced.pending = Some(Box::new(envelope.clone()));
                if !was_waiting {
                    let (room, agent) = (envelope.room.clone(), progress.agent.clone());
                    self.jobs.spawn(async move {
                        tokio::time::sleep_until(next).await;
                        Note::ReleaseProgress(room, agent)
                    });
                }
                true
            }
            _ => {
                paced.next = Some(now + PACE);
                false
            }
        }
    }

    /// A word that waited. One that came meanwhile has taken its place, and its time.
    pub(super) fn release_progress(&mut self, room: &Room, agent: &AgentId) {
        let local = self.rooms.get_mut(room);
        let Some(paced) = local.and_then(|local| local.progress.get_mut(agent)) else {
            return;
        };
        if paced.next.is_some_and(|next| next > Instant::now()) {
            return;
        }
        if let Some(envelope) = paced.pending.take() {
            paced.next = Some(Instant::now() + PACE);
            self.hand_over_again(&envelope);
        }
    }

    /// The last word of a run goes before its end.
    pub(super) fn tell_progress_before(&mut self, room: &Room, event: &Event) {
        let (agent, is_end) = match event {
            Event::AgentStarted(started) => (&started.agent, false),
            Event::AgentCompleted(completed) => (&completed.agent, true),
            _ => return,
        };
        let local = self.rooms.get_mut(room);
        let last = local.and_then(|local| local.progress.remove(agent));
        if let Some(envelope) = last.and_then(|paced| paced.pending).filter(|_| is_end) {
            self.hand_over_again(&envelope);
        }
    }
}
