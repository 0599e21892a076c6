//! Keeps it known which server has which slots.
//!
//! Asked are the shards that are there, all at once, and believed is who answers first: who is behind the others
//! is put right by the first command that is sent elsewhere. When none of them is there, everyone who was ever met
//! is asked, replicas too: one of them may be the new master.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::Server;
use fred::types::{Key, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::task::AbortOnDropHandle;

use super::shard::Shard;
use super::shards::Shards;
use super::slots::{Routes, Told};

/// Between looks: as long as a room may be deaf on a node that sends nothing.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// The same while a shard is away: its successor is looked for.
const SEARCH_EVERY: Duration = Duration::from_millis(500);
/// Between looks that somebody asks for.
const PAUSE: Duration = Duration::from_millis(50);
/// Time for a server that is not connected to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a shard without slots goes on; it may get some back.
const RETIRED: Duration = Duration::from_secs(10);
/// Servers remembered; those told of last are kept.
const MET: usize = 1_000;

impl Shards {
    pub async fn survey(self: Arc<Self>) {
        loop {
            self.look().await;
            self.let_go().await;
            tokio::time::sleep(PAUSE).await;
            let wait = if self.is_whole() {
                COMPARE_EVERY
            } else {
                SEARCH_EVERY
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.suspect.notified() => {}
            }
        }
    }

    async fn look(self: &Arc<Self>) {
        let _turn = self.looking.lock().await;
        let told = match self.ask_shards().await {
            None => self.ask_everyone().await,
            told => told,
        };
        match told {
            Some(told) => self.adopt(&told),
            None => tracing::debug!("nobody tells who has which slots"),
        }
    }

    /// Looks at the slots because this shard says that it does not have the key.
    pub async fn look_because_of(self: &Arc<Self>, key: &Key, told_by: &Arc<Shard>) {
        let _turn = self.looking.lock().await;
        // Whoever had the turn before may have learned it already.
        let still = self
            .routes()
            .at(key)
            .is_some_and(|owner| Arc::ptr_eq(owner, told_by));
        if still && let Some(told) = ask(told_by).await {
            self.adopt(&told);
        }
    }

    async fn ask_shards(&self) -> Option<Told> {
        let routes = self.routes();
        let shards = routes.shards().iter().filter(|shard| shard.is_answering());
        let mut answers: FuturesUnordered<_> = shards.map(ask).collect();
        while let Some(answer) = answers.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    async fn ask_everyone(&self) -> Option<Told> {
        let met = self.met.lock().clone();
        let mut answers: FuturesUnordered<_> =
            met.iter().map(|server| self.ask_stranger(server)).collect();
        while let Some(answer) = answers.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    async fn ask_stranger(&self, server: &Server) -> Option<Told> {
        let client = self.way.once(server).build().ok()?;
        // Given up together with the question.
        let _connection = AbortOnDropHandle::new(client.connect());
        let slots = async {
            client.wait_for_connect().await?;
            client.cluster_slots::<Value>().await
        };
        match tokio::time::timeout(PATIENCE, slots).await {
            Ok(Ok(slots)) => Told::read(slots, &server.host),
            Ok(Err(error)) => {
                tracing::debug!(%server, %error, "a server does not tell who has which slots");
                None
            }
            Err(_) => {
                tracing::debug!(%server, "a server is silent");
                None
            }
        }
    }

    fn adopt(self: &Arc<Self>, told: &Told) {
        {
            let mut met = self.met.lock();
            met.retain(|server| !told.servers.contains(server));
            met.extend(told.servers.iter().cloned());
            let beyond = met.len().saturating_sub(MET);
            met.drain(..beyond);
        }
        let before = self.routes();
        let mut retired = self.retired.lock();
        let routes = Routes::of(told, |server| {
            let is_it = |shard: &Arc<Shard>| shard.server.as_ref() == Some(server);
            let known = before.shards().iter().find(|shard| is_it(shard)).cloned();
            known
                .or_else(|| {
                    let back = retired.iter().position(|(shard, _)| is_it(shard))?;
                    Some(retired.swap_remove(back).0)
                })
                .or_else(|| match self.begin(Some(server)) {
                    Ok(shard) => Some(shard),
                    Err(error) => {
                        tracing::warn!(%server, %error, "a server cannot be connected to");
                        None
                    }
                })
        });
        if routes.agree(&before) {
            return;
        }
        let now = Instant::now();
        let gone = before.shards().iter().filter(|shard| !routes.has(shard));
        retired.extend(gone.map(|shard| (shard.clone(), now)));
        drop(retired);
        tracing::info!(shards = routes.shards().len(), "slots have changed hands");
        self.reroute(routes);
    }

    /// Ends shards that have had no slots for a while.
    async fn let_go(&self) {
        let gone: Vec<_> = {
            let mut retired = self.retired.lock();
            retired
                .extract_if(.., |(_, since)| since.elapsed() > RETIRED)
                .collect()
        };
        for (shard, _) in gone {
            tracing::info!(server = shard.name, "a server without slots is left");
            shard.close().await;
        }
    }
}

async fn ask(shard: &Arc<Shard>) -> Option<Told> {
    let host = shard.server.as_ref().map(|server| server.host.clone());
    match shard.commands.cluster_slots::<Value>().await {
        Ok(slots) => Told::read(slots, &host.unwrap_or_default()),
        Err(error) => {
            tracing::debug!(server = shard.name, %error, "a server does not tell who has which slots");
            None
        }
    }
}
