//! One server that has slots, with the connections to it: one for commands, one that listens, and one for what
//! waits for a replica. Only its own rooms wait when it is gone.
//!
//! Knows no room and no other shard. Its warden says how it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::{Client, WithOptions};
use fred::error::Error as RedisError;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Options, Server};
use fred::types::{Key, Message, Value};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::bunch::Bunches;
use super::connect::{
    MAX_WAITING_COMMANDS, MAX_WAITING_MESSAGES, MAX_WAITING_MESSAGES_EACH, MAX_WAITING_NOTICES,
    UNRESPONSIVE, Way,
};
use super::durable::{Durability, Durable, not_replicated};
use super::scripts::{Script, Scripts};

/// A client whose commands fail at once while it is not connected.
pub type Commands = WithOptions<Client>;

/// Wait before a connection that was given up is begun again.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);
/// Time for a server to hear that we leave.
const LEAVING: Duration = Duration::from_secs(1);

pub struct Shard {
    /// No other shard has or had it.
    id: u64,
    /// Its address, for people; `redis` when it is the only one.
    pub name: String,
    pub server: Option<Server>,
    pub client: Client,
    pub commands: Commands,
    pub subscriber: Client,
    pub bunches: Bunches,
    /// For what counts only when a replica has it.
    durable: Option<Arc<Durable>>,
    /// Commands are answered.
    answering: watch::Sender<bool>,
    /// Commands are answered, and all its rooms are heard.
    whole: AtomicBool,
    /// How often it was listened to from the start.
    life: AtomicU64,
    /// Something was heard since the warden last looked.
    heard: AtomicBool,
    /// Commands are answered, but what is published is not heard.
    deaf: AtomicBool,
    /// When it was last asked to let us hear something.
    probed: Mutex<Option<Instant>>,
    /// Slots have changed hands.
    pub wake: Notify,
    tasks: Mutex<JoinSet<()>>,
    connections: Mutex<JoinSet<()>>,
}

