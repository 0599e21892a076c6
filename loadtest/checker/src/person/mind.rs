//! What a person knows across sockets, and what it makes of a frame.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::commands::{Commands, What};
use super::frames::{Line, Said, Say, hash};
use super::journal::Kind;
use super::{Order, Place, Seat, World};
use crate::{Greeting, Position};

/// Wait before a command is repeated whose refusal does not say.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub struct Mind {
    pub seat: Seat,
    pub world: World,
    pub commands: Commands,
    pub is_over: bool,
    /// Whether the node told the present socket where it is: only then commands make sense.
    pub is_here: bool,
    is_writing: bool,
    /// As the node wrote it, and as the checker reads it.
    position: Option<(String, Position)>,
    text: Option<(u64, u64)>,
    next_chat: Option<Instant>,
    next_text: Option<Instant>,
    next_ping: Instant,
    /// When the oldest ping was sent after which nothing was heard.
    asked: Option<Instant>,
    askers: Vec<(String, oneshot::Sender<Place>)>,
    asks: u64,
    told: watch::Sender<Option<SocketAddr>>,
}

impl Mind {
    pub fn new(seat: Seat, world: World, told: watch::Sender<Option<SocketAddr>>) -> Self {
        let now = Instant::now();
        // Nobody's first word comes with everybody else's.
        let first = |every: Option<Duration>| Some(now + every?.mul_f64(rand::random()));
        Self {
            commands: Commands::default(),
            is_over: false,
            is_here: false,
            is_writing: true,
            position: None,
            text: None,
            next_chat: first(seat.manner.chat_every),
            next_text: first(seat.manner.text_every),
            next_ping: now,
            asked: None,
            askers: Vec::new(),
            asks: 0,
            told,
            seat,
            world,
        }
    }

    pub fn note(&self, kind: Kind) {
        self.world.journal.write(self.seat.viewer, kind);
    }

    pub fn complain(&self, words: impl Into<String>) {
        self.note(Kind::Complaint(words.into()));
    }

    /// Where to say that one was, when one comes back.
    pub fn since(&self) -> Option<&str> {
        self.position.as_ref().map(|(text, _)| text.as_str())
    }

    /// A socket begins.
    pub fn connected(&mut self) {
        if let Some((_, since)) = &self.position {
            let (room, viewer) = (&self.seat.room, self.seat.viewer);
            self.world.checker.lock().returns(room, viewer, *since);
        }
        let now = Instant::now();
        self.next_ping = now + self.seat.manner.ping_every.mul_f64(rand::random());
        // The node's first word is awaited like an answer.
        self.asked = Some(now);
    }

    /// The socket ended.
    pub fn disconnected(&mut self) {
        self.is_here = false;
        self.askers.clear();
        self.told.send_replace(None);
    }

    fn arrived(&mut self, node: SocketAddr, resumed: bool) {
        if !self.is_here {
            self.is_here = true;
            self.commands.again();
            self.note(Kind::Here { resumed });
        }
        self.told.send_replace(Some(node));
    }

    /// True when the connection has been silent for too long.
    pub fn is_dead(&self, now: Instant) -> bool {
        self.asked
            .is_some_and(|asked| now - asked >= self.seat.manner.patience)
    }

    /// When something is to be done, if nothing is heard before.
    pub fn next_due(&self) -> Instant {
        let silence = self.asked.map(|asked| asked + self.seat.manner.patience);
        let mut due = vec![Some(self.next_ping), silence];
        if self.is_here {
            due.push(self.commands.next_due());
            if self.is_writing {
                due.extend([self.next_chat, self.next_text]);
            }
        }
        due.into_iter()
            .flatten()
            .min()
            .expect("a ping is always due")
    }

