//! The listening link: which rooms are heard, and whether that is still true.
//!
//! The client library resubscribes nothing by itself and its own way of doing so is one giant command
//! whose errors are only logged; so we keep the set of rooms and subscribe to each again, a few at a
//! time, after every reconnect. Pub/sub is exempt from the library's check for unresponsive servers, and for
//! commands it begins anew with every write: a ping each second makes a dead one noticed, each master of a
//! cluster by itself, and whoever is silent twice is connected to anew.
//!
//! On a cluster a slot that moves takes its rooms' subscriptions away without a word that the library would
//! pass on. The command connection notices when it is redirected; a node that only listens compares who has
//! which slots.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::error::{Error as RedisError, ErrorKind};
use fred::interfaces::{ClientLike, ClusterInterface, EventInterface, PubsubInterface};
use fred::types::cluster::ClusterRouting;
use fred::types::config::{Options, Server};
use fred::types::{ClusterStateChange, Message, Value};
use futures_util::future::try_join_all;
use futures_util::{TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use super::connect::UNRESPONSIVE;
use super::keys::Keys;
use crate::backplane::{Ear, Envelope, Link};
use crate::ids::Room;
use crate::telemetry::metrics::metrics;

/// Subscriptions asked for at once after a reconnect.
const PACE: usize = 256;
const PING_EVERY: Duration = Duration::from_secs(1);
/// Between looks at who has which slots: as long as a room may be deaf on a node that sends nothing.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

pub struct Listener {
    subscriber: SubscriberClient,
    rooms: Arc<Mutex<HashSet<Room>>>,
    prefix: String,
    link: watch::Sender<Link>,
    tasks: Mutex<JoinSet<()>>,
}

impl Listener {
    pub fn start(
        client: &Client,
        subscriber: SubscriberClient,
        prefix: String,
        ear: Arc<dyn Ear>,
    ) -> Self {
        let link = watch::Sender::new(Link::Never);
        let rooms = Arc::<Mutex<HashSet<Room>>>::default();
        let warden = Warden {
            client: client.clone(),
            subscriber: subscriber.clone(),
            prefix: prefix.clone(),
            rooms: rooms.clone(),
            link: link.clone(),
            ear: ear.clone(),
            heard_from: Slots::new(),
        };
        // Taken before connecting, so that nothing said on connecting is missed.
        let messages = subscriber.message_rx();
        let events = Events {
            commands: client.reconnect_rx(),
            listening: subscriber.reconnect_rx(),
            command_errors: client.error_rx(),
            listening_errors: subscriber.error_rx(),
            redirected: client.cluster_change_rx(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(hear(messages, prefix.clone(), ear));
        tasks.spawn(warden.watch(events));
        tasks.spawn(stay_connected(client.clone()));
        tasks.spawn(stay_connected(subscriber.clone()));
        Self {
            subscriber,
            rooms,
            prefix,
            link,
            tasks: Mutex::new(tasks),
        }
    }

    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub async fn listen(&self, room: &Room) -> Result<(), RedisError> {
        self.rooms.lock().insert(room.clone());
        let confirmed = self
            .subscriber
            .ssubscribe(channel(&self.prefix, room))
            .await;
        if confirmed.is_err() {
            self.rooms.lock().remove(room);
        }
        confirmed
    }

    pub async fn unlisten(&self, room: &Room) {
        self.rooms.lock().remove(room);
        // A subscription that stays until the next reconnect costs little: its messages are ignored.
        if let Err(error) = self
            .subscriber
            .sunsubscribe(channel(&self.prefix, room))
            .await
        {
            tracing::debug!(%room, %error, "unsubscribe failed");
        }
    }

    pub async fn close(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        // Nothing to be done about a Redis that is away when we leave.
        let _ = self.subscriber.quit().await;
    }
}

fn channel(prefix: &str, room: &Room) -> String {
    let channel = Keys::of(prefix, room).channel();
    channel.as_str().unwrap_or_default().to_owned()
}

/// The room of a channel: `{<prefix>session:abc}:events`.
fn room(prefix: &str, channel: &str) -> Option<Room> {
    let (tag, _) = channel.strip_prefix('{')?.split_once('}')?;
    Room::parse(tag.strip_prefix(prefix)?)
}

/// The client library gives up for good after some errors, such as a redirection to a server it has not met
/// yet. We do not.
async fn stay_connected<C: ClientLike>(client: C) {
    while let Ok(Err(error)) = client.connect().await {
        tracing::warn!(%error, "connecting to redis ended, and begins again");
        tokio::time::sleep(PING_EVERY).await;
    }
}

/// Passes on what is heard. Never waits for the ear.
async fn hear(mut messages: broadcast::Receiver<Message>, prefix: String, ear: Arc<dyn Ear>) {
    loop {
        match messages.recv().await {
            Ok(message) => match message.value.as_bytes().map(Envelope::decode) {
                Some(Ok(envelope)) => ear.heard(envelope),
                Some(Err(error)) => {
                    tracing::warn!(channel = %message.channel, %error, "unreadable event");
                    if let Some(room) = room(&prefix, &message.channel) {
                        ear.gap(room);
                    }
                }
                None => tracing::warn!(channel = %message.channel, "an event without bytes"),
            },
            Err(RecvError::Lagged(lost)) => {
                metrics().dropped("backplane_lagged", lost);
                tracing::warn!(lost, "events came faster than they were taken");
                ear.resumed();
            }
            Err(RecvError::Closed) => return,
        }
    }
}

struct Events {
    commands: broadcast::Receiver<Server>,
    listening: broadcast::Receiver<Server>,
    command_errors: broadcast::Receiver<(RedisError, Option<Server>)>,
    listening_errors: broadcast::Receiver<(RedisError, Option<Server>)>,
    redirected: broadcast::Receiver<Vec<ClusterStateChange>>,
}

impl Events {
    /// Connections made until now are no loss to what begins now.
    fn forget_connections(&mut self) {
        self.commands = self.commands.resubscribe();
        self.listening = self.listening.resubscribe();
    }
}

/// First slot, last slot, and the id of the server that has them.
type Slots = Vec<(u16, u16, String)>;

fn slots(routing: &ClusterRouting) -> Slots {
    let ranges = routing.slots().iter();
    ranges
        .map(|range| (range.start, range.end, range.id.to_string()))
        .collect()
}

/// Asks the server; of a cluster, every master.
async fn ask<C: ClusterInterface>(client: &C) -> Result<(), RedisError> {
    let Some(routing) = client.cached_cluster_state() else {
        return client.ping(None).await;
    };
    let pings = routing.unique_primary_nodes().into_iter().map(|master| {
        let options = Options {
            cluster_node: Some(master),
            ..Options::default()
        };
        let master = client.with_options(&options);
        async move { master.ping(None).await }
    });
    try_join_all(pings).await.map(|_: Vec<()>| ())
}

/// Asks once more, and connects anew if there is silence again: a server that hangs, or whose host is gone, closes
/// nothing; and there may be another in its place by now.
async fn insist<C: ClusterInterface>(client: &C) -> bool {
    let answer = ask(client).await;
    if answer
        .as_ref()
        .is_err_and(|error| *error.kind() == ErrorKind::Timeout)
    {
        // It goes on by itself when it takes longer.
        let _ = tokio::time::timeout(UNRESPONSIVE, client.force_reconnection()).await;
    }
    answer.is_ok()
}

/// Decides whether the link is up, and brings it up again.
struct Warden {
    client: Client,
    subscriber: SubscriberClient,
    prefix: String,
    rooms: Arc<Mutex<HashSet<Room>>>,
    link: watch::Sender<Link>,
    ear: Arc<dyn Ear>,
    /// Who had which slots when the rooms were subscribed to.
    heard_from: Slots,
}

impl Warden {
    async fn watch(mut self, mut events: Events) {
        let clustered = self.subscriber.is_clustered();
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut compare = tokio::time::interval(COMPARE_EVERY);
        let mut stale = true;
        loop {
            let mut suspect = false;
            tokio::select! {
                _ = events.commands.recv() => stale = true,
                _ = events.listening.recv() => stale = true,
                error = events.command_errors.recv() => self.failed("commands", error),
                error = events.listening_errors.recv() => self.failed("listening", error),
                _ = events.redirected.recv() => suspect = true,
                _ = compare.tick(), if clustered => suspect = true,
                _ = ping.tick() => {}
            }
            let connected = self.client.is_connected() && self.subscriber.is_connected();
            if !connected {
                stale = true;
                self.away();
            } else if stale {
                self.away();
                events.forget_connections();
                stale = !self.restore().await;
            } else if suspect && self.slots_moved().await {
                stale = !self.restore().await;
            } else if !self.answers().await {
                stale = true;
                self.away();
            }
        }
    }

    fn failed(
        &self,
        connection: &'static str,
        error: Result<(RedisError, Option<Server>), RecvError>,
    ) {
        if let Ok((error, _)) = error {
            tracing::warn!(connection, %error, "redis connection failed");
        }
    }

    fn away(&self) {
        let was_up = self.link.send_if_modified(|link| {
            let was_up = *link == Link::Up;
            if was_up {
                *link = Link::Away;
            }
            was_up
        });
        if was_up {
            metrics().backplane_connected(false);
            tracing::warn!("redis is away");
        }
    }

    async fn answers(&self) -> bool {
        tokio::try_join!(ask(&self.client), ask(&self.subscriber)).is_ok()
    }

    /// Whether slots have changed hands since the rooms were subscribed to. If so the subscriber knows the new
    /// ones; the command connection is redirected when it asks the old.
    async fn slots_moved(&self) -> bool {
        let told = self.subscriber.cluster_slots::<Value>().await;
        let told = told.and_then(|told| ClusterRouting::from_cluster_slots(told, ""));
        if told.is_ok_and(|told| slots(&told) == self.heard_from) {
            return false;
        }
        // One server may be behind the others; and the library waits for a dead one as long as it takes.
        let sync = tokio::time::timeout(UNRESPONSIVE, self.subscriber.sync_cluster());
        matches!(sync.await, Ok(Ok(()))) && self.slots() != self.heard_from
    }

    fn slots(&self) -> Slots {
        let routing = self.subscriber.cached_cluster_state();
        routing.as_ref().map(slots).unwrap_or_default()
    }

    /// Subscribes to every room again and says so; false if Redis went away meanwhile.
    async fn restore(&mut self) -> bool {
        let answered = tokio::join!(insist(&self.client), insist(&self.subscriber));
        if answered != (true, true) {
            return false;
        }
        self.heard_from = self.slots();
        let rooms: Vec<String> = {
            let rooms = self.rooms.lock();
            rooms
                .iter()
                .map(|room| channel(&self.prefix, room))
                .collect()
        };
        let count = rooms.len();
        let subscribed = stream::iter(rooms.into_iter().map(Ok))
            .try_for_each_concurrent(PACE, |room| self.subscriber.ssubscribe(room))
            .await;
        if let Err(error) = subscribed {
            tracing::warn!(%error, "subscribing again failed");
            return false;
        }
        let before = self.link.send_replace(Link::Up);
        metrics().backplane_connected(true);
        tracing::info!(rooms = count, "redis is connected");
        if before == Link::Away {
            metrics().backplane_reconnects();
        }
        if before != Link::Never {
            self.ear.resumed();
        }
        true
    }
}
