//! All shards: sends every command to the one that has its key, and says how they stand together.
//!
//! A key that turns out to be elsewhere is asked for there, because then it is certain that nothing was done. A
//! slot on its way to another server is not followed there: Redis refuses calls of several keys until all of them
//! have arrived, and ours name some that may never exist.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::error::Error as RedisError;
use fred::types::config::Server;
use fred::types::{Key, Value};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::bunch::Failed;
use super::connect::{Config, Way};
use super::durable::Durability;
use super::listener::{Rooms, hear};
use super::scripts::{Script, Scripts};
use super::shard::Shard;
use super::slots::Routes;
use super::standing::{Standing, Turn};
use super::unavailable;
use super::warden::Warden;
use crate::backplane::{Ear, Error, Link};
use crate::ids::{Epoch, Room};
use crate::telemetry::metrics::metrics;

/// How often a command is sent elsewhere.
const MOVES: usize = 2;

pub struct Shards {
    pub way: Way,
    pub scripts: Arc<Scripts>,
    pub prefix: String,
    pub command_timeout: Duration,
    pub probe_silence: Duration,
    pub durability: Durability,
    /// What this node's probing channels are named by.
    pub name: String,
    pub ear: Arc<dyn Ear>,
    pub rooms: Rooms,
    routes: RwLock<Arc<Routes>>,
    /// Without slots, and since when: what they have begun they end.
    pub retired: Mutex<Vec<(Arc<Shard>, Instant)>>,
    /// Every server of the cluster that was ever told of.
    pub met: Mutex<Vec<Server>>,
    /// One look at the slots at a time.
    pub looking: tokio::sync::Mutex<()>,
    /// Slots may have changed hands.
    pub suspect: Notify,
    link: watch::Sender<Link>,
    standing: Mutex<Standing>,
    tasks: Mutex<JoinSet<()>>,
}

impl Shards {
    /// Begins to connect, and goes on trying.
    pub fn start(
        config: &Config,
        scripts: Arc<Scripts>,
        ear: Arc<dyn Ear>,
    ) -> Result<Arc<Self>, Error> {
        let way = Way::read(config).map_err(|wrong| Error::Unavailable(wrong.to_string()))?;
        let shards = Arc::new(Self {
            met: Mutex::new(way.seeds().to_vec()),
            way,
            scripts,
            prefix: config.key_prefix.clone(),
            command_timeout: config.command_timeout,
            probe_silence: config.probe_silence,
            durability: config.durability,
            name: format!("{:016x}", Epoch::random().0),
            ear,
            rooms: Rooms::default(),
            routes: RwLock::new(Arc::new(Routes::unknown())),
            retired: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            suspect: Notify::new(),
            link: watch::Sender::new(Link::Never),
            standing: Mutex::default(),
            tasks: Mutex::default(),
        });
        if shards.way.seeds().is_empty() {
            let only = shards.begin(None).map_err(unavailable)?;
            *shards.routes.write() = Arc::new(Routes::to_the_only(only));
        } else {
            let survey = shards.clone().survey();
            shards.tasks.lock().spawn(survey);
        }
        Ok(shards)
    }

    /// A new shard, with those who look after it.
    pub fn begin(self: &Arc<Self>, server: Option<&Server>) -> Result<Arc<Shard>, RedisError> {
        let (timeout, durability) = (self.command_timeout, self.durability);
        let shard = Shard::new(&self.way, &self.scripts, timeout, durability, server)?;
        // Taken before connecting, so that nothing said on connecting is missed.
        let messages = shard.messages();
        let warden = Warden::new(self.clone(), shard.clone());
        shard.keep(hear(self.clone(), shard.clone(), messages));
        shard.keep(warden.watch());
        shard.connect();
        Ok(shard)
    }

    pub fn routes(&self) -> Arc<Routes> {
        self.routes.read().clone()
    }

    pub fn reroute(&self, routes: Routes) {
        *self.routes.write() = Arc::new(routes);
        self.wake_all();
        self.settle(Vec::new());
    }

    /// Every warden sees whether there are rooms to take over.
    pub fn wake_all(&self) {
        for shard in self.routes().shards() {
            shard.wake.notify_one();
        }
    }

    /// The shard that has the key, when it may be asked.
    fn at(&self, key: &Key) -> Result<Arc<Shard>, Error> {
        let shard = self.routes.read().at(key).cloned();
        let shard = shard
            .ok_or_else(|| Error::Unavailable("nobody is known to have the key".to_owned()))?;
        if shard.is_answering() {
            Ok(shard)
        } else {
            Err(Error::Unavailable(format!("{} is away", shard.name)))
        }
    }

