//! Inboxes and the registry of couriers on Redis: see `lua/` for what is atomic.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use fred::interfaces::HashesInterface;
use fred::types::{Key, Value};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Redis, bin, bytes, int, number, text};
use crate::backplane::courier::{CONTACTS, Card, Courier, Inbox, Letter, Receipt, Registry};
use crate::backplane::{Envelope, Error};
use crate::ids::{Epoch, Position, Room, UserId};

/// Parts of a cluster that are sent a letter at once.
const AT_ONCE: usize = 32;
/// Fields of a user's state.
const DISPLAY_NAME: &str = "display_name";
const BACKEND_URL: &str = "backend_url";

impl Redis {
    /// One call for users whose rooms are in one place.
    async fn route_some(
        &self,
        letter: &Letter,
        front: &(Bytes, Bytes),
        some: &[usize],
    ) -> Result<Vec<Value>, Error> {
        let mut named = Vec::with_capacity(some.len() * 6);
        let each = if letter.once.is_some() { 6 } else { 5 };
        let mut args = vec![
            bin(front.0.clone()),
            bin(front.1.clone()),
            text(letter.from.as_str()),
            int(Epoch::random().0),
            int(u64::from(self.keep.inbox.absent)),
            int(each),
            int(CONTACTS),
        ];
        for user in some.iter().map(|at| &letter.to[*at]) {
            let room = Room::User(user.clone());
            let keys = self.keys(&room);
            named.extend([keys.state(), keys.log(), keys.channel()]);
            named.extend([keys.users(), keys.contacts()]);
            named.extend(letter.once.as_ref().map(|id| keys.once(&letter.from, id)));
            args.push(text(room.to_string()));
        }
        let answers = self.write(&self.scripts.route, named, args).await?;
        if answers.len() == some.len() {
            Ok(answers)
        } else {
            Err(Error::Unavailable("a letter lacks receipts".to_owned()))
        }
    }

    /// Which of those a letter is for go together.
    fn together(&self, letter: &Letter) -> Vec<Vec<usize>> {
        if !self.shards.is_clustered() {
            return vec![(0..letter.to.len()).collect()];
        }
        let mut by_slot = BTreeMap::<u16, Vec<usize>>::new();
        for (at, user) in letter.to.iter().enumerate() {
            let state = self.keys(&Room::User(user.clone())).state();
            by_slot.entry(state.cluster_hash()).or_default().push(at);
        }
        by_slot.into_values().collect()
    }
}

#[async_trait]
impl Courier for Redis {
    async fn route(&self, letter: &Letter) -> Result<Vec<Receipt>, Error> {
        self.lease.check()?;
        let groups = self.together(letter);
        let (before, behind) = letter.draft.front_around(self.version());
        let front = &(Bytes::from(before), Bytes::from(behind));
        let routed: Vec<_> = groups
            .iter()
            .map(|some| self.route_some(letter, front, some))
            .collect();
        let routed = stream::iter(routed).buffered(AT_ONCE);
        let answers: Vec<_> = routed.try_collect().await?;
        let mut receipts = vec![Receipt::Absent; letter.to.len()];
        for (some, answers) in groups.iter().zip(answers) {
            for (at, answer) in some.iter().zip(answers) {
                receipts[*at] = receipt(&answer)?;
            }
        }
        Ok(receipts)
    }

    async fn inbox(&self, room: &Room) -> Result<Inbox, Error> {
        let keys = self.keys(room);
        let named = vec![keys.state(), keys.log()];
        let parts = self.ask(&self.scripts.inbox, named, Vec::new()).await?;
        let position = Position {
            epoch: Epoch(number(&parts, 1)?),
            seq: number(&parts, 2)?,
        };
        let letters = parts.into_iter().skip(3).map(bytes);
        let read = |letter: Bytes| match Envelope::decode(&letter) {
            Ok(envelope) => Some(envelope),
            Err(error) => {
                tracing::warn!(%room, %error, "a letter cannot be read");
                None
            }
        };
        Ok(Inbox {
            position,
            events: letters.filter_map(read).collect(),
        })
    }

    async fn mark(&self, user: &UserId, at: Position) -> Result<(), Error> {
        let keys = self.keys(&Room::User(user.clone()));
        let named = vec![keys.state(), keys.log()];
        let args = vec![text(at.epoch.0.to_string()), text(at.seq.to_string())];
        self.ask(&self.scripts.mark, named, args).await?;
        Ok(())
    }

    async fn acquaint(&self, user: &UserId, with: &[UserId]) -> Result<(), Error> {
        let named = vec![self.keys(&Room::User(user.clone())).contacts()];
        let mut args = vec![int(CONTACTS)];
        args.extend(with.iter().map(|other| text(other.as_str())));
        self.ask(&self.scripts.acquaint, named, args).await?;
        Ok(())
    }

    async fn contacts(&self, user: &UserId) -> Result<Vec<UserId>, Error> {
        let contacts = self.keys(&Room::User(user.clone())).contacts();
        let named = vec![contacts];
        let parts = self.run(&self.scripts.contacts, named, Vec::new()).await?;
        let names = parts.iter().filter_map(Value::as_str);
        Ok(names.filter_map(|name| UserId::parse(&name).ok()).collect())
    }

    async fn couriers(&self, after: Option<&UserId>, most: u64) -> Result<Registry, Error> {
        let named = self.keys(&Room::Couriers).listed().to_vec();
        let args = vec![text(after.map_or("", UserId::as_str)), int(most)];
        let parts = self.run(&self.scripts.couriers, named, args).await?;
        let count = number(&parts, 0)?;
        let mut parts = parts.into_iter().skip(1);
        let mut records = Vec::new();
        while let (Some(user), Some(record)) = (parts.next(), parts.next()) {
            let user = user.as_str().and_then(|user| UserId::parse(&user).ok());
            records.extend(user.map(|user| (user, bytes(record))));
        }
        Ok(Registry { records, count })
    }

    async fn register(&self, user: &UserId, card: &Card) -> Result<(), Error> {
        self.lease.check()?;
        let keys = self.keys(&Room::User(user.clone()));
        let fields = [
            (DISPLAY_NAME, &card.display_name),
            (BACKEND_URL, &card.backend_url),
        ];
        let mut args = Vec::new();
        for (name, value) in fields {
            if let Some(value) = value {
                args.extend([Value::from_static_str(name), text(value.as_str())]);
            }
        }
        if args.is_empty() {
            return Ok(());
        }
        let named = vec![keys.state(), keys.users()];
        self.write(&self.scripts.register, named, args).await?;
        Ok(())
    }

    async fn card(&self, user: &UserId) -> Result<Card, Error> {
        let state: Key = self.keys(&Room::User(user.clone())).state();
        let fields = self.shards.ask(&state, |shard| {
            let state = state.clone();
            let names = vec![DISPLAY_NAME, BACKEND_URL];
            async move { shard.commands.hmget(state, names).await }
        });
        let fields: Vec<Option<String>> = fields.await?;
        let mut fields = fields.into_iter();
        Ok(Card {
            display_name: fields.next().flatten(),
            backend_url: fields.next().flatten(),
        })
    }
}

fn receipt(answer: &Value) -> Result<Receipt, Error> {
    match answer.as_str().as_deref() {
        Some("present") => Ok(Receipt::Present),
        Some("kept") => Ok(Receipt::Kept),
        Some("absent") => Ok(Receipt::Absent),
        Some("full") => Ok(Receipt::Full),
        other => Err(Error::Unavailable(format!("route answered {other:?}"))),
    }
}