    /// Frames to send now.
    pub fn act(&mut self, now: Instant) -> Vec<String> {
        let mut frames = Vec::new();
        if now >= self.next_ping {
            self.next_ping = now + self.seat.manner.ping_every;
            frames.push(self.ping(now, None));
        }
        if !self.is_here {
            return frames;
        }
        if self.is_writing {
            let (viewer, manner) = (self.seat.viewer, self.seat.manner);
            if due(&mut self.next_chat, manner.chat_every, now) {
                self.commands.say(viewer);
            }
            if due(&mut self.next_text, manner.text_every, now)
                && let Some((version, _)) = self.text
            {
                self.commands.change(viewer, version);
            }
        }
        frames.extend(self.commands.take_due(now));
        frames
    }

    fn ping(&mut self, now: Instant, id: Option<&str>) -> String {
        self.asked.get_or_insert(now);
        Say::Ping { id }.text()
    }

    /// Returns a frame to send, when the order needs one.
    pub fn obey(&mut self, order: Order) -> Option<String> {
        match order {
            Order::Write(writes) => self.is_writing = writes,
            Order::Vanish | Order::Leave => self.is_over = true,
            // Whoever asks is told by silence that there is nobody to answer.
            Order::Where(_) if !self.is_here => {}
            Order::Where(asker) => {
                self.asks += 1;
                let id = format!("where-{}", self.asks);
                let frame = self.ping(Instant::now(), Some(&id));
                self.askers.push((id, asker));
                return Some(frame);
            }
        }
        None
    }

    pub fn hear(&mut self, text: &str, node: SocketAddr) {
        self.asked = None;
        let said: Said = match serde_json::from_str(text) {
            Ok(said) => said,
            Err(error) => return self.complain(format!("cannot read {text}: {error}")),
        };
        match said {
            Said::SessionState {
                code,
                version,
                chat,
                position,
                ..
            } => {
                self.text = Some((version, hash(&code)));
                self.greeted(position, &chat);
                self.arrived(node, false);
            }
            Said::Resumed { position } => {
                self.told(Some(position));
                self.arrived(node, true);
            }
            Said::Pong { position, id } => {
                self.told(position);
                self.answer(id.as_deref());
            }
            Said::Ack { seq, position, id } => self.acknowledged(&id, seq, position),
            Said::CodeAck {
                version,
                position,
                id,
            } => {
                self.told(position);
                self.text_taken(id.as_deref(), version);
            }
            Said::ChatMessage(line) => self.heard(&line),
            Said::CodeUpdate { code, version } => {
                if let Some(version) = version {
                    self.has_text(version, hash(&code));
                }
            }
            Said::Error {
                code,
                message,
                retry_in_ms,
                id,
            } => self.refused(&code, message, retry_in_ms, id.as_deref()),
            Said::Other => {}
        }
    }

    fn greeted(&mut self, position: Option<String>, chat: &[Line]) {
        let Some((at, position)) = position.and_then(read) else {
            return self.complain("greeted without a position");
        };
        self.position = Some((at, position));
        let lines = chat
            .iter()
            .filter_map(|line| Some((line.mark()?, line.seq?)));
        let lines: Vec<_> = lines.collect();
        let history = lines.iter().map(|(mark, _)| *mark).collect();
        let greeting = Greeting {
            at: position,
            history,
        };
        let (room, viewer) = (&self.seat.room, self.seat.viewer);
        self.world.checker.lock().greeted(room, viewer, greeting);
        for (mark, seq) in lines {
            self.place_own(mark, Position { seq, ..position });
        }
    }

    fn told(&mut self, position: Option<String>) {
        if let Some((text, position)) = position.and_then(read) {
            self.position = Some((text, position));
            let (room, viewer) = (&self.seat.room, self.seat.viewer);
            self.world.checker.lock().told(room, viewer, position);
        }
    }

    fn heard(&mut self, line: &Line) {
        let (Some(mark), Some(seq)) = (line.mark(), line.seq) else {
            return;
        };
        let (room, viewer) = (&self.seat.room, self.seat.viewer);
        self.world.checker.lock().heard(room, viewer, seq, mark);
        if let Some((_, position)) = self.position {
            self.place_own(mark, Position { seq, ..position });
        }
    }

