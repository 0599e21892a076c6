//! The sessions' texts on this node: documents that are warm while somebody is there, changes on their way to the store,
//! and what is told of them to sockets that take whole texts.
//!
//! [`desk`] is one document and how it stands to the stored one; [`load`] reads and heals it, [`whole`] takes whole texts,
//! [`batch`] what sockets say that speak Yjs, [`upkeep`] does what nobody waits for.

mod aware;
mod batch;
mod desk;
mod load;
mod past;
mod queue;
mod talk;
mod upkeep;
mod view;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio_util::task::TaskTracker;

use self::desk::Desk;
pub(super) use self::desk::Heard;
pub(super) use self::load::Renewed;
pub use self::past::Past;
pub(super) use self::talk::{Page, TICK};
pub(super) use self::whole::{Sender, Unwritten, Written};
use super::pack;
use super::relay::Inlet;
use super::roster::Roster;
use super::saver::{Kept, Unsaved};
use crate::backplane::{Audience, Change, Committed, Error, Fields, SharedBackplane, TextEntry};
use crate::domain::documents::{self, Entry};
use crate::hub::Hub;
use crate::ids::{Epoch, EventId, Room, SessionId, SocketId, UserId};

/// Close code of who kept a document that is no more: it is to begin with an empty one.
pub(super) const ANOTHER: u16 = 4409;

#[derive(Debug, Clone)]
pub struct Config {
    /// How long a document stays after the last socket.
    pub linger: Duration,
    /// Between changes of one document by sockets that speak Yjs.
    pub batch: Duration,
    /// Versions behind the newest that can be made again, and bytes of updates kept for that.
    pub log_length: u64,
    pub log_bytes: usize,
    /// The longest text, in UTF-16 units.
    pub length: u64,
}

pub struct Texts {
    config: Config,
    desks: DashMap<SessionId, Arc<Desk>>,
    backplane: SharedBackplane,
    roster: Arc<Roster>,
    hub: Arc<Hub>,
    inlet: Inlet,
    unsaved: Arc<Unsaved>,
    tasks: TaskTracker,
}

/// Somebody's change.
struct By<'a> {
    user: &'a UserId,
    origin: Option<SocketId>,
    audience: Audience,
    /// The roles of which the room must give the user one.
    roles: Option<&'static [&'static str]>,
    once: Option<String>,
}

impl Texts {
    pub(super) fn new(
        config: Config,
        backplane: &SharedBackplane,
        roster: &Arc<Roster>,
        hub: &Arc<Hub>,
        (unsaved, inlet): (Arc<Unsaved>, Inlet),
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            desks: DashMap::new(),
            backplane: backplane.clone(),
            roster: roster.clone(),
            hub: hub.clone(),
            inlet,
            unsaved,
            tasks: TaskTracker::new(),
        })
    }

    /// The session's document, read if it is not there.
    pub async fn open(&self, session: &SessionId) -> Result<Arc<Desk>, Error> {
        let desk = self.desk(session);
        self.warm(&desk).await?;
        Ok(desk)
    }

    pub fn is_warm(&self, session: &SessionId) -> bool {
        self.find(session).is_some_and(|desk| desk.is_warm())
    }

    fn find(&self, session: &SessionId) -> Option<Arc<Desk>> {
        self.desks.get(session).map(|desk| desk.clone())
    }

    fn desk(&self, session: &SessionId) -> Arc<Desk> {
        let desk = match self.find(session) {
            Some(desk) => desk,
            None => {
                let desk = self.desks.entry(session.clone());
                let new = || Arc::new(Desk::new(session.clone()));
                desk.or_insert_with(new).clone()
            }
        };
        desk.upkeep(|upkeep| upkeep.used = Instant::now());
        desk
    }

    /// Whether the room gives the user one of the roles.
    async fn check_role(
        &self,
        desk: &Desk,
        user: &UserId,
        roles: &'static [&'static str],
    ) -> Result<(), Error> {
        let access = self.backplane.standing(&desk.room, user).await?;
        match roles.contains(&access.role.as_deref().unwrap_or_default()) {
            true => Ok(()),
            false => Err(Error::Forbidden),
        }
    }

    /// Stores a change that is applied to the document already, as `change` of its `begin`. Whoever calls has the desk's
    /// turn.
    async fn store(
        &self,
        desk: &Desk,
        flight: Flight<'_>,
        update: Vec<u8>,
        by: By<'_>,
    ) -> Result<Committed, Error> {
        let bytes = update.len();
        let user = by.user;
        let epoch = desk.with(|paper| paper.epoch);
        let epoch = epoch.ok_or_else(|| Error::Unavailable("the document is gone".to_owned()))?;
        let change = self.change(flight.id, epoch, update, by);
        let stored = self.backplane.commit(&desk.room, change).await;
        match &stored {
            // What is applied here is not what was stored then.
            Ok(committed) if committed.repeated => {}
            Ok(committed) => {
                desk.with(|paper| paper.answered(flight.id, committed.version, user, bytes));
                desk.upkeep(|upkeep| upkeep.changed_here());
                desk.moved.notify_waiters();
                flight.landed();
                self.note(desk, user, committed);
            }
            Err(_) => {}
        }
        stored
    }

    /// What is to be recorded of it: that something happened, and the text.
    fn note(&self, desk: &Desk, user: &UserId, committed: &Committed) {
        if !desk.session.is_recorded() {
            return;
        }
        let kept = desk.current().map(|(code, version)| Kept {
            position: committed.position,
            version,
            at: self.roster.clock.now(),
            user: user.clone(),
            code,
        });
        let seq = committed.position.seq;
        self.unsaved.note_commit(&desk.session, seq, kept);
    }

    fn change(&self, id: EventId, epoch: Epoch, update: Vec<u8>, by: By<'_>) -> Change {
        let entry = Entry {
            user: by.user.clone(),
            at: self.roster.clock.now(),
            update,
        };
        let packed = pack(&entry);
        let event = documents::changed(by.user.clone(), Some(entry.update));
        let mut draft = self.roster.draft(&event, by.origin, by.audience);
        draft.id = id;
        Change {
            logged: documents::logged(&event).map(|event| pack(&event)),
            fields: Fields::from([("code_by", by.user.to_string())]),
            text: Some(TextEntry {
                entry: packed,
                epoch,
            }),
            by: by.roles.map(|roles| (by.user.clone(), roles)),
            once: by.once.map(|id| (by.user.clone(), id)),
            ..Change::of(draft)
        }
    }

    /// Everybody here is told the text again, once it is known.
    fn tell_again(&self, room: &Room) {
        self.inlet.tell_text(room);
    }

    /// Ends what is on its way.
    pub async fn stop(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        let desks: Vec<_> = self.desks.iter().map(|desk| desk.value().clone()).collect();
        for desk in desks {
            if desk.upkeep(|upkeep| upkeep.show.take()).is_some()
                && let Err(error) = self.show(&desk).await
            {
                tracing::debug!(session = %desk.session, %error, "a text is shown by another node");
            }
        }
    }
}

/// A change that is applied and not answered. Should nobody be there to hear the answer, the document is thrown away:
/// it says what may never be stored.
struct Flight<'a> {
    texts: &'a Texts,
    desk: &'a Desk,
    id: EventId,
    landed: bool,
}

impl<'a> Flight<'a> {
    fn new(texts: &'a Texts, desk: &'a Desk, id: EventId) -> Self {
        Self {
            texts,
            desk,
            id,
            landed: false,
        }
    }

    fn landed(mut self) {
        self.landed = true;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.landed {
            self.desk.set_aside();
            self.texts.tell_again(&self.desk.room);
        }
    }
}
