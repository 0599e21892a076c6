//! What every socket sends passes here, whatever it comes by: is it too fast, is it carried out, did it make sense.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Transport, close};
use crate::hub::Socket;
use crate::limits::{Pace, Verdict};
use crate::node::{Handled, Participant};

const BAD_FRAMES_WITHIN: Duration = Duration::from_secs(60);
/// A socket that is too fast is noted in the audit log at most this often.
const NOTED_EVERY: Duration = Duration::from_secs(60);

pub struct Intake {
    pace: Pace,
    /// Frames that were taken before their time.
    debt: u32,
    /// Of the few who give cause for it.
    trouble: Option<Box<Trouble>>,
}

#[derive(Default)]
struct Trouble {
    /// When the last bad frames came.
    bad: VecDeque<Instant>,
    /// When it was last noted that the socket is too fast.
    noted: Option<Instant>,
}

impl Intake {
    pub fn new(transport: &Transport) -> Self {
        Self {
            pace: transport.limits.pace(),
            debt: 0,
            trouble: None,
        }
    }

    /// Has a frame carried out, unless it comes too fast.
    pub fn take(
        &mut self,
        transport: &Transport,
        participant: &mut Participant,
        text: &str,
    ) -> Handled {
        if participant.is_binary() {
            let reason = "text frames are not spoken here; send binary ones";
            participant.socket.close(close::BINARY, reason);
            return Handled::Done;
        }
        let limits = &transport.limits;
        let user = &participant.socket.user;
        match limits.frame(&mut self.pace, user, text.len()) {
            Verdict::Fine => transport.node.handle(participant, text),
            Verdict::Haste { over, retry_in } => {
                let what = limits.sentence(over);
                if self.trouble.get_or_insert_default().is_to_be_noted() {
                    let span = participant.span();
                    tracing::info!(target: "audit", parent: &span, what, "too fast");
                }
                let node = &transport.node;
                node.refuse_haste(participant, text, &what, retry_in)
            }
            Verdict::Flood => self.stop_flood(&participant.socket),
        }
    }

    /// The same of a binary frame.
    pub fn take_binary(
        &mut self,
        transport: &Transport,
        participant: &mut Participant,
        frame: &[u8],
    ) -> Handled {
        if participant.is_binary() {
            return self.take_at_a_pace(transport, participant, frame);
        }
        if let Some(flood) = self.count_control(transport, &participant.socket, frame.len()) {
            return flood;
        }
        let handled = transport.node.handle_binary(participant, frame);
        handled.unwrap_or_else(|| {
            let reason = "binary frames are not spoken here; send text";
            participant.socket.close(close::BINARY, reason);
            Handled::Done
        })
    }

    /// Who speaks Yjs builds each frame on those before: none is passed over. Nothing more is read until the next may come.
    fn take_at_a_pace(
        &mut self,
        transport: &Transport,
        participant: &mut Participant,
        frame: &[u8],
    ) -> Handled {
        let (limits, user) = (&transport.limits, &participant.socket.user);
        self.debt += 1;
        let mut wait = None;
        while self.debt > 0 && wait.is_none() {
            match limits.frame(&mut self.pace, user, frame.len()) {
                Verdict::Fine => self.debt -= 1,
                Verdict::Haste { retry_in, .. } => wait = Some(retry_in * self.debt),
                Verdict::Flood => return self.stop_flood(&participant.socket),
            }
        }
        let handled = transport.node.handle_binary(participant, frame);
        match (handled.unwrap_or(Handled::Done), wait) {
            (Handled::Later(busy), Some(wait)) => Handled::Later(Box::pin(async move {
                tokio::join!(busy, tokio::time::sleep(wait));
            })),
            (Handled::Done, Some(wait)) => Handled::Later(Box::pin(tokio::time::sleep(wait))),
            (handled, _) => handled,
        }
    }

    /// A ping costs as much as a small frame. It is answered in any case, because the peer may take silence for
    /// a lost connection; but it counts, and a flood of them ends as any other.
    pub fn count_control(
        &mut self,
        transport: &Transport,
        socket: &Socket,
        bytes: usize,
    ) -> Option<Handled> {
        match transport.limits.control(&mut self.pace, bytes) {
            Verdict::Fine | Verdict::Haste { .. } => None,
            Verdict::Flood => Some(self.stop_flood(socket)),
        }
    }

    /// Counts a frame that made no sense.
    pub fn count_bad(&mut self, transport: &Transport, socket: &Socket) {
        let most = transport.config.bad_frames;
        if self.trouble.get_or_insert_default().is_beyond(most) {
            let reason = format!("more than {most} bad frames in a minute");
            socket.close(close::BAD_FRAMES, &reason);
        }
    }

    fn stop_flood(&self, socket: &Socket) -> Handled {
        let reason = "far too fast for too long: come again, and slower";
        socket.close(close::TOO_FAST, reason);
        Handled::Done
    }
}

impl Trouble {
    fn is_to_be_noted(&mut self) -> bool {
        let now = Instant::now();
        let due = self.noted.is_none_or(|noted| now - noted >= NOTED_EVERY);
        if due {
            self.noted = Some(now);
        }
        due
    }

    /// Takes one more bad frame; true when those are more than `most` of late.
    fn is_beyond(&mut self, most: usize) -> bool {
        let now = Instant::now();
        self.bad.push_back(now);
        if self.bad.len() <= most {
            return false;
        }
        let first = self.bad.pop_front();
        first.is_some_and(|first| now - first < BAD_FRAMES_WITHIN)
    }
}
