//! The backplane of a single node: everything in this process, the same promises as on Redis.
//!
//! The map's shard lock makes a commit atomic and keeps what is heard in order. Nothing survives
//! the process.

mod cluster;
mod courier;
mod documents;
mod index;
mod mirror;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{
    Access, BANNED, Backplane, Change, Committed, Created, DEFAULT_ROLE, Draft, Ear, Entry,
    Envelope, Error, Exit, Fields, HOST, KEPT_UNTIL, Keep, Link, MEMBERS_LISTED, RECORDED, ROLE,
    Replay, Snapshot, TextEntry, role_of,
};
use super::{History, LAST};
use crate::clock::{Clock, Millis};
use crate::ids::{Epoch, Position, Room, SocketId, UserId};
use crate::telemetry::metrics::metrics;

pub struct Memory {
    rooms: Rooms,
    ear: Arc<dyn Ear>,
    keep: Keep,
    clock: Clock,
    link: watch::Sender<Link>,
    sweeper: Mutex<Option<JoinHandle<()>>>,
    copies: mirror::Copies,
    places: cluster::Places,
    revoked: cluster::Revoked,
    secret: Mutex<Option<String>>,
    counted: Mutex<cluster::Counted>,
    index: Mutex<index::Shelves>,
}

type Rooms = Arc<DashMap<Room, Stored>>;

/// Everything that was there at one instant, see [`Memory::restore`].
pub struct Image(Vec<(Room, Stored)>);

/// One room. `epoch` is `None` while it is listened to but does not exist.
#[derive(Default, Clone)]
struct Stored {
    epoch: Option<Epoch>,
    seq: u64,
    version: u64,
    fields: Vec<(String, String)>,
    members: HashMap<SocketId, Bytes>,
    users: HashMap<UserId, u32>,
    /// Users in the list of those who came first.
    admitted: usize,
    log: VecDeque<Envelope>,
    chat: VecDeque<(u64, Bytes)>,
    once: HashMap<(UserId, String), (Committed, Millis)>,
    expires: Option<Millis>,
    /// Not expired before, once everybody is gone.
    kept_until: Option<Millis>,
    hooks: index::Hooks,
    /// Of a session.
    paper: Box<documents::Paper>,
    /// Of a user's room.
    post: Box<courier::Post>,
    /// The users of [`Room::Couriers`], and the record of each one's first socket.
    listed: BTreeMap<UserId, Bytes>,
    listened: bool,
}

impl Memory {
    pub fn new(keep: Keep, clock: Clock, ear: Arc<dyn Ear>) -> Self {
        let rooms = Rooms::default();
        metrics().backplane_connected(true);
        let sweeper = tokio::spawn(sweep(rooms.clone(), clock.clone(), keep.clone()));
        Self {
            rooms,
            ear,
            keep,
            clock,
            link: watch::Sender::new(Link::Up),
            sweeper: Mutex::new(Some(sweeper)),
            copies: mirror::Copies::default(),
            places: cluster::Places::default(),
            revoked: cluster::Revoked::default(),
            secret: Mutex::default(),
            counted: Mutex::default(),
            index: Mutex::default(),
        }
    }

    /// What is there now.
    pub fn image(&self) -> Image {
        let rooms = self.rooms.iter();
        Image(
            rooms
                .map(|room| (room.key().clone(), room.value().clone()))
                .collect(),
        )
    }

    /// Forgets what happened since the image, as a store does that fails over to a late replica: so that tests see
    /// what nodes make of it. Who listens goes on listening.
    pub fn restore(&self, image: &Image) {
        let listened = |room: &Room| self.rooms.get(room).is_some_and(|known| known.listened);
        let then: HashMap<Room, Stored> = image
            .0
            .iter()
            .map(|(room, stored)| (room.clone(), stored.clone()))
            .collect();
        for (room, stored) in &then {
            let listened = listened(room);
            let stored = stored.clone();
            self.rooms
                .insert(room.clone(), Stored { listened, ..stored });
        }
        self.rooms.retain(|room, stored| {
            if !then.contains_key(room) {
                let listened = stored.listened;
                *stored = Stored {
                    listened,
                    ..Stored::default()
                };
            }
            !stored.is_nothing()
        });
    }

    /// Runs `act` on the room under its shard's lock, expired state taken away first. A room that
    /// is nothing afterwards is forgotten.
    fn with<T>(&self, room: &Room, act: impl FnOnce(&mut Stored) -> T) -> T {
        match self.rooms.entry(room.clone()) {
            Slot::Occupied(mut slot) => {
                let stored = slot.get_mut();
                stored.expire(self.clock.now());
                let result = act(stored);
                if stored.is_nothing() {
                    slot.remove();
                }
                result
            }
            Slot::Vacant(slot) => {
                let mut stored = Stored::default();
                let result = act(&mut stored);
                if !stored.is_nothing() {
                    slot.insert(stored);
                }
                result
            }
        }
    }

