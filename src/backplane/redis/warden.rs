//! Looks after one shard: whether it answers, whether its rooms are heard, and sees to it that they are.
//!
//! Pub/sub is exempt from the library's check for unresponsive servers, and for commands it begins anew with every
//! write: a ping each second makes a dead one noticed, and whoever is silent twice is connected to anew. What
//! pings do not show, the probe does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::{Error as RedisError, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Server;
use futures_util::{TryStreamExt, stream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use super::advice;
use super::connect::UNRESPONSIVE;
use super::probe::{self, Probe, Step};
use super::shard::Shard;
use super::shards::{Shards, has_moved};
use crate::ids::Room;

/// Subscriptions asked for at once.
const PACE: usize = 256;
const PING_EVERY: Duration = Duration::from_secs(1);
/// Names tried until one falls into the shard's slots: enough for one that has a single slot.
const NAMES: u32 = 200_000;

pub struct Warden {
    shards: Arc<Shards>,
    shard: Arc<Shard>,
    events: Events,
    /// Something broke: all is to be heard anew.
    stale: bool,
    /// Rooms that were not heard for a while, which nobody has been told yet.
    owed: Vec<Room>,
    probe: Probe,
    /// Where the probe is heard.
    channel: Option<String>,
    /// The server that advice was given of.
    advised: Option<String>,
}

struct Events {
    commands: broadcast::Receiver<Server>,
    listening: broadcast::Receiver<Server>,
    command_errors: broadcast::Receiver<(RedisError, Option<Server>)>,
    listening_errors: broadcast::Receiver<(RedisError, Option<Server>)>,
}

impl Events {
    /// What happened to connections until now is no loss to what begins now.
    fn forget(&mut self) {
        self.commands = self.commands.resubscribe();
        self.listening = self.listening.resubscribe();
        self.command_errors = self.command_errors.resubscribe();
        self.listening_errors = self.listening_errors.resubscribe();
    }
}

/// Asks once more, and connects anew if there is silence again: a server that hangs, or whose host is gone, closes
/// nothing; and there may be another in its place by now.
async fn insist(client: &Client) -> bool {
    let answer = client.ping::<()>(None).await;
    if answer
        .as_ref()
        .is_err_and(|error| *error.kind() == ErrorKind::Timeout)
    {
        begin_anew(client).await;
    }
    answer.is_ok()
}

async fn begin_anew(client: &Client) {
    // It goes on by itself when it takes longer.
    let _ = tokio::time::timeout(UNRESPONSIVE, client.force_reconnection()).await;
}

impl Warden {
    pub fn new(shards: Arc<Shards>, shard: Arc<Shard>) -> Self {
        Self {
            events: Events {
                commands: shard.client.reconnect_rx(),
                listening: shard.subscriber.reconnect_rx(),
                command_errors: shard.client.error_rx(),
                listening_errors: shard.subscriber.error_rx(),
            },
            stale: true,
            owed: Vec::new(),
            probe: Probe::new(shards.probe_silence, Instant::now()),
            channel: None,
            advised: None,
            shards,
            shard,
        }
    }

    pub async fn watch(mut self) {
        let tick = PING_EVERY.min(self.shards.probe_silence / 4);
        let mut ping = tokio::time::interval(tick);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (mut woken, mut restored) = (false, false);
            tokio::select! {
                _ = self.events.commands.recv() => self.stale = true,
                _ = self.events.listening.recv() => self.stale = true,
                error = self.events.command_errors.recv() => {
                    // The library still calls itself connected for a moment, and keeps what is asked meanwhile.
                    self.shard.answers(false);
                    self.failed("commands", error);
                }
                error = self.events.listening_errors.recv() => self.failed("listening", error),
                () = self.shard.wake.notified() => woken = true,
                _ = ping.tick() => {}
            }
            let commands = self.shard.client.is_connected();
            if !commands || !self.shard.subscriber.is_connected() {
                self.stale = true;
                self.away(commands);
            } else if self.stale {
                // Whether commands are answered the first of them shows.
                self.away(false);
                restored = self.restore().await;
                self.stale = !restored;
            } else if woken {
                self.stale = !self.take_over().await;
            } else {
                self.stale = !self.is_well().await;
            }
            let owed = std::mem::take(&mut self.owed);
            self.shards.settle(owed);
            if restored {
                let (shards, advised) = (&self.shards, self.advised.take());
                self.advised = advice::give(&self.shard, shards.durability, advised).await;
            }
        }
    }

    fn failed(
        &mut self,
        connection: &'static str,
        error: Result<(RedisError, Option<Server>), RecvError>,
    ) {
        self.stale = true;
        if let Ok((error, _)) = error {
            tracing::warn!(server = self.shard.name, connection, %error, "redis connection failed");
        }
    }

    fn away(&mut self, answering: bool) {
        self.shard.answers(answering);
        self.probe.away(Instant::now());
        if self.shard.becomes_whole(false) {
            tracing::warn!(server = self.shard.name, "a server of redis is away");
            self.shards.suspect.notify_one();
            // At once: it may be back before anybody looks again.
            self.shards.settle(Vec::new());
        }
    }

    /// Hears every room of the shard anew; false if it went away meanwhile.
    async fn restore(&mut self) -> bool {
        let commands = async {
            let answered = insist(&self.shard.client).await;
            self.shard.answers(answered);
            answered
        };
        let (commands, listening) = tokio::join!(commands, insist(&self.shard.subscriber));
        if !commands || !listening || !self.shard.can_write().await {
            return false;
        }
        // What comes is asked of the connections there are now, whatever became of former ones.
        self.events.forget();
        self.shard.begin_life();
        self.channel = None;
        self.take_over().await
    }

    /// Hears the rooms that are the shard's and were heard by another.
    async fn take_over(&mut self) -> bool {
        let others = self.shards.rooms.heard_by_others(self.shard.hearer());
        let (shards, shard) = (&self.shards, &self.shard);
        let mut rooms = others;
        rooms.retain(|room| shards.is_of(shard, room));
        let count = rooms.len();
        let subscribed =
            stream::iter(rooms.iter().map(Ok)).try_for_each_concurrent(PACE, |room| async move {
                match shard.subscribe(shards.channel(room)).await {
                    Ok(hearer) => shards.rooms.is_heard_by(room, hearer),
                    // Whoever has it now takes it over when that is known.
                    Err(error) if has_moved(&error) => shards.suspect.notify_one(),
                    Err(error) => return Err(error),
                }
                Ok(())
            });
        let subscribed = subscribed.await;
        // Those that were subscribed to before an error, too.
        self.owed.extend(rooms);
        let done = match subscribed {
            Ok(()) => self.hear_probe().await,
            failed => failed,
        };
        if let Err(error) = done {
            tracing::warn!(server = self.shard.name, %error, "subscribing again failed");
            self.away(self.shard.is_answering());
            return false;
        }
        if self.shard.becomes_whole(true) || count > 0 {
            tracing::info!(server = self.shard.name, rooms = count, "rooms are heard");
        }
        true
    }

    /// Listens to a channel that is the shard's.
    async fn hear_probe(&mut self) -> Result<(), RedisError> {
        let routes = self.shards.routes();
        let is_ours = |channel: &str| {
            let owner = routes.at_channel(channel);
            owner.is_some_and(|owner| Arc::ptr_eq(owner, &self.shard))
        };
        if self.channel.as_deref().is_some_and(is_ours) {
            return Ok(());
        }
        if !routes.has(&self.shard) {
            self.channel = None;
            return Ok(());
        }
        let (prefix, name) = (&self.shards.prefix, &self.shards.name);
        let mut names = (0..NAMES).map(|n| format!("{{{prefix}probe:{name}:{n}{}", probe::ENDING));
        self.channel = names.find(|channel| is_ours(channel));
        if let Some(channel) = &self.channel {
            match self.shard.subscribe(channel.clone()).await {
                Err(error) if has_moved(&error) => {
                    self.channel = None;
                    self.shards.suspect.notify_one();
                }
                subscribed => return subscribed.map(|_| ()),
            }
        }
        Ok(())
    }

    /// Whether both connections answer, and the listening one is heard.
    async fn is_well(&mut self) -> bool {
        let (commands, listening) = tokio::join!(
            self.shard.client.ping::<()>(None),
            self.shard.subscriber.ping::<()>(None)
        );
        if commands.is_err() || listening.is_err() {
            self.away(commands.is_ok());
            return false;
        }
        self.hearing().await
    }

    async fn hearing(&mut self) -> bool {
        if self.channel.is_none()
            && let Err(error) = self.hear_probe().await
        {
            tracing::debug!(server = self.shard.name, %error, "no channel for probes");
        }
        let Some(channel) = &self.channel else {
            return true;
        };
        if self.shard.has_heard() {
            if self.probe.is_deaf() {
                tracing::info!(server = self.shard.name, "what is published is heard again");
            }
            self.probe.heard(Instant::now());
            self.shard.becomes_deaf(false);
        }
        match self.probe.next(Instant::now()) {
            Step::Nothing => true,
            Step::Ask => {
                self.shard.is_probed();
                let asked = self
                    .shard
                    .commands
                    .spublish::<(), _, _>(channel.as_str(), "probe");
                match asked.await {
                    Ok(()) => self.probe.asked(Instant::now()),
                    Err(error) if has_moved(&error) => {
                        self.channel = None;
                        self.shards.suspect.notify_one();
                    }
                    Err(error) => {
                        tracing::debug!(server = self.shard.name, %error, "nobody can be probed")
                    }
                }
                true
            }
            Step::Dead => {
                tracing::warn!(
                    server = self.shard.name,
                    "what is published is not heard: listening begins anew"
                );
                self.shard.becomes_deaf(true);
                self.shards.settle(Vec::new());
                begin_anew(&self.shard.subscriber).await;
                false
            }
        }
    }
}
