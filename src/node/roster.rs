//! What the backplane is told of this node's sockets: who enters, who leaves, what a member is.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};

use super::life::Life;
use super::pack;
use super::tally::Tally;
use crate::backplane::{Audience, Draft, Entry, Error, Exit, Fields, SharedBackplane};
use crate::clock::Clock;
use crate::domain::presence::ACTIVE;
use crate::domain::{Cursor, Event, Member, sessions};
use crate::hub::{Hub, Socket};
use crate::ids::{EventId, Room, SocketId, UserId};

/// Sockets of a room entered at once, when they are entered again.
const ENTERED_AT_ONCE: usize = 32;

pub struct Roster {
    pub(super) life: Arc<Life>,
    pub(super) tally: Tally,
    pub clock: Clock,
}

impl Roster {
    /// What a room is made with when somebody comes before any match.
    pub fn first_fields(&self, room: &Room) -> Option<Fields> {
        let session = room.session()?;
        Some(sessions::first_fields(session, self.clock.now()))
    }

    /// A socket's entry into a room, which is made if it is missing and `create` says of what.
    pub fn entry(&self, socket: &Socket, create: Option<Fields>) -> Entry {
        let joined = Event::Joined {
            user: socket.user.clone(),
            name: socket.name.clone(),
        };
        Entry {
            socket: socket.id,
            user: socket.user.clone(),
            member: self.member(socket, None),
            joined: self.draft(&joined, Some(socket.id), Audience::Except(socket.id)),
            create,
        }
    }

    pub fn exit(&self, socket: SocketId, user: &UserId) -> Exit {
        let left = Event::Left { user: user.clone() };
        Exit {
            socket,
            user: user.clone(),
            left: self.draft(&left, Some(socket), Audience::All),
        }
    }

    /// Whether the socket is one of this node's.
    pub fn has(&self, socket: SocketId) -> bool {
        self.life.has(socket)
    }

    /// A socket's record in its room, packed.
    pub fn member(&self, socket: &Socket, cursor: Option<Cursor>) -> Bytes {
        pack(&Member {
            user: socket.user.clone(),
            name: socket.name.clone(),
            role: None,
            node: self.life.id().to_string(),
            cursor,
            status: ACTIVE.to_owned(),
            at: self.clock.now(),
        })
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
        let create = &kept.or_else(|| self.first_fields(room));
        backplane
            .hold(self.life.id(), std::slice::from_ref(room))
            .await?;
        let sockets = hub.sockets_in(room).into_iter();
        stream::iter(sockets.filter(|socket| self.life.has(socket.id)).map(Ok))
            .try_for_each_concurrent(ENTERED_AT_ONCE, |socket| async move {
                let mut entry = self.entry(&socket, create.clone());
                // Where it had been taken out, it has itself heard that its user left.
                entry.joined.audience = Audience::All;
                backplane.enter(room, entry).await?;
                // It may have left meanwhile, and its leaving been overtaken by our entering.
                if !hub.is_seated(room, &socket) {
                    let exit = self.exit(socket.id, &socket.user);
                    backplane.leave(room, vec![exit]).await?;
                }
                Ok(())
            })
            .await
    }
}