    /// Events that the room's log keeps.
    fn log_length(&self, room: &Room) -> u64 {
        match room {
            Room::User(_) => self.keep.inbox.length,
            _ => self.keep.log_length,
        }
    }

    /// How long the room outlives its last socket.
    fn grace(&self, room: &Room) -> Duration {
        match room {
            Room::User(_) => self.keep.inbox.ttl,
            Room::Agent(_) => self.keep.agent_ttl,
            _ => self.keep.session_grace,
        }
    }

    /// The next seq: into the log, and to the ear while the room is still locked, which keeps order.
    fn append(
        &self,
        room: &Room,
        stored: &mut Stored,
        draft: Draft,
        logged: Option<Bytes>,
        version: Option<u64>,
    ) -> Result<Position, Error> {
        let epoch = stored.epoch.ok_or(Error::Missing)?;
        stored.seq += 1;
        let position = Position {
            epoch,
            seq: stored.seq,
        };
        let envelope = draft.into_envelope(room.clone(), Some(position), version);
        let mut entry = envelope.clone();
        if let Some(event) = logged {
            entry.event = event;
        }
        stored.log.push_back(entry);
        while stored.log.len() as u64 > self.log_length(room) {
            stored.log.pop_front();
        }
        if stored.listened {
            self.ear.heard(envelope);
        }
        Ok(position)
    }
}

impl Stored {
    fn is_nothing(&self) -> bool {
        self.epoch.is_none() && !self.listened
    }

