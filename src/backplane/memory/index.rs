//! Lists, things that are due, what users follow, and hooks, of a single node.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;

use super::{Memory, after};
use crate::backplane::{Envelope, Error, Index, Queue, Shelf};
use crate::clock::Millis;
use crate::ids::{AgentId, Room, UserId};

#[derive(Default)]
pub(super) struct Shelves {
    listed: HashMap<Shelf, BTreeSet<String>>,
    due: HashMap<Queue, BTreeMap<String, Millis>>,
    followed: HashMap<UserId, BTreeSet<AgentId>>,
}

/// What the services behind us have not been told of a room.
#[derive(Default, Clone)]
pub(super) struct Hooks {
    next: u64,
    waiting: VecDeque<(u64, Envelope)>,
    /// Of the oldest, which alone is tried.
    tries: Option<(String, u64)>,
    /// Whose they are, and until when.
    claim: Option<(String, Millis)>,
}

impl Hooks {
    pub fn push(&mut self, envelope: Envelope, most: u64) {
        self.next += 1;
        self.waiting.push_back((self.next, envelope));
        while self.waiting.len() as u64 > most {
            self.waiting.pop_front();
        }
    }
}

#[async_trait]
impl Index for Memory {
    async fn list(&self, shelf: Shelf, id: &str) -> Result<(), Error> {
        let mut index = self.index.lock();
        index.listed.entry(shelf).or_default().insert(id.to_owned());
        Ok(())
    }

    async fn unlist(&self, shelf: Shelf, id: &str) -> Result<(), Error> {
        let mut index = self.index.lock();
        index.listed.entry(shelf).or_default().remove(id);
        Ok(())
    }

    async fn listed(
        &self,
        shelf: Shelf,
        after: Option<&str>,
        most: u64,
    ) -> Result<Vec<String>, Error> {
        let mut index = self.index.lock();
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.to_owned()));
        let listed = index.listed.entry(shelf).or_default();
        let page = listed.range((from, Bound::Unbounded)).take(most as usize);
        Ok(page.cloned().collect())
    }

    async fn expect(&self, queue: Queue, what: Vec<String>, within: Duration) -> Result<(), Error> {
        let at = after(self.clock.now(), within).unwrap_or(Millis::MAX);
        let mut index = self.index.lock();
        let due = index.due.entry(queue).or_default();
        due.extend(what.into_iter().map(|thing| (thing, at)));
        Ok(())
    }

    async fn put_off(
        &self,
        queue: Queue,
        what: Vec<String>,
        within: Duration,
    ) -> Result<Vec<String>, Error> {
        let at = after(self.clock.now(), within).unwrap_or(Millis::MAX);
        let mut index = self.index.lock();
        let due = index.due.entry(queue).or_default();
        let mut unknown = Vec::new();
        for thing in what {
            match due.get_mut(&thing) {
                Some(known) => *known = at,
                None => unknown.push(thing),
            }
        }
        Ok(unknown)
    }

    async fn due(&self, queue: Queue, most: u64) -> Result<Vec<String>, Error> {
        let now = self.clock.now();
        let mut index = self.index.lock();
        let waiting = index.due.entry(queue).or_default().iter();
        let mut due: Vec<(Millis, String)> = waiting
            .filter(|(_, at)| **at <= now)
            .map(|(thing, at)| (*at, thing.clone()))
            .collect();
        due.sort();
        due.truncate(most as usize);
        Ok(due.into_iter().map(|(_, thing)| thing).collect())
    }

    async fn settle(&self, queue: Queue, what: &str, overdue: Duration) -> Result<(), Error> {
        let before = self.clock.now() - overdue.as_millis() as Millis;
        let mut index = self.index.lock();
        let due = index.due.entry(queue).or_default();
        if overdue.is_zero() || due.get(what).is_some_and(|at| *at <= before) {
            due.remove(what);
        }
        Ok(())
    }

    async fn follow(&self, user: &UserId, agent: &AgentId, most: u64) -> Result<(), Error> {
        let mut index = self.index.lock();
        let followed = index.followed.entry(user.clone()).or_default();
        if !followed.contains(agent) && followed.len() as u64 >= most {
            return Err(Error::Full);
        }
        followed.insert(agent.clone());
        Ok(())
    }

    async fn unfollow(&self, user: &UserId, agent: &AgentId) -> Result<(), Error> {
        let mut index = self.index.lock();
        if let Some(followed) = index.followed.get_mut(user) {
            followed.remove(agent);
            if followed.is_empty() {
                index.followed.remove(user);
            }
        }
        Ok(())
    }

    async fn follows(&self, user: &UserId) -> Result<Vec<AgentId>, Error> {
        let index = self.index.lock();
        let followed = index.followed.get(user).into_iter().flatten();
        Ok(followed.cloned().collect())
    }

    async fn claim_hooks(&self, room: &Room, by: &str, time: Duration) -> Result<bool, Error> {
        let now = self.clock.now();
        Ok(self.with(room, |stored| {
            let claim = &mut stored.hooks.claim;
            let is_others = |(holder, until): &(String, Millis)| holder != by && *until > now;
            if claim.as_ref().is_some_and(is_others) {
                return false;
            }
            *claim = after(now, time).map(|until| (by.to_owned(), until));
            true
        }))
    }

    async fn hooks(
        &self,
        room: &Room,
        most: u64,
    ) -> Result<Vec<(String, Option<Envelope>)>, Error> {
        Ok(self.with(room, |stored| {
            let oldest = stored.hooks.waiting.iter().take(most as usize);
            oldest
                .map(|(place, envelope)| (place.to_string(), Some(envelope.clone())))
                .collect()
        }))
    }

    async fn tried(&self, room: &Room, place: &str) -> Result<u64, Error> {
        Ok(self.with(room, |stored| {
            let tries = &mut stored.hooks.tries;
            let known = tries.as_ref().filter(|(known, _)| known == place);
            let count = known.map_or(1, |(_, count)| count + 1);
            *tries = Some((place.to_owned(), count));
            count
        }))
    }

    async fn unhook(&self, room: &Room, place: &str, _: bool) -> Result<(), Error> {
        self.with(room, |stored| {
            let known = |(at, _): &(u64, Envelope)| at.to_string() != place;
            stored.hooks.waiting.retain(known);
        });
        Ok(())
    }
}
