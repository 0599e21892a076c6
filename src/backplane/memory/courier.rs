//! Inboxes and the registry of couriers in this process: the same promises as on Redis.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Memory, Stored, after};
use crate::backplane::courier::{CONTACTS, Card, Courier, Inbox, Letter, Receipt, Registry};
use crate::backplane::{Error, InboxKeep};
use crate::clock::Millis;
use crate::ids::{Epoch, Position, Room, UserId};

/// What a user's room has beside every other's.
#[derive(Default, Clone)]
pub(super) struct Post {
    /// Up to here all was told.
    told: u64,
    bytes: u64,
    told_bytes: u64,
    /// Bytes up to each letter of the log, by its seq.
    sums: BTreeMap<u64, u64>,
    once: BTreeMap<(UserId, String), (Receipt, Millis)>,
    contacts: BTreeMap<UserId, Millis>,
    pub(super) card: Card,
}

impl Post {
    fn has_room(&self, seq: u64, size: u64, keep: &InboxKeep) -> bool {
        let waiting = self.bytes - self.told_bytes;
        let fits = waiting == 0 || waiting + size <= keep.bytes;
        seq - self.told < keep.length && fits
    }

    fn meet(&mut self, user: &UserId, now: Millis) {
        self.contacts.insert(user.clone(), now);
        while self.contacts.len() as u64 > CONTACTS {
            let oldest = self.contacts.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(user, _)| user.clone()) else {
                return;
            };
            self.contacts.remove(&oldest);
        }
    }
}

impl Memory {
    fn deliver(&self, letter: &Letter, user: &UserId) -> Result<Receipt, Error> {
        let (room, now) = (Room::User(user.clone()), self.clock.now());
        let once = letter.once.clone().map(|id| (letter.from.clone(), id));
        self.with(&room, |stored| {
            let known = once.as_ref().and_then(|once| stored.post.once.get(once));
            if let Some((receipt, until)) = known
                && *until > now
            {
                return Ok(*receipt);
            }
            let present = !stored.users.is_empty();
            if !present && !self.keep.inbox.absent {
                return Ok(Receipt::Absent);
            }
            let size = letter.draft.event.len() as u64;
            let keep = &self.keep.inbox;
            if !stored.post.has_room(stored.seq, size, keep) {
                return Ok(Receipt::Full);
            }
            stored.epoch.get_or_insert_with(Epoch::random);
            let at = self.append(&room, stored, letter.draft.clone(), None, None)?;
            let post = &mut stored.post;
            post.bytes += size;
            post.sums.insert(at.seq, post.bytes);
            while post.sums.len() as u64 > keep.length {
                post.sums.pop_first();
            }
            post.meet(&letter.from, now);
            let receipt = if present {
                Receipt::Present
            } else {
                stored.expires = after(now, keep.ttl);
                Receipt::Kept
            };
            if let Some(once) = once {
                let until = now + self.keep.idempotency.as_millis() as Millis;
                stored.post.once.retain(|_, (_, until)| *until > now);
                stored.post.once.insert(once, (receipt, until));
            }
            Ok(receipt)
        })
    }

    fn with_post<T>(&self, user: &UserId, act: impl FnOnce(&mut Stored) -> T) -> T {
        self.with(&Room::User(user.clone()), act)
    }
}

#[async_trait]
impl Courier for Memory {
    async fn route(&self, letter: &Letter) -> Result<Vec<Receipt>, Error> {
        letter
            .to
            .iter()
            .map(|user| self.deliver(letter, user))
            .collect()
    }

    async fn inbox(&self, room: &Room) -> Result<Inbox, Error> {
        self.with(room, |stored| {
            let epoch = stored.epoch.ok_or(Error::Missing)?;
            let told = stored.post.told;
            let is_new = |at: Option<Position>| at.is_some_and(|at| at.seq > told);
            let letters = stored.log.iter();
            Ok(Inbox {
                position: Position {
                    epoch,
                    seq: stored.seq,
                },
                events: letters
                    .filter(|letter| is_new(letter.position))
                    .cloned()
                    .collect(),
            })
        })
    }

    async fn mark(&self, user: &UserId, at: Position) -> Result<(), Error> {
        self.with_post(user, |stored| {
            let post = &mut stored.post;
            if stored.epoch == Some(at.epoch) && at.seq > post.told && at.seq <= stored.seq {
                post.told = at.seq;
                post.told_bytes = post.sums.get(&at.seq).copied().unwrap_or(post.told_bytes);
            }
        });
        Ok(())
    }

    async fn acquaint(&self, user: &UserId, with: &[UserId]) -> Result<(), Error> {
        let now = self.clock.now();
        self.with_post(user, |stored| {
            for other in with {
                stored.post.meet(other, now);
            }
        });
        Ok(())
    }

    async fn contacts(&self, user: &UserId) -> Result<Vec<UserId>, Error> {
        Ok(self.with_post(user, |stored| {
            stored.post.contacts.keys().cloned().collect()
        }))
    }

    async fn couriers(&self, after: Option<&UserId>, most: u64) -> Result<Registry, Error> {
        Ok(self.with(&Room::Couriers, |stored| {
            let behind = |user: &UserId| after.is_none_or(|after| user > after);
            let listed = stored.listed.iter().filter(|(user, _)| behind(user));
            let records = listed.take(most as usize);
            Registry {
                records: records
                    .map(|(user, record): (&UserId, &Bytes)| (user.clone(), record.clone()))
                    .collect(),
                count: stored.listed.len() as u64,
            }
        }))
    }

    async fn register(&self, user: &UserId, card: &Card) -> Result<(), Error> {
        let now = self.clock.now();
        self.with_post(user, |stored| {
            stored.epoch.get_or_insert_with(Epoch::random);
            let known = &mut stored.post.card;
            let Card {
                display_name,
                backend_url,
            } = card.clone();
            known.display_name = display_name.or(known.display_name.take());
            known.backend_url = backend_url.or(known.backend_url.take());
            if stored.members.is_empty() {
                stored.expires = after(now, self.keep.inbox.ttl);
            }
        });
        Ok(())
    }

    async fn card(&self, user: &UserId) -> Result<Card, Error> {
        Ok(self.with_post(user, |stored| stored.post.card.clone()))
    }
}
