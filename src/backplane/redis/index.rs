//! Lists, things that are due, what users follow, and hooks, on Redis. By the server's clock.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::Value;

use super::{Redis, bytes, int, keys, millis, none, text};
use crate::backplane::index::FOLLOWED;
use crate::backplane::{Envelope, Error, Index, Queue, Shelf};
use crate::ids::{AgentId, Room, UserId};

/// Hooks of a room that were given up, and how long they, and tries in vain, are remembered.
const DEAD: u64 = 1_000;
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3_600);

impl Redis {
    async fn put(&self, shelf: Shelf, id: &str, comes: bool) -> Result<(), Error> {
        self.lease.check()?;
        let args = vec![text(id), int(u64::from(comes))];
        let named = vec![keys::shelf(self.prefix(), shelf)];
        self.ask(&self.scripts.list, named, args).await?;
        Ok(())
    }

    async fn due_in(
        &self,
        queue: Queue,
        what: Vec<String>,
        within: Duration,
        only_known: bool,
    ) -> Result<Vec<String>, Error> {
        self.lease.check()?;
        let mut args = vec![millis(within), int(u64::from(only_known))];
        args.extend(what.into_iter().map(text));
        let named = vec![keys::queue(self.prefix(), queue)];
        Ok(texts(self.run(&self.scripts.expect, named, args).await?))
    }
}

#[async_trait]
impl Index for Redis {
    async fn list(&self, shelf: Shelf, id: &str) -> Result<(), Error> {
        self.put(shelf, id, true).await
    }

    async fn unlist(&self, shelf: Shelf, id: &str) -> Result<(), Error> {
        self.put(shelf, id, false).await
    }

    async fn listed(
        &self,
        shelf: Shelf,
        after: Option<&str>,
        most: u64,
    ) -> Result<Vec<String>, Error> {
        let args = vec![after.map_or_else(none, text), int(most)];
        let named = vec![keys::shelf(self.prefix(), shelf)];
        Ok(texts(self.run(&self.scripts.listed, named, args).await?))
    }

    async fn expect(&self, queue: Queue, what: Vec<String>, within: Duration) -> Result<(), Error> {
        self.due_in(queue, what, within, false).await.map(drop)
    }

    async fn put_off(
        &self,
        queue: Queue,
        what: Vec<String>,
        within: Duration,
    ) -> Result<Vec<String>, Error> {
        self.due_in(queue, what, within, true).await
    }

    async fn due(&self, queue: Queue, most: u64) -> Result<Vec<String>, Error> {
        let named = vec![keys::queue(self.prefix(), queue)];
        Ok(texts(
            self.run(&self.scripts.due, named, vec![int(most)]).await?,
        ))
    }

    async fn settle(&self, queue: Queue, what: &str, overdue: Duration) -> Result<(), Error> {
        let named = vec![keys::queue(self.prefix(), queue)];
        let args = vec![text(what), millis(overdue)];
        self.ask(&self.scripts.settle, named, args).await?;
        Ok(())
    }

    async fn follow(&self, user: &UserId, agent: &AgentId, most: u64) -> Result<(), Error> {
        self.lease.check()?;
        let named = vec![self.keys(&Room::User(user.clone())).subs()];
        let args = vec![text(agent.as_str()), int(most), millis(FOLLOWED)];
        let answer = self.ask(&self.scripts.follow, named, args).await?;
        match answer.first().and_then(Value::as_str).as_deref() {
            Some("full") => Err(Error::Full),
            _ => Ok(()),
        }
    }

    async fn unfollow(&self, user: &UserId, agent: &AgentId) -> Result<(), Error> {
        let key = self.keys(&Room::User(user.clone())).subs();
        self.srem(key, text(agent.as_str())).await
    }

    async fn follows(&self, user: &UserId) -> Result<Vec<AgentId>, Error> {
        let named = vec![self.keys(&Room::User(user.clone())).subs()];
        let args = vec![millis(FOLLOWED)];
        let agents = texts(self.run(&self.scripts.follows, named, args).await?);
        let known = agents.iter().filter_map(|agent| AgentId::parse(agent).ok());
        Ok(known.collect())
    }

    async fn claim_hooks(&self, room: &Room, by: &str, time: Duration) -> Result<bool, Error> {
        let named = vec![self.keys(room).hooks_claim()];
        let args = vec![text(by), millis(time)];
        let answer = self.ask(&self.scripts.claim, named, args).await?;
        Ok(answer.first().and_then(Value::as_str).as_deref() == Some("yes"))
    }

    async fn hooks(
        &self,
        room: &Room,
        most: u64,
    ) -> Result<Vec<(String, Option<Envelope>)>, Error> {
        let named = vec![self.keys(room).hooks()];
        let parts = self.run(&self.scripts.hooks, named, vec![int(most)]);
        let mut parts = parts.await?.into_iter().map(bytes);
        let mut hooks = Vec::new();
        while let (Some(place), Some(envelope)) = (parts.next(), parts.next()) {
            let place = String::from_utf8_lossy(&place).into_owned();
            hooks.push((place, Envelope::decode(&envelope).ok()));
        }
        Ok(hooks)
    }

    async fn tried(&self, room: &Room, place: &str) -> Result<u64, Error> {
        let [tries, _] = self.keys(room).hooks_beside();
        let args = vec![text(place), millis(REMEMBERED)];
        let answer = self.run(&self.scripts.tried, vec![tries], args).await?;
        super::number(&answer, 0)
    }

    async fn unhook(&self, room: &Room, place: &str, given_up: bool) -> Result<(), Error> {
        let keys = self.keys(room);
        let [tries, dead] = keys.hooks_beside();
        let args = vec![
            text(place),
            int(u64::from(given_up)),
            int(DEAD),
            millis(REMEMBERED),
        ];
        let named = vec![keys.hooks(), tries, dead];
        self.ask(&self.scripts.unhook, named, args).await?;
        Ok(())
    }
}

fn texts(parts: Vec<Value>) -> Vec<String> {
    let utf8 = |part: Bytes| String::from_utf8(part.to_vec()).ok();
    parts.into_iter().map(bytes).filter_map(utf8).collect()
}
