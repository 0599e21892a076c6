//! Somebody in a session: says things until they are saved, moves cursors, writes text, is slow, goes and comes back.
//!
//! A client knows only what its sockets told it, by the pairing dialect's frames. What it has to say carries an id and
//! is sent again with the same one, on whatever node, until it is acknowledged. It comes back with the last position
//! it was told, which may be behind what it heard: then it is told that once more.

mod hears;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use checker::Mark;
use collabd::ids::{SessionId, UserId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::host::Visitor;
use super::line::{Down, End};
use super::plan::seconds;
use super::world::{Stage, World};

/// Commands that wait for their answer at once.
const AT_ONCE: usize = 3;
/// The id of the last ping, whose answer says where everyone is in the end.
const SETTLE: &str = "settle";
/// How often something is looked at that a client waits for.
const TICK: Duration = Duration::from_millis(250);

pub use self::hears::greeting;
use self::hears::hash;

pub struct Client {
    world: Arc<World>,
    rng: StdRng,
    viewer: u64,
    user: UserId,
    session: SessionId,
    /// When it goes and does not come back.
    goes_at: Option<Instant>,
    /// As told, not read.
    position: Option<String>,
    /// The text's version, and a hash of it.
    text: (u64, u64),
    shown: BTreeSet<String>,
    pending: Vec<Pending>,
    said: u64,
    /// It said where it was and has not been answered.
    returning: bool,
    last: Last,
}

/// What is left of a client in the end.
#[derive(Debug, Default, Clone)]
pub struct Last {
    pub viewer: u64,
    pub user: String,
    pub session: String,
    pub gone: bool,
    pub settled: bool,
    pub unanswered: Vec<String>,
    /// Whom it saw there, itself included.
    pub shown: BTreeSet<String>,
}

/// A command that has not been answered.
struct Pending {
    id: String,
    frame: Value,
    mark: Option<Mark>,
    /// A hash of the text it makes.
    text: u64,
    /// When it is to be sent; `None`: it was, on this socket.
    due: Option<Instant>,
}

/// How a connection ended.
enum Ended {
    /// Come back, after a while.
    Again(Duration),
    Gone,
    Over,
}

impl Client {
    pub fn new(world: Arc<World>, viewer: u64, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = &world.plan;
        // Some have two sockets, in one room or in two.
        let user = viewer % (plan.clients as u64 * 2 / 3 + 1);
        let session = rng.random_range(0..plan.rooms);
        let goes = rng.random_bool(0.15);
        let goes_at = goes.then(|| Instant::now() + plan.busy.mul_f64(rng.random_range(0.4..0.9)));
        Self {
            user: UserId::parse(&format!("user-{user}")).expect("it is an id"),
            session: World::session(session),
            world,
            rng,
            viewer,
            goes_at,
            position: None,
            text: (0, 0),
            shown: BTreeSet::new(),
            pending: Vec::new(),
            said: 0,
            returning: false,
            last: Last::default(),
        }
    }

    pub async fn run(mut self) -> Last {
        tokio::time::sleep(seconds(&mut self.rng, 0.0, 6.0)).await;
        let mut gone = false;
        loop {
            if self.world.stage() == Stage::Over {
                break;
            }
            if self.goes_at.is_some_and(|at| at <= Instant::now()) {
                gone = true;
                break;
            }
            let wait = match self.knock() {
                None => TICK,
                Some(end) => match self.stay(end).await {
                    Ended::Again(wait) => wait,
                    Ended::Gone => {
                        gone = true;
                        break;
                    }
                    Ended::Over => break,
                },
            };
            tokio::time::sleep(wait).await;
        }
        if gone {
            self.world
                .checker
                .lock()
                .gone(self.session.as_str(), self.viewer);
        }
        self.shown.insert(self.user.to_string());
        Last {
            viewer: self.viewer,
            user: self.user.to_string(),
            session: self.session.to_string(),
            gone,
            unanswered: self.pending.into_iter().map(|p| p.id).collect(),
            shown: self.shown,
            ..self.last
        }
    }

    fn knock(&mut self) -> Option<End> {
        let hosts = self.world.open_hosts();
        let host = hosts.choose(&mut self.rng)?;
        tracing::debug!(
            viewer = self.viewer,
            slot = host.slot,
            since = self.position,
            "knocks"
        );
        let since = self.position.as_ref();
        self.returning = since.is_some();
        for pending in &mut self.pending {
            pending.due = Some(Instant::now());
        }
        Some(host.connect(Visitor {
            user: self.user.clone(),
            session: self.session.clone(),
            since: since.map(|at| at.parse().expect("a position is one")),
        }))
    }

    /// As long as the connection lasts, or is wanted.
    async fn stay(&mut self, mut end: End) -> Ended {
        let mut greeted = false;
        let mut asked_at = None;
        let mut next = Instant::now() + self.pause();
        loop {
            let stage = self.world.stage();
            if stage == Stage::Over {
                return Ended::Over;
            }
            // Time stands still for who does not wait.
            let acts = greeted && stage == Stage::Busy;
            let tick = Instant::now() + TICK;
            let wake = if acts { next.min(tick) } else { tick };
            tokio::select! {
                biased;
                down = end.next() => match down {
                    Some(Down::Text(text)) => {
                        greeted |= self.take(&text);
                        continue;
                    }
                    Some(Down::Close(code, reason)) => return self.closed(code, &reason),
                    None => {
                        self.world.count(if greeted { "cut off" } else { "refused" });
                        return Ended::Again(seconds(&mut self.rng, 0.02, 1.0));
                    }
                },
                () = tokio::time::sleep_until(wake) => {}
            }
            if !greeted {
                continue;
            }
            self.send_due(&end);
            if stage == Stage::Settle && asked_at.is_none() {
                asked_at = Some(Instant::now());
                end.send(json!({"type": "ping", "id": SETTLE}).to_string());
            }
            if acts && next <= Instant::now() {
                next = Instant::now() + self.pause();
                if self.goes_at.is_some_and(|at| at <= next) {
                    end.close();
                    return Ended::Gone;
                }
                match self.act(end).await {
                    Ok(back) => end = back,
                    Err(ended) => return ended,
                }
            }
        }
    }

    fn pause(&mut self) -> Duration {
        seconds(&mut self.rng, 0.1, 1.5)
    }

    /// Does something.
    async fn act(&mut self, end: End) -> Result<End, Ended> {
        match self.rng.random_range(0..100) {
            0..=44 => self.chat(),
            45..=59 => self.write(),
            60..=71 => {
                let cursor =
                    json!({"lineNumber": self.rng.random_range(1..99), "column": self.viewer + 1});
                end.send(json!({"type": "cursor_move", "cursor": cursor}).to_string());
            }
            72..=85 => {
                end.send(json!({"type": "ping"}).to_string());
            }
            86..=89 => {
                // Reads nothing for a while.
                tracing::debug!(viewer = self.viewer, "stalls");
                self.world.count("stalled");
                tokio::time::sleep(seconds(&mut self.rng, 0.5, 8.0)).await;
            }
            90..=92 => {
                self.world.count("dropped");
                return Err(Ended::Again(seconds(&mut self.rng, 0.01, 5.0)));
            }
            93..=95 => {
                self.world.count("went for a while");
                end.close();
                return Err(Ended::Again(seconds(&mut self.rng, 0.01, 8.0)));
            }
            _ => {}
        }
        self.send_due(&end);
        Ok(end)
    }

    fn chat(&mut self) {
        if self.pending.len() >= AT_ONCE {
            return;
        }
        self.said += 1;
        let mark = (self.viewer << 32) | self.said;
        let id = format!("chat-{mark}");
        self.pending.push(Pending {
            frame: json!({"type": "chat", "message": mark.to_string(), "id": id}),
            id,
            mark: Some(mark),
            text: 0,
            due: Some(Instant::now()),
        });
    }

    fn write(&mut self) {
        if self.pending.iter().any(|pending| pending.mark.is_none()) {
            return;
        }
        self.said += 1;
        // Some are large, and go out at a pace.
        let length = *[10, 200, 40_000]
            .choose(&mut self.rng)
            .expect("there are some");
        let code = format!("{}-{}-{}", self.viewer, self.said, "x".repeat(length));
        let id = format!("text-{}-{}", self.viewer, self.said);
        self.pending.push(Pending {
            text: hash(&code),
            frame: json!({"type": "code_change", "code": code, "base_version": self.text.0, "id": id}),
            id,
            mark: None,
            due: Some(Instant::now()),
        });
    }

    fn send_due(&mut self, end: &End) {
        let now = Instant::now();
        for pending in &mut self.pending {
            let is_due = pending.due.is_some_and(|due| due <= now);
            if is_due && end.send(pending.frame.to_string()) {
                pending.due = None;
            }
        }
    }

    fn closed(&mut self, code: u16, reason: &str) -> Ended {
        tracing::debug!(viewer = self.viewer, code, reason, "is closed");
        self.world.count(&format!("closed {code}"));
        match code {
            1012 => {
                let wait: Value = serde_json::from_str(reason).expect("it says when to come back");
                let wait = wait["retry_in_ms"].as_u64().expect("in milliseconds");
                Ended::Again(Duration::from_millis(wait))
            }
            4503 => Ended::Again(seconds(&mut self.rng, 0.01, 0.5)),
            other => {
                self.problem(format!("closed with {other}: {reason}"));
                Ended::Again(TICK)
            }
        }
    }

    fn problem(&self, words: String) {
        let (viewer, user, session) = (self.viewer, &self.user, &self.session);
        self.world
            .problem(format!("viewer {viewer} ({user} in {session}): {words}"));
    }
}