impl Shard {
    /// Connects to nothing yet. Without a server it is the only one, which the URL names.
    pub fn new(
        way: &Way,
        scripts: &Arc<Scripts>,
        timeout: Duration,
        durability: Durability,
        server: Option<&Server>,
    ) -> Result<Arc<Self>, RedisError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let messages = match server {
            None => MAX_WAITING_MESSAGES,
            Some(_) => MAX_WAITING_MESSAGES_EACH,
        };
        let client = way.to(server, MAX_WAITING_NOTICES).build()?;
        let commands = client.with_options(&Options {
            fail_fast: true,
            timeout: Some(timeout),
            ..Options::default()
        });
        let durable = match durability {
            Durability::Master => None,
            Durability::Replica => Some(Arc::new(Durable {
                client: way.to(server, MAX_WAITING_NOTICES).build()?,
                patience: timeout,
            })),
        };
        Ok(Arc::new(Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            name: server.map_or_else(|| "redis".to_owned(), Server::to_string),
            server: server.cloned(),
            subscriber: way.to(server, messages).build()?,
            bunches: Bunches::start(
                commands.clone(),
                durable.clone(),
                scripts.clone(),
                MAX_WAITING_COMMANDS,
                server.is_some(),
            ),
            client,
            durable,
            commands,
            answering: watch::Sender::new(false),
            whole: AtomicBool::new(false),
            life: AtomicU64::new(0),
            heard: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            probed: Mutex::new(None),
            wake: Notify::new(),
            tasks: Mutex::default(),
            connections: Mutex::default(),
        }))
    }

    /// Connects, and stays connected until it is closed.
    pub fn connect(&self) {
        let mut connections = self.connections.lock();
        let durable = self.durable.as_ref().map(|durable| &durable.client);
        for client in [&self.client, &self.subscriber].into_iter().chain(durable) {
            connections.spawn(stay_connected(self.name.clone(), client.clone()));
        }
    }

    /// A task that ends with the shard.
    pub fn keep(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().spawn(task);
    }

    /// Runs a script whose word is kept as commits are.
    pub async fn write(
        &self,
        script: &Script,
        keys: &[Key],
        args: &[Value],
    ) -> Result<Value, RedisError> {
        let Some(durable) = &self.durable else {
            return script.run(&self.commands, keys, args).await;
        };
        let (mut answers, replicated) =
            durable.run(script, &[(keys, args)], durable.patience).await;
        match answers.pop() {
            Some(Ok(_)) if !replicated => Err(not_replicated()),
            Some(answer) => answer,
            None => Err(not_replicated()),
        }
    }

    /// Whether there is a connection for what waits for a replica, if that is asked for; it may take a moment.
    pub async fn can_write(&self) -> bool {
        let Some(durable) = &self.durable else {
            return true;
        };
        let connected = durable.client.wait_for_connect();
        let connected = tokio::time::timeout(UNRESPONSIVE, connected).await;
        durable.client.is_connected() || matches!(connected, Ok(Ok(())))
    }

    pub fn is_answering(&self) -> bool {
        *self.answering.borrow()
    }

    pub fn answers(&self, does: bool) {
        self.answering.send_if_modified(|known| {
            let news = *known != does;
            *known = does;
            news
        });
    }

    /// Waits until commands are answered; false if that takes longer.
    pub async fn answers_within(&self, time: Duration) -> bool {
        let mut answering = self.answering.subscribe();
        let answers = answering.wait_for(|answering| *answering);
        matches!(tokio::time::timeout(time, answers).await, Ok(Ok(_)))
    }

    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// True when that is news.
    pub fn becomes_whole(&self, whole: bool) -> bool {
        self.whole.swap(whole, Ordering::Relaxed) != whole
    }

    pub fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    pub fn becomes_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    /// As whom it is listened to: what another heard, or this one in a former life, is to be heard anew.
    pub fn hearer(&self) -> (u64, u64) {
        (self.id, self.life.load(Ordering::Acquire))
    }

    /// Everything is to be heard anew.
    pub fn begin_life(&self) {
        self.life.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns when the channel is heard, and as whom.
    pub async fn subscribe(&self, channel: String) -> Result<(u64, u64), RedisError> {
        let hearer = self.hearer();
        self.subscriber.ssubscribe(channel).await?;
        Ok(hearer)
    }

    pub async fn unsubscribe(&self, channel: String) -> Result<(), RedisError> {
        self.subscriber.sunsubscribe(channel).await
    }

    /// What it will say.
    pub fn messages(&self) -> broadcast::Receiver<Message> {
        self.subscriber.message_rx()
    }

    pub fn hears(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether something was heard since this was last asked.
    pub fn has_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    pub fn is_probed(&self) {
        *self.probed.lock() = Some(Instant::now());
    }

    /// How long what was last probed took to be heard.
    pub fn hears_probe(&self) -> Option<Duration> {
        self.probed.lock().take().map(|asked| asked.elapsed())
    }

    /// Ends at once whatever goes on.
    pub fn abandon(&self) {
        self.tasks.lock().abort_all();
        self.connections.lock().abort_all();
    }

    pub async fn close(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        self.bunches.close().await;
        let durable = async {
            match &self.durable {
                Some(durable) => durable.client.quit().await,
                None => Ok(()),
            }
        };
        let quit = async { tokio::join!(self.client.quit(), self.subscriber.quit(), durable) };
        // Nothing to be done about a server that is away when we leave.
        let _ = tokio::time::timeout(LEAVING, quit).await;
        let mut connections = std::mem::take(&mut *self.connections.lock());
        connections.shutdown().await;
    }
}

/// The client library gives up for good after some errors. We do not.
async fn stay_connected(name: String, client: Client) {
    while let Ok(Err(error)) = AbortOnDropHandle::new(client.connect()).await {
        tracing::warn!(server = name, %error, "connecting to redis ended, and begins again");
        tokio::time::sleep(BEGIN_AGAIN).await;
    }
}