    fn place_own(&mut self, mark: u64, at: Position) {
        for at in self.commands.heard(self.seat.viewer, mark, at) {
            let mut checker = self.world.checker.lock();
            checker.acknowledged(&self.seat.room, mark, at);
        }
    }

    fn acknowledged(&mut self, id: &str, seq: u64, position: Option<String>) {
        let at = position.as_deref().and_then(Position::parse);
        self.told(position);
        let Some(command) = self.commands.answered(id) else {
            return;
        };
        self.note(Kind::Acknowledged {
            took: command.took(),
            repeated: command.times > 1,
        });
        let (What::Chat(mark), Some(at)) = (command.what, at) else {
            return self.complain(format!("{id} was acknowledged without a place"));
        };
        for at in self.commands.acknowledged(mark, Position { seq, ..at }) {
            let mut checker = self.world.checker.lock();
            checker.acknowledged(&self.seat.room, mark, at);
        }
    }

    fn text_taken(&mut self, id: Option<&str>, version: u64) {
        let command = id.and_then(|id| self.commands.answered(id));
        if let Some(What::Text(hash)) = command.map(|command| command.what) {
            self.wrote_text(version, hash);
        }
    }

    /// What was written is there; unless the version is known, which may hold others' changes, too.
    fn wrote_text(&mut self, version: u64, hash: u64) {
        if self.text.is_none_or(|(known, _)| version > known) {
            self.text = Some((version, hash));
        }
    }

    fn has_text(&mut self, version: u64, hash: u64) {
        if self.text.is_none_or(|(known, _)| version >= known) {
            self.text = Some((version, hash));
        }
    }

    fn refused(&mut self, code: &str, message: String, retry_in_ms: Option<u64>, id: Option<&str>) {
        match (code, id) {
            ("backplane_unavailable" | "rate_limited", Some(id)) => {
                let wait = retry_in_ms.map_or(RETRY, Duration::from_millis);
                let wait = wait.mul_f64(rand::random_range(1.0..1.3));
                self.commands.later(id, wait);
            }
            // Somebody else's text was first; this one is not said again.
            ("conflict" | "version_gone", Some(id)) => {
                self.commands.answered(id);
            }
            _ => self.complain(format!("{code}: {message}")),
        }
    }

    fn answer(&mut self, id: Option<&str>) {
        let Some(at) = self
            .askers
            .iter()
            .position(|(asked, _)| Some(asked.as_str()) == id)
        else {
            return;
        };
        let (_, asker) = self.askers.swap_remove(at);
        self.tell_unheard();
        if let Some((_, position)) = self.position {
            // Who asked may have given up.
            let _ = asker.send(Place {
                at: position,
                text: self.text,
                unanswered: self.commands.unanswered(),
            });
        }
    }

    fn tell_unheard(&mut self) {
        let unheard = self.commands.never_heard();
        let mut checker = self.world.checker.lock();
        for (mark, at) in unheard {
            checker.acknowledged(&self.seat.room, mark, at);
        }
    }

    /// Gone for good.
    pub fn end(&mut self) {
        self.disconnected();
        self.tell_unheard();
        let (room, viewer) = (&self.seat.room, self.seat.viewer);
        self.world.checker.lock().gone(room, viewer);
    }
}

fn read(position: String) -> Option<(String, Position)> {
    let read = Position::parse(&position)?;
    Some((position, read))
}

/// Whether something is due now; then the next time is set, early or late by up to a third.
fn due(next: &mut Option<Instant>, every: Option<Duration>, now: Instant) -> bool {
    let (Some(at), Some(every)) = (*next, every) else {
        return false;
    };
    if now < at {
        return false;
    }
    *next = Some(now + every.mul_f64(rand::random_range(0.67..1.33)));
    true
}
