//! What the backplane is told of this node's sockets: who enters, who leaves, what a member is.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};

use super::courier::Couriers;
use super::life::Life;
use super::presence::{Presence, Seat};
use super::tally::Tally;
use super::{Denied, NOT_ADMITTED, NotAdmitted, SENT_AWAY, pack, relay};
use crate::backplane::{Audience, Draft, Entry, Error, Exit, Fields, SharedBackplane};
use crate::clock::Clock;
use crate::dialects::Dialect;
use crate::domain::presence::ACTIVE;
use crate::domain::{Event, Member, sessions, workspaces};
use crate::hub::{Hub, Socket};
use crate::ids::{EventId, Room, SocketId, UserId};
use crate::records::Records;

/// Sockets of a room entered at once, when they are entered again.
const ENTERED_AT_ONCE: usize = 32;

pub struct Roster {
    pub(super) life: Arc<Life>,
    pub(super) tally: Tally,
    pub clock: Clock,
    pub(super) couriers: Couriers,
    pub(super) presence: Presence,
    /// `None`: nothing is kept beyond its session.
    pub(super) records: Option<Arc<Records>>,
}

impl Roster {
    /// What a room is made with when somebody comes before any match.
    pub fn first_fields(&self, room: &Room) -> Option<Fields> {
        match room {
            Room::Session(session) => Some(sessions::first_fields(session, self.clock.now())),
            Room::Workspace(id) => Some(workspaces::first_fields(id, self.clock.now())),
            _ => Some(Fields::new()),
        }
    }

    /// A socket's entry into a room, which is made if it is missing and `create` says of what; with the role that the
    /// room gives its user, if it gives any.
    pub fn entry(
        &self,
        room: &Room,
        socket: &Socket,
        create: Option<Fields>,
        role: Option<String>,
    ) -> Entry {
        let (user, name) = (socket.user.clone(), socket.name.clone());
        let joined = match room {
            Room::Session(_) | Room::Workspace(_) => Some(Event::Joined { user, name, role }),
            Room::Couriers => Some(Event::CameOnline { user, name }),
            Room::Agent(_) | Room::User(_) | Room::Lobby => None,
        };
        let draft = |event| self.draft(&event, Some(socket.id), Audience::Except(socket.id));
        Entry {
            socket: socket.id,
            user: socket.user.clone(),
            member: match room {
                Room::Couriers => self.courier(socket),
                _ => self.member(socket, self.presence.of(socket.id).as_deref()),
            },
            joined: joined.map(draft),
            create,
        }
    }

    /// What the room gives a user, if it gives roles.
    pub async fn role(
        &self,
        backplane: &SharedBackplane,
        room: &Room,
        user: &UserId,
    ) -> Result<Option<String>, Error> {
        match room.session().filter(|session| session.is_recorded()) {
            Some(_) => Ok(backplane.standing(room, user).await?.role),
            None => Ok(None),
        }
    }

    pub fn exit(&self, room: &Room, socket: SocketId, user: &UserId, name: &Arc<str>) -> Exit {
        let gone = user.clone();
        let left = match room {
            Room::Session(_) | Room::Workspace(_) => Some(Event::Left {
                user: gone,
                name: Some(name.clone()),
            }),
            Room::Couriers => Some(Event::WentOffline { user: gone }),
            Room::Agent(_) | Room::User(_) | Room::Lobby => None,
        };
        Exit {
            socket,
            user: user.clone(),
            left: left.map(|left| self.draft(&left, Some(socket), Audience::All)),
        }
    }

    /// Whether the socket is one of this node's.
    pub fn has(&self, socket: SocketId) -> bool {
        self.life.has(socket)
    }

    /// A socket's record in its room, packed.
    pub(super) fn member(&self, socket: &Socket, seat: Option<&Seat>) -> Bytes {
        let mut record = self.record(socket);
        if let Some(seat) = seat {
            let look = seat.look();
            record.cursor = look.cursor;
            record.file = look.file;
            record.viewport = look.viewport;
            record.status = seat.status().to_owned();
        }
        pack(&record)
    }

