//! Which rooms are heard, by which connection, and what comes of it.
//!
//! The client library resubscribes nothing by itself and its own way of doing so is one giant command whose
//! errors are only logged; and a slot that moves takes its rooms' subscriptions away without a word that the
//! library would pass on. So every room remembers which life of which shard heard it, and a shard's warden takes
//! over what is its own and was heard by another.

use std::collections::HashMap;
use std::sync::Arc;

use fred::types::{Key, Message};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::keys::Keys;
use super::probe;
use super::shard::Shard;
use super::shards::Shards;
use crate::backplane::{Envelope, Error};
use crate::ids::Room;
use crate::telemetry::metrics::metrics;

/// The shard, and which life of it.
type Hearer = (u64, u64);

#[derive(Default)]
pub struct Rooms(Mutex<HashMap<Room, Option<Hearer>>>);

impl Rooms {
    /// Rooms that were heard, but not by this one.
    pub fn heard_by_others(&self, hearer: Hearer) -> Vec<Room> {
        let rooms = self.0.lock();
        let others = rooms.iter().filter_map(|(room, by)| {
            let another = by.is_some_and(|by| by != hearer);
            another.then(|| room.clone())
        });
        others.collect()
    }

    pub fn all(&self) -> Vec<Room> {
        self.0.lock().keys().cloned().collect()
    }

    pub fn is_heard_by(&self, room: &Room, hearer: Hearer) {
        // It may have been given up meanwhile.
        if let Some(by) = self.0.lock().get_mut(room) {
            *by = Some(hearer);
        }
    }
}

impl Shards {
    pub async fn listen(self: &Arc<Self>, room: &Room) -> Result<(), Error> {
        self.rooms.0.lock().entry(room.clone()).or_default();
        let confirmed = self.subscribe(room).await;
        if confirmed.is_err() {
            self.rooms.0.lock().remove(room);
        }
        confirmed
    }

    /// A slot that moves there and back takes its subscriptions with it, and looks as if nothing had happened.
    pub async fn listen_again(self: &Arc<Self>, room: &Room) {
        if !self.rooms.0.lock().contains_key(room) {
            return;
        }
        if let Err(error) = self.subscribe(room).await {
            tracing::debug!(%room, %error, "subscribing once more failed");
        }
    }

    async fn subscribe(self: &Arc<Self>, room: &Room) -> Result<(), Error> {
        let channel = self.channel(room);
        let key = Key::from(channel.as_str());
        let confirmed = self.ask(&key, |shard| {
            let channel = channel.clone();
            async move {
                let hearer = shard.subscribe(channel).await?;
                self.rooms.is_heard_by(room, hearer);
                // Its warden, or that of a new owner, may have been through with its rooms just before.
                if shard.hearer() != hearer || !self.is_of(&shard, room) {
                    self.wake_all();
                }
                Ok(())
            }
        });
        confirmed.await
    }

    pub async fn unlisten(self: &Arc<Self>, room: &Room) {
        self.rooms.0.lock().remove(room);
        let channel = self.channel(room);
        let key = Key::from(channel.as_str());
        let gone = self.ask(&key, |shard| {
            let channel = channel.clone();
            async move { shard.unsubscribe(channel).await }
        });
        // A subscription that stays until the next reconnect costs little: its messages are ignored.
        if let Err(error) = gone.await {
            tracing::debug!(%room, %error, "unsubscribe failed");
        }
    }

    pub fn channel(&self, room: &Room) -> String {
        let channel = Keys::of(&self.prefix, room).channel();
        channel.as_str().unwrap_or_default().to_owned()
    }

    /// Whether the shard has the room's slot.
    pub fn is_of(&self, shard: &Arc<Shard>, room: &Room) -> bool {
        let routes = self.routes();
        if routes.is_one() {
            return true;
        }
        let owner = routes.at_channel(&self.channel(room));
        owner.is_some_and(|owner| Arc::ptr_eq(owner, shard))
    }

    /// The room of a channel: `{<prefix>session:abc}:events`.
    fn room(&self, channel: &str) -> Option<Room> {
        let (tag, _) = channel.strip_prefix('{')?.split_once('}')?;
        Room::parse(tag.strip_prefix(&self.prefix)?)
    }

    /// Something that the shard said was lost.
    fn missed(&self, shard: &Arc<Shard>) {
        if self.routes().is_one() {
            return self.ear.resumed();
        }
        let rooms = self.rooms.all().into_iter();
        for room in rooms.filter(|room| self.is_of(shard, room)) {
            self.ear.gap(room);
        }
    }
}

/// Passes on what is heard of a shard. Never waits for the ear.
pub async fn hear(
    shards: Arc<Shards>,
    shard: Arc<Shard>,
    mut messages: broadcast::Receiver<Message>,
) {
    loop {
        match messages.recv().await {
            Ok(message) => {
                shard.hears();
                take(&shards, &shard, &message);
            }
            Err(RecvError::Lagged(lost)) => {
                metrics().dropped("backplane_lagged", lost);
                tracing::warn!(lost, "events came faster than they were taken");
                shards.missed(&shard);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn take(shards: &Shards, shard: &Shard, message: &Message) {
    if message.channel.ends_with(probe::ENDING) {
        if let Some(took) = shard.hears_probe() {
            metrics().heard(took);
        }
        return;
    }
    match message.value.as_bytes().map(Envelope::decode) {
        Some(Ok(envelope)) => shards.ear.heard(envelope),
        Some(Err(error)) => {
            metrics().dropped("unreadable", 1);
            tracing::warn!(channel = %message.channel, %error, "unreadable event");
            if let Some(room) = shards.room(&message.channel) {
                shards.ear.gap(room);
            }
        }
        None => tracing::warn!(channel = %message.channel, "an event without bytes"),
    }
}
