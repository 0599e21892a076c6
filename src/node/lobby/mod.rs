//! What every node is told: tokens that are revoked, and notifications for those who are there. And the end of tokens on
//! live sockets.
//!
//! Word of a revocation may be lost: then every token is asked after. Notifications have an order and a log, see
//! [`notices`].

mod notices;
mod track;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

pub use self::notices::Config;
use self::track::Track;
use super::Node;
use crate::backplane::{Audience, Envelope, Error, Link};
use crate::clock::Millis;
use crate::domain::Event;
use crate::ids::Room;
use crate::telemetry::metrics::metrics;

/// Close code of a socket whose token is no longer good: not to come back with the same.
pub const BAD_TOKEN: u16 = 4401;

/// Why a socket is closed whose token ended, or was revoked, while it came in.
pub const TOKEN_GONE: &str = "the token is no longer good; come back with a new one";

/// How often it is seen whose token has ended.
const LOOK: Duration = Duration::from_secs(1);
/// Wait before the lobby is listened to again.
const AGAIN: Duration = Duration::from_secs(1);
/// Tokens asked after at once.
const AT_ONCE: usize = 64;
/// What is said to all nodes and not heard here yet, and bytes of it; beyond it every token is asked after, and the log
/// is read.
const WAITING: usize = 1_024;
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The lobby's way into the node.
pub struct Line {
    heard: mpsc::Sender<Envelope>,
    /// Bytes of what waits.
    waiting: AtomicUsize,
    missed: Notify,
}

/// The other end of the line.
pub struct Attendance {
    heard: mpsc::Receiver<Envelope>,
    line: Arc<Line>,
}

pub fn channel() -> (Arc<Line>, Attendance) {
    let (sender, heard) = mpsc::channel(WAITING);
    let line = Arc::new(Line {
        heard: sender,
        waiting: AtomicUsize::new(0),
        missed: Notify::new(),
    });
    (line.clone(), Attendance { heard, line })
}

impl Line {
    pub fn tell(&self, envelope: Envelope) {
        let bytes = envelope.event.len();
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > WAITING_BYTES || self.heard.try_send(envelope).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            metrics().dropped("relay_full", 1);
            self.compare();
        }
    }

    fn is_taken(&self, envelope: &Envelope) {
        let bytes = envelope.event.len();
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Something may have been missed.
    pub fn compare(&self) {
        self.missed.notify_one();
    }
}

impl Node {
    /// No node believes this token any more; its sockets are closed. `ends_at` is when nobody would anyway.
    /// From the moment it is written down the others are told, whether the asker waits or not.
    pub async fn revoke(self: &Arc<Self>, token: &str, ends_at: Millis) -> Result<(), Error> {
        let left = u64::try_from(ends_at - self.clock().now()).unwrap_or(0);
        let left = Duration::from_millis(left);
        self.backplane.revoke(token, left).await?;
        if let Some(records) = self.records()
            && let Err(error) = records.note_revoked(token, ends_at).await
        {
            tracing::warn!(%error, jti = token, "a revoked token is believed again if the backplane forgets it");
        }
        tracing::info!(target: "audit", jti = token, "token revoked");
        self.close_token(token);
        let event = Event::TokenRevoked {
            token: token.to_owned(),
        };
        let draft = self.roster.draft(&event, None, Audience::All);
        let node = self.clone();
        self.chores.spawn(async move {
            let tell = || {
                node.backplane
                    .announce(&Room::Lobby, Some(draft.clone()), None)
            };
            node.insist(&Room::Lobby, tell).await;
        });
        Ok(())
    }

    /// Whether there may be other nodes.
    pub fn is_clustered(&self) -> bool {
        self.backplane.is_shared()
    }

    /// Tells the backplane which tokens were revoked: one that lost its data, or is this process, has forgotten.
    pub async fn remember_revoked(&self) {
        let Some(records) = self.records() else {
            return;
        };
        let now = self.clock().now();
        let mut warned = false;
        let revoked = loop {
            match records.revoked(now).await {
                Ok(revoked) => break revoked,
                Err(error) if !warned => {
                    warned = true;
                    tracing::warn!(%error, "revoked tokens may be believed until the database is there");
                }
                Err(_) => {}
            }
            let pause = tokio::time::sleep(AGAIN);
            if self.stopping.run_until_cancelled(pause).await.is_none() {
                return;
            }
        };
        let revoke = |(token, ends_at): (String, Millis)| async move {
            let left = Duration::from_millis(u64::try_from(ends_at - now).unwrap_or(0));
            if let Err(error) = self.backplane.revoke(&token, left).await {
                tracing::warn!(%error, jti = token, "a revoked token may be believed again");
            }
            // Somebody may have come before this was known.
            self.close_token(&token);
        };
        let revoked = stream::iter(revoked);
        revoked.for_each_concurrent(AT_ONCE, revoke).await;
    }