    /// The same among the couriers.
    fn courier(&self, socket: &Socket) -> Bytes {
        let mut record = self.record(socket);
        if let Some(profile) = self.couriers.profile(socket.id) {
            record.backend_url = profile.backend_url;
            record.at = profile.since;
        }
        pack(&record)
    }

    fn record(&self, socket: &Socket) -> Member {
        Member {
            user: socket.user.clone(),
            name: socket.name.clone(),
            role: None,
            node: self.life.id().to_string(),
            cursor: None,
            file: None,
            viewport: None,
            status: ACTIVE.to_owned(),
            at: self.clock.now(),
            backend_url: None,
            yjs: socket.tongue == Dialect::Yjs.tongue(),
        }
    }

    pub fn draft(&self, event: &Event, origin: Option<SocketId>, audience: Audience) -> Draft {
        Draft {
            id: EventId::new(),
            at: self.clock.now(),
            origin,
            audience,
            event: pack(event),
        }
    }

    /// Enters every socket this node has in the room once more: whom the backplane knows stays as it is. A room
    /// that it lost is made again, of what is `kept` of it. Sockets of a former life are on their way out.
    pub async fn enter_all(
        &self,
        backplane: &SharedBackplane,
        hub: &Hub,
        room: &Room,
        kept: Option<Fields>,
    ) -> Result<(), Error> {
        if let Room::Agent(agent) = room {
            // Who listens to an agent is no member; but there must be something to listen to.
            return match backplane.position(room).await? {
                Some(_) => Ok(()),
                None => relay::make_agent_room(backplane, room, agent).await,
            };
        }
        if let Room::Workspace(id) = room {
            self.restore_workspace(backplane, id)
                .await
                .map_err(|why| error(why.into()))?;
        }
        let recorded = room.session().filter(|session| session.is_recorded());
        let create = &match recorded {
            None => kept.or_else(|| self.first_fields(room)),
            Some(session) => {
                if backplane.position(room).await?.is_none() {
                    self.restore(backplane, session).await.map_err(error)?;
                }
                None
            }
        };
        backplane
            .hold(self.life.id(), std::slice::from_ref(room))
            .await?;
        let sockets = hub.sockets_in(room).into_iter();
        stream::iter(sockets.filter(|socket| self.life.has(socket.id)).map(Ok))
            .try_for_each_concurrent(ENTERED_AT_ONCE, |socket| async move {
                let role = self.role(backplane, room, &socket.user).await?;
                let mut entry = self.entry(room, &socket, create.clone(), role);
                // Where it had been taken out, it has itself heard that its user left.
                match (room, &mut entry.joined) {
                    (Room::Session(_) | Room::Workspace(_), Some(joined)) => {
                        joined.audience = Audience::All
                    }
                    (Room::Couriers, Some(came)) => {
                        self.few(backplane, &socket.user).await?.limit(came);
                    }
                    _ => {}
                }
                match backplane.enter(room, entry).await {
                    // Banned while nobody could tell: the others go on.
                    Err(Error::Forbidden) => {
                        socket.close(NOT_ADMITTED, SENT_AWAY);
                        return Ok(());
                    }
                    entered => entered?,
                }
                // It may have left meanwhile, and its leaving been overtaken by our entering.
                if !hub.is_seated(room, &socket) {
                    let exit = self.exit(room, socket.id, &socket.user, &socket.name);
                    backplane.leave(room, vec![exit]).await?;
                }
                Ok(())
            })
            .await
    }
}

/// Records that are away are no reason to send anybody away.
fn error(why: Denied) -> Error {
    match why {
        Denied::Node(NotAdmitted::Backplane(error)) => error,
        other => Error::Unavailable(other.to_string()),
    }
}