    /// Does it where the key is.
    pub async fn ask<T, F>(
        self: &Arc<Self>,
        key: &Key,
        act: impl Fn(Arc<Shard>) -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, RedisError>> + Send,
    {
        let mut moves = 0;
        loop {
            let shard = self.at(key)?;
            match act(shard.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) if has_moved(&error) && moves < MOVES => {
                    moves += 1;
                    self.follow(key, &shard).await;
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
    }

    pub async fn run(
        self: &Arc<Self>,
        script: &Script,
        keys: &[Key],
        args: &[Value],
    ) -> Result<Value, Error> {
        let first = first(script, keys)?;
        let run = self.ask(first, |shard| async move {
            script.run(&shard.commands, keys, args).await
        });
        run.await
    }

    /// The same for what is to be kept as commits are.
    pub async fn write(
        self: &Arc<Self>,
        script: &Script,
        keys: &[Key],
        args: &[Value],
    ) -> Result<Value, Error> {
        let first = first(script, keys)?;
        let written = self.ask(first, |shard| async move {
            shard.write(script, keys, args).await
        });
        written.await
    }

    /// The commit script's answer for this one commit.
    pub async fn commit(
        self: &Arc<Self>,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<String, Error> {
        let (mut keys, mut args, mut moves) = (keys, args, 0);
        loop {
            let shard = self.at(&keys[0])?;
            match shard.bunches.commit(keys, args).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Moved(back, again)) if moves < MOVES => {
                    (keys, args) = (back, again);
                    moves += 1;
                    self.follow(&keys[0], &shard).await;
                }
                Err(Failed::Moved(..)) => {
                    return Err(Error::Unavailable("the key is always elsewhere".to_owned()));
                }
                Err(Failed::Otherwise(error)) => return Err(error),
            }
        }
    }

    /// Learns from the shard who has the key in its place, and waits until that one can be asked.
    async fn follow(self: &Arc<Self>, key: &Key, told_by: &Arc<Shard>) {
        self.look_because_of(key, told_by).await;
        let owner = self.routes().at(key).cloned();
        if let Some(owner) = owner {
            // If it is not there in time the next try says so.
            owner.answers_within(self.command_timeout).await;
        }
    }

    /// Whether a call may name keys of one slot alone.
    pub fn is_clustered(&self) -> bool {
        !self.way.seeds().is_empty()
    }

    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// No shard is away.
    pub fn is_whole(&self) -> bool {
        *self.link.borrow() == Link::Up && !self.standing.lock().is_wounded()
    }

    /// False when commands are answered but what is published is not heard.
    pub fn hears(&self) -> bool {
        let routes = self.routes();
        let mut shards = routes.shards().iter();
        !shards.any(|shard| shard.is_deaf() && shard.is_answering())
    }

    /// Sees how the shards stand, and tells of it. These rooms were not heard for a while.
    pub fn settle(&self, rooms: Vec<Room>) {
        let routes = self.routes();
        let shards = routes.shards();
        let mut standing = self.standing.lock();
        let up = shards.iter().filter(|shard| shard.is_whole()).count();
        let link = *self.link.borrow();
        let turn = standing.turn(link, up, shards.len(), Instant::now());
        match turn {
            Turn::Away => {
                self.link.send_replace(Link::Away);
                tracing::warn!("redis is away");
            }
            Turn::Up(before) => {
                self.link.send_replace(Link::Up);
                tracing::info!(up, of = shards.len(), "redis is connected");
                if before == Link::Away {
                    metrics().backplane_reconnects();
                    self.ear.resumed();
                }
            }
            Turn::Whole => {
                tracing::info!("redis is whole again");
                metrics().backplane_reconnects();
                // Said again: what the part that was away may have lost is to be written down again.
                self.link.send_replace(Link::Up);
            }
            Turn::Same => {}
        }
        let is_up = *self.link.borrow() == Link::Up;
        metrics().backplane_connected(is_up && self.hears());
        if is_up && !matches!(turn, Turn::Up(_)) {
            for room in rooms {
                self.ear.gap(room);
            }
        }
    }

    /// Ends at once whatever goes on.
    pub fn abandon(&self) {
        self.tasks.lock().abort_all();
        for shard in self.everyone() {
            shard.abandon();
        }
    }

    pub async fn close(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        let everyone = self.everyone();
        futures_util::future::join_all(everyone.iter().map(|shard| shard.close())).await;
    }

    fn everyone(&self) -> Vec<Arc<Shard>> {
        let mut everyone = self.routes().shards().to_vec();
        everyone.extend(self.retired.lock().iter().map(|(shard, _)| shard.clone()));
        everyone
    }
}

/// Whether another server has the key, so that nothing was done.
pub fn has_moved(error: &RedisError) -> bool {
    error.details().starts_with("MOVED ")
}

fn first<'a>(script: &Script, keys: &'a [Key]) -> Result<&'a Key, Error> {
    let first = keys.first();
    first.ok_or_else(|| Error::Unavailable(format!("{} names no key", script.op)))
}