    /// Hears what is said to every node, until it stops.
    pub async fn attend_lobby(self: Arc<Self>, attendance: Attendance) {
        let Attendance { mut heard, line } = attendance;
        let attend = async {
            // Before it is listened to: what is said in between is read in the log.
            let mut track = Track::from(self.find_lobby().await);
            self.listen_to_lobby().await;
            // Whoever came in before was not listened for.
            line.compare();
            let mut quiet = tokio::time::interval(self.config.relay.compare_idle);
            quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut is_quiet = true;
            loop {
                let done = tokio::select! {
                    Some(envelope) = heard.recv() => {
                        line.is_taken(&envelope);
                        is_quiet = false;
                        self.take_notice(&mut track, &envelope).await
                    }
                    () = line.missed.notified() => {
                        self.check_followers_soon();
                        self.check_tokens().await && self.catch_up(&mut track).await
                    }
                    _ = quiet.tick() => {
                        // What was heard may be followed by what is on its way.
                        let was_quiet = std::mem::replace(&mut is_quiet, true);
                        if was_quiet && self.is_deaf_to_lobby(&mut track).await {
                            self.backplane.listen_again(&Room::Lobby).await;
                            line.compare();
                        }
                        true
                    }
                };
                if !done {
                    tokio::time::sleep(AGAIN).await;
                    line.compare();
                }
            }
        };
        self.stopping.run_until_cancelled(attend).await;
    }

    async fn listen_to_lobby(&self) {
        let mut link = self.backplane.link();
        loop {
            // An ended channel means that the node stops.
            let _ = link.wait_for(|link| *link == Link::Up).await;
            match self.backplane.listen(&Room::Lobby).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the lobby is not heard yet"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// False when something could not be read now.
    async fn take_notice(self: &Arc<Self>, track: &mut Track, envelope: &Envelope) -> bool {
        if let Some(at) = envelope.position {
            return self.follow_lobby(track, envelope, at).await;
        }
        match rmp_serde::from_slice(&envelope.event) {
            Ok(Event::TokenRevoked { token }) => self.close_token(&token),
            Ok(Event::Followed { user, agent, on }) => self.followed(&user, agent, on),
            Ok(other) => tracing::warn!(?other, "not a thing to be said to every node"),
            Err(error) => unreadable(&error),
        }
        true
    }

    pub(super) fn close_token(&self, token: &str) {
        for socket in self.passes.revoke(token) {
            if let Some(socket) = self.hub.find(socket) {
                socket.close(BAD_TOKEN, TOKEN_GONE);
            }
        }
    }

    /// Asks after every token somebody is here with: word of its revocation may have been missed. False when
    /// one could not be asked after.
    async fn check_tokens(&self) -> bool {
        stream::iter(self.passes.tokens())
            .map(|token| async move {
                match self.backplane.is_revoked(&token).await {
                    Ok(revoked) => {
                        if revoked {
                            self.close_token(&token);
                        }
                        true
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a token could not be asked after");
                        false
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .fold(true, |all, asked| async move { all && asked })
            .await
    }

    /// Closes sockets whose token has ended, until the node stops.
    pub async fn attend_tokens(self: Arc<Self>) {
        let mut every = tokio::time::interval(LOOK);
        while self
            .stopping
            .run_until_cancelled(every.tick())
            .await
            .is_some()
        {
            for socket in self.passes.ended(self.clock().now()) {
                if let Some(socket) = self.hub.find(socket) {
                    let reason = "the token has expired; come back with a new one";
                    socket.close(BAD_TOKEN, reason);
                }
            }
        }
    }
}

fn unreadable(error: &rmp_serde::decode::Error) {
    metrics().dropped("unreadable", 1);
    tracing::warn!(%error, "what was said to every node cannot be read");
}