    fn expire(&mut self, now: Millis) {
        if self.expires.is_some_and(|at| at <= now) {
            *self = Self {
                listened: self.listened,
                ..Self::default()
            };
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    fn set(&mut self, name: &str, value: String) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some(field) => field.1 = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    fn role_of(&self, user: &UserId) -> String {
        let own = self.field(&format!("{ROLE}{user}"));
        role_of(user, self.field(HOST), own, self.field(DEFAULT_ROLE))
    }

    fn meets(&self, (field, value): &(&'static str, String)) -> Result<(), Error> {
        match self.field(field).unwrap_or_default() == value {
            true => Ok(()),
            false => Err(Error::Unmet),
        }
    }

    fn open(&self) -> Result<(), Error> {
        match (self.epoch, self.field("ended")) {
            (None, _) => Err(Error::Missing),
            (_, Some(_)) => Err(Error::Ended),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, fields: Fields) {
        self.epoch = Some(Epoch::random());
        for (name, value) in fields {
            // A recorded room goes on where its records end.
            match name {
                "version" => self.version = value.parse().unwrap_or_default(),
                KEPT_UNTIL => self.kept_until = value.parse().ok(),
                _ => self.set(name, value),
            }
        }
    }

    fn remember(&mut self, history: History, most: u64) {
        match history {
            History::Push(line) => {
                self.chat.push_back((self.seq + 1, line));
                while self.chat.len() as u64 > most {
                    self.chat.pop_front();
                }
            }
            History::Replace { known_by, line } => {
                let has = |(_, line): &(u64, Bytes)| {
                    line.windows(known_by.len()).any(|part| *part == known_by)
                };
                match (self.chat.iter().position(has), line) {
                    (Some(at), Some(line)) => self.chat[at].1 = line,
                    (Some(at), None) => drop(self.chat.remove(at)),
                    (None, _) => {}
                }
            }
        }
    }

    /// How many events there were since then; `None` when that is not a place in this order.
    fn since(&self, since: Position) -> Option<usize> {
        let same = self.epoch == Some(since.epoch);
        let missed = self.seq.checked_sub(since.seq).filter(|_| same)?;
        usize::try_from(missed).ok()
    }

    fn last(&self, events: usize) -> Vec<Envelope> {
        let from = self.log.len() - events;
        self.log.range(from..).cloned().collect()
    }

    /// The users admitted by having come first, unless a match named them. Ids hold no quotes: the list is extended
    /// as text, for reading a long one at every coming costs more than all the rest.
    fn admit(&mut self, user: &UserId) {
        if self.admitted >= MEMBERS_LISTED || self.field("matched").is_some() {
            return;
        }
        let (list, quoted) = (self.field("users").unwrap_or("[]"), format!("\"{user}\""));
        if list.contains(&quoted) {
            return;
        }
        let longer = match list.trim_end_matches(']') {
            "[" => format!("[{quoted}]"),
            others => format!("{others},{quoted}]"),
        };
        self.admitted += 1;
        self.set("users", longer);
    }
}

fn after(now: Millis, wait: Duration) -> Option<Millis> {
    Some(now + wait.as_millis() as Millis)
}

/// Takes away what has expired and nobody asks for.
async fn sweep(rooms: Rooms, clock: Clock, keep: Keep) {
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    loop {
        tick.tick().await;
        let now = clock.now();
        rooms.retain(|room, stored| {
            stored.expire(now);
            stored.once.retain(|_, (_, until)| *until > now);
            // An inbox goes as a whole.
            if !matches!(room, Room::User(_)) {
                let oldest = now - keep.log_ttl.as_millis() as Millis;
                while stored.log.front().is_some_and(|entry| entry.at < oldest) {
                    stored.log.pop_front();
                }
            }
            !stored.is_nothing()
        });
    }
}

#[async_trait]
impl Backplane for Memory {
    async fn commit(&self, room: &Room, change: Change) -> Result<Committed, Error> {
        self.with(room, |stored| {
            let now = self.clock.now();
            stored.open()?;
            if let Some(once) = &change.once
                && let Some((first, until)) = stored.once.get(once)
                && *until > now
            {
                return Ok(Committed {
                    repeated: true,
                    ..*first
                });
            }
            if let Some((user, roles)) = &change.by
                && !roles.contains(&stored.role_of(user).as_str())
            {
                return Err(Error::Forbidden);
            }
            if let Some(when) = &change.when {
                stored.meets(when)?;
            }
            let changes_text = change.text.is_some();
            if let Some(TextEntry { entry, epoch }) = change.text {
                if stored.epoch != Some(epoch) {
                    return Err(Error::Stale);
                }
                stored.version += 1;
                stored.paper.push(stored.version, entry);
            }
            for (name, value) in change.fields {
                stored.set(name, value);
            }
            if let Some((user, role)) = change.role {
                let field = format!("{ROLE}{user}");
                match role.as_str() {
                    "" => stored.fields.retain(|(name, _)| *name != field),
                    _ => stored.set(&field, role),
                }
            }
            if let Some(history) = change.history {
                stored.remember(history, self.keep.chat_history);
            }
            let version = stored.version;
            let hooked = change.hook.then(|| change.draft.clone());
            let position = self.append(
                room,
                stored,
                change.draft,
                change.logged,
                changes_text.then_some(version),
            )?;
            if let Some(draft) = hooked {
                let envelope = draft.into_envelope(room.clone(), Some(position), None);
                stored.hooks.push(envelope, self.keep.hooks_length);
            }
            let committed = Committed {
                position,
                version,
                repeated: false,
            };
            if let Some(once) = change.once {
                let until = now + self.keep.idempotency.as_millis() as Millis;
                stored.once.insert(once, (committed, until));
            }
            Ok(committed)
        })
    }

    async fn announce(
        &self,
        room: &Room,
        draft: Option<Draft>,
        member: Option<(SocketId, Bytes)>,
    ) -> Result<(), Error> {
        self.with(room, |stored| {
            if let Some((socket, record)) = member
                && let Some(known) = stored.members.get_mut(&socket)
            {
                *known = record;
            }
            if let Some(draft) = draft.filter(|_| stored.listened) {
                self.ear
                    .heard(draft.into_envelope(room.clone(), None, None));
            }
            Ok(())
        })
    }

    async fn report(
        &self,
        room: &Room,
        draft: Draft,
        fields: Fields,
        when: (&'static str, String),
    ) -> Result<(), Error> {
        self.with(room, |stored| {
            stored.open()?;
            stored.meets(&when)?;
            for (name, value) in fields {
                stored.set(name, value);
            }
            if stored.listened {
                self.ear
                    .heard(draft.into_envelope(room.clone(), None, None));
            }
            Ok(())
        })
    }

    async fn enter(&self, room: &Room, entry: Entry) -> Result<(), Error> {
        self.with(room, |stored| {
            match (stored.open(), entry.create) {
                (Err(Error::Missing), Some(fields)) => stored.begin(fields),
                (result, _) => result?,
            }
            if stored.field(&format!("{ROLE}{}", entry.user)) == Some(BANNED) {
                return Err(Error::Forbidden);
            }
            stored.expires = None;
            if stored.members.contains_key(&entry.socket) {
                return Ok(());
            }
            stored.members.insert(entry.socket, entry.member.clone());
            let sockets = stored.users.entry(entry.user.clone()).or_default();
            *sockets += 1;
            if *sockets > 1 {
                return Ok(());
            }
            match room {
                Room::Session(_) => stored.admit(&entry.user),
                Room::Couriers => {
                    stored.listed.insert(entry.user, entry.member);
                }
                _ => {}
            }
            if let Some(joined) = entry.joined {
                self.append(room, stored, joined, None, None)?;
            }
            Ok(())
        })
    }

    async fn leave(&self, room: &Room, exits: Vec<Exit>) -> Result<(), Error> {
        self.with(room, |stored| {
            let mut gone = false;
            for exit in exits {
                if stored.members.remove(&exit.socket).is_none() {
                    continue;
                }
                gone = true;
                if let Some(sockets) = stored.users.get_mut(&exit.user) {
                    *sockets -= 1;
                    if *sockets == 0 {
                        stored.users.remove(&exit.user);
                        stored.listed.remove(&exit.user);
                        if let Some(left) = exit.left {
                            self.append(room, stored, left, None, None)?;
                        }
                    }
                }
            }
            if gone && stored.members.is_empty() {
                let grace = after(self.clock.now(), self.grace(room));
                stored.expires = grace.max(stored.kept_until);
            }
            Ok(())
        })
    }

    async fn create(
        &self,
        room: &Room,
        fields: Fields,
        roles: Vec<(UserId, String)>,
        chat: Vec<Bytes>,
    ) -> Result<Created, Error> {
        Ok(self.with(room, |stored| match stored.open() {
            Ok(()) => Created::Existing,
            Err(Error::Ended) => Created::Ended,
            Err(_) => {
                stored.begin(fields);
                for (user, role) in roles {
                    stored.set(&format!("{ROLE}{user}"), role);
                }
                stored.chat = chat.into_iter().map(|line| (0, line)).collect();
                let life = self.keep.unvisited(room);
                let expires = life.and_then(|life| after(self.clock.now(), life));
                stored.expires = expires.map(|at| at.max(stored.kept_until.unwrap_or(at)));
                Created::New
            }
        }))
    }

    async fn end(&self, room: &Room, draft: Draft) -> Result<Vec<Envelope>, Error> {
        self.with(room, |stored| {
            stored.open()?;
            let now = self.clock.now();
            self.append(room, stored, draft, None, None)?;
            let last = stored.last(stored.log.len().min(LAST));
            *stored = Stored {
                epoch: stored.epoch,
                seq: stored.seq,
                fields: vec![("ended".to_owned(), now.to_string())],
                expires: after(now, self.keep.ended_ttl),
                listened: stored.listened,
                // What the services behind us have not been told is told them yet.
                hooks: std::mem::take(&mut stored.hooks),
                ..Stored::default()
            };
            Ok(last)
        })
    }

    async fn standing(&self, room: &Room, user: &UserId) -> Result<Access, Error> {
        self.with(room, |stored| {
            stored.open()?;
            Ok(Access {
                matched: stored.field("matched").is_some(),
                role: stored.field(RECORDED).map(|_| stored.role_of(user)),
            })
        })
    }

    async fn admitted(&self, room: &Room) -> Result<Vec<UserId>, Error> {
        Ok(self.with(room, |stored| super::users(stored.field("users"))))
    }

    async fn snapshot(&self, room: &Room) -> Result<Snapshot, Error> {
        Ok(self.with(room, |stored| {
            let mut fields: HashMap<_, _> = stored.fields.iter().cloned().collect();
            if stored.epoch.is_some() {
                fields.insert("version".to_owned(), stored.version.to_string());
            }
            Snapshot {
                epoch: stored.epoch,
                seq: stored.seq,
                fields,
                members: stored
                    .members
                    .values()
                    .take(MEMBERS_LISTED)
                    .cloned()
                    .collect(),
                users: stored.users.len() as u64,
                chat: stored.chat.iter().cloned().collect(),
            }
        }))
    }

    async fn known(&self, room: &Room, user: &UserId, command: &str) -> Result<Option<u64>, Error> {
        Ok(self.with(room, |stored| {
            let once = (user.clone(), command.to_owned());
            let (first, until) = stored.once.get(&once)?;
            (*until > self.clock.now()).then_some(first.position.seq)
        }))
    }

    async fn members(
        &self,
        room: &Room,
        with: Option<&UserId>,
    ) -> Result<Vec<(SocketId, Bytes)>, Error> {
        Ok(self.with(room, |stored| {
            let sockets = |user| stored.users.get(user).copied().unwrap_or(0);
            if with.is_some_and(|user| sockets(user) < 2) {
                return Vec::new();
            }
            let members = stored.members.iter().take(MEMBERS_LISTED);
            members.map(|(id, record)| (*id, record.clone())).collect()
        }))
    }

    async fn replay(&self, room: &Room, since: Position) -> Result<Replay, Error> {
        Ok(self
            .with(room, |stored| {
                let missed = stored.since(since)?;
                (missed <= stored.log.len()).then(|| stored.last(missed))
            })
            .map_or(Replay::Gone, Replay::Events))
    }

    async fn recent(&self, room: &Room, since: Position) -> Result<Replay, Error> {
        Ok(self
            .with(room, |stored| {
                let missed = stored.since(since)?;
                let left = missed.min(stored.log.len());
                (missed == 0 || left > 0).then(|| stored.last(left))
            })
            .map_or(Replay::Gone, Replay::Events))
    }

    async fn position(&self, room: &Room) -> Result<Option<Position>, Error> {
        Ok(self.with(room, |stored| {
            let open = stored.open().is_ok();
            stored.epoch.filter(|_| open).map(|epoch| Position {
                epoch,
                seq: stored.seq,
            })
        }))
    }

    async fn rotate(&self, room: &Room, from: Epoch) -> Result<(), Error> {
        self.with(room, |stored| {
            if stored.epoch == Some(from) {
                stored.epoch = Some(Epoch::random());
                if !matches!(room, Room::User(_)) {
                    stored.log.clear();
                }
            }
            Ok(())
        })
    }

    async fn listen(&self, room: &Room) -> Result<(), Error> {
        self.with(room, |stored| stored.listened = true);
        Ok(())
    }

    async fn listen_again(&self, _: &Room) {
        // Nothing is lost on the way.
    }

    async fn unlisten(&self, room: &Room) {
        self.with(room, |stored| stored.listened = false);
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    fn hears(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn close(&self) {
        let sweeper = self.sweeper.lock().take();
        if let Some(sweeper) = sweeper {
            sweeper.abort();
            // Aborted on purpose: the error says just that.
            let _ = sweeper.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::{Audience, InboxKeep};
    use crate::ids::{EventId, NodeId, SessionId};

    struct Deaf;

    impl Ear for Deaf {
        fn heard(&self, _: Envelope) {}
        fn gap(&self, _: Room) {}
        fn resumed(&self) {}
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    /// Guards the two lives of a session: short after people left, long before anybody came.
    #[tokio::test]
    async fn a_session_lives_as_long_as_its_settings_say() {
        let clock = Clock::manual(1_000_000);
        let keep = Keep {
            log_length: 10,
            log_ttl: HOUR,
            chat_history: 10,
            idempotency: HOUR,
            session_grace: Duration::from_secs(300),
            session_ttl: 24 * HOUR,
            ended_ttl: HOUR,
            inbox: InboxKeep {
                absent: true,
                length: 10,
                bytes: 1_000,
                ttl: HOUR,
            },
            agent_ttl: HOUR,
            hooks_length: 10,
        };
        let memory = Memory::new(keep, clock.clone(), Arc::new(Deaf));
        let room = Room::Session(SessionId::parse("s").unwrap());
        let draft = || Draft {
            id: EventId::new(),
            at: clock.now(),
            origin: None,
            audience: Audience::All,
            event: Bytes::new(),
        };
        let (socket, user) = (
            SocketId::next(NodeId::random()),
            UserId::parse("ann").unwrap(),
        );
        memory
            .create(&room, Vec::new(), Vec::new(), Vec::new())
            .await
            .unwrap();
        clock.advance(23 * 3_600_000);
        let entry = Entry {
            socket,
            user: user.clone(),
            member: Bytes::new(),
            joined: Some(draft()),
            create: None,
        };
        memory.enter(&room, entry).await.unwrap();
        let made = memory.create(&Room::Lobby, Vec::new(), Vec::new(), Vec::new());
        assert_eq!(made.await, Ok(Created::New));
        clock.advance(100 * 3_600_000);
        let lobby = memory.position(&Room::Lobby).await;
        assert!(lobby.is_ok_and(|at| at.is_some()), "it stays");
        assert_eq!(memory.standing(&room, &user).await, Ok(Access::default()));
        let left = Some(draft());
        memory
            .leave(
                &room,
                vec![Exit {
                    socket,
                    user: user.clone(),
                    left,
                }],
            )
            .await
            .unwrap();
        clock.advance(299_000);
        assert_eq!(memory.standing(&room, &user).await, Ok(Access::default()));
        clock.advance(1_000);
        assert_eq!(memory.standing(&room, &user).await, Err(Error::Missing));
    }
}
