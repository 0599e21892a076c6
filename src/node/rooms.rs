//! How sockets come into rooms and go: into the backplane first, then to the relay; out of both, however long that takes.

use std::sync::Arc;
use std::time::Duration;

use super::{Departure, Node, NotAdmitted, Participant};
use crate::backplane::{BANNED, Error, Exit, Link};
use crate::dialects::Dialect;
use crate::domain::sessions::begin_with;
use crate::hub::Socket;
use crate::ids::{Position, Room, SessionId};

/// Wait before leaving a room is tried again.
const LEAVE_AGAIN: Duration = Duration::from_millis(200);
const LEAVE_AGAIN_MOST: Duration = Duration::from_secs(10);

impl Node {
    /// Brings a socket into a session: listen, enter, then the relay takes a snapshot, greets and goes
    /// live; `since` is where it was, when it comes back. When it returns the greeting is queued; on an error nothing of the socket is left.
    pub async fn join(
        self: &Arc<Self>,
        session: SessionId,
        dialect: Dialect,
        socket: Arc<Socket>,
        since: Option<Position>,
    ) -> Result<Participant, NotAdmitted> {
        let room = Room::Session(session);
        self.hub.register(socket.clone());
        let mut participant = Participant {
            socket,
            dialect,
            room: Some(room.clone()),
            visit: None,
            seat: None,
        };
        let brought = self.bring_in(&participant, &room, since, None).await;
        if brought.is_ok() {
            let (id, now) = (participant.socket.id, self.clock().now());
            let user = &participant.socket.user;
            self.show_change(&room, id, user, true).await;
            participant.seat = Some(self.roster.presence.begin(id, room, now));
        }
        self.settle(participant, brought)
    }

    /// Counts who came in; of who did not, nothing is left.
    pub(super) fn settle(
        &self,
        participant: Participant,
        came: Result<(), NotAdmitted>,
    ) -> Result<Participant, NotAdmitted> {
        match came {
            Ok(()) => {
                self.roster.tally.opened();
                Ok(participant)
            }
            Err(error) => {
                self.hub.unregister(&participant.socket);
                Err(error)
            }
        }
    }

    /// Brings a registered socket into a room; on an error nothing of it is left there. A room that is made now
    /// begins with that text.
    pub(super) async fn bring_in(
        self: &Arc<Self>,
        participant: &Participant,
        room: &Room,
        since: Option<Position>,
        text: Option<String>,
    ) -> Result<(), NotAdmitted> {
        self.step_in(participant, room, text).await?;
        self.greet(participant, room, since, None).await
    }

    /// Makes it a member, who hears nothing yet.
    pub(super) async fn step_in(
        self: &Arc<Self>,
        participant: &Participant,
        room: &Room,
        text: Option<String>,
    ) -> Result<(), NotAdmitted> {
        let socket = &participant.socket;
        self.listening.begin(room).await?;
        let entered = async {
            // Registered first, looked second: whoever closes all sockets has seen this one, or we see that.
            self.may_stay(socket)?;
            // Sessions alone may be for those only whom a match named, and recorded ones are made of their records.
            let create = match room {
                Room::Session(session) => self.config.autocreate && !session.is_recorded(),
                // One that was deleted is not there again, whoever still knows its id.
                Room::Workspace(id) => self.config.autocreate && !id.is_made(),
                _ => true,
            };
            let mut create = create.then(|| self.roster.first_fields(room)).flatten();
            if let (Some(text), Some(fields)) = (text, &mut create) {
                begin_with(text, fields);
            }
            let role = self
                .roster
                .role(&self.backplane, room, &socket.user)
                .await?;
            let mut entry = self.roster.entry(room, socket, create, role);
            if let (Room::Couriers, Some(came)) = (room, &mut entry.joined) {
                let few = self.roster.few(&self.backplane, &socket.user);
                few.await?.limit(came);
            }
            self.backplane.enter(room, entry).await?;
            self.unsaved.note_event(room);
            Ok(())
        };
        let entered = entered.await;
        if entered.is_err() {
            self.depart(socket, room, Departure::Clean);
        }
        entered
    }

    /// Has a member told where the room is, and all that happens there from then on.
    pub(super) async fn greet(
        self: &Arc<Self>,
        participant: &Participant,
        room: &Room,
        since: Option<Position>,
        ask: Option<String>,
    ) -> Result<(), NotAdmitted> {
        let socket = &participant.socket;
        let greeted = async {
            self.relay.open(room, socket.clone(), since, ask).await?;
            // Seated first, looked second: whoever was banned in between is shown out, or seen here. What cannot be
            // asked now is asked when it does something.
            if room.session().is_some_and(SessionId::is_recorded)
                && let Ok(access) = self.backplane.standing(room, &socket.user).await
                && access.role.as_deref() == Some(BANNED)
            {
                return Err(Error::Forbidden);
            }
            Ok(())
        };
        let greeted = greeted.await;
        if greeted.is_err() {
            self.depart(socket, room, Departure::Clean);
        }
        Ok(greeted?)
    }

    /// Whether the node still takes the socket, and its token holds.
    pub(super) fn may_stay(&self, socket: &Socket) -> Result<(), NotAdmitted> {
        if self.is_closing() || !self.life.has(socket.id) {
            return Err(NotAdmitted::Leaving);
        }
        if self.passes.is_void(socket.id) {
            return Err(NotAdmitted::Void);
        }
        Ok(())
    }

    /// Takes a socket out of all its rooms; the rest goes on in the background.
    pub fn leave(self: &Arc<Self>, participant: Participant, departure: Departure) {
        let Participant {
            room,
            socket,
            visit,
            dialect,
            ..
        } = participant;
        let session = room.as_ref().and_then(Room::session).cloned();
        let is_visitor = visit.is_some();
        let others = visit.map(|visit| visit.take_rooms()).unwrap_or_default();
        for room in room.into_iter().chain(others) {
            self.depart(&socket, &room, departure);
        }
        self.roster.presence.end(socket.id);
        if let (Dialect::Yjs, Some(session)) = (dialect, &session) {
            self.texts.farewell(session, socket.id);
        }
        self.roster.couriers.forget(socket.id);
        if is_visitor {
            self.followers.remove(&socket.user, socket.id);
            self.let_runs_go(&socket.user, socket.id);
        }
        self.hub.unregister(&socket);
    }

    /// Takes a socket out of a room.
    pub(super) fn depart(self: &Arc<Self>, socket: &Socket, room: &Room, departure: Departure) {
        self.hub.leave(room, socket);
        if matches!(room, Room::Agent(_)) {
            // Who listens to an agent is no member.
            let (node, room) = (self.clone(), room.clone());
            self.farewells
                .spawn(async move { node.stop_hearing(&room).await });
            return;
        }
        // Whoever has no socket has an inbox, from that moment on.
        let inbox = matches!(room, Room::User(_));
        if departure == Departure::HandedOver && !inbox {
            return;
        }
        let (node, room) = (self.clone(), room.clone());
        // The farewell must not hold the socket: the connection ends with its last owner.
        let mut exit = self
            .roster
            .exit(&room, socket.id, &socket.user, &socket.name);
        self.farewells.spawn(async move {
            if departure == Departure::Lost && !inbox {
                let grace = tokio::time::sleep(node.config.leave_grace);
                if node.stopping.run_until_cancelled(grace).await.is_none() {
                    // Whoever reaps this node tells the others.
                    return;
                }
            }
            if room == Room::Couriers && !node.address_farewell(&mut exit).await {
                return;
            }
            node.show_change(&room, exit.socket, &exit.user, false)
                .await;
            // Who could not be taken out is for whoever reaps this node, who must find the room.
            if node.retire(&room, exit).await {
                node.stop_hearing(&room).await;
            }
        });
    }

    /// One socket less hears the room.
    pub(super) async fn stop_hearing(&self, room: &Room) {
        if self.listening.end(room).await {
            self.relay.forget(room).await;
        }
    }

    /// A place less is this node's.
    pub(super) async fn stop_holding(&self, room: &Room) {
        if self.listening.release(room).await {
            self.relay.forget(room).await;
        }
    }

    /// Leaves in the backplane; while that is away, again and again: the member must not stay.
    pub(super) async fn retire(&self, room: &Room, exit: Exit) -> bool {
        self.unsaved.note_event(room);
        self.insist(room, || self.backplane.leave(room, vec![exit.clone()]))
            .await
    }

    /// Does it until it is done; false when the node stops before, which cannot wait for it.
    pub(super) async fn insist<F>(&self, room: &Room, act: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<(), Error>>,
    {
        let mut link = self.backplane.link();
        let mut wait = LEAVE_AGAIN;
        loop {
            let up = async { link.wait_for(|link| *link == Link::Up).await.is_ok() };
            let reached = tokio::select! {
                biased;
                up = up => up,
                () = self.stopping.cancelled() => false,
            };
            if !reached {
                return false;
            }
            match act().await {
                Err(Error::Unavailable(detail)) => {
                    tracing::debug!(%room, detail, "leaving must wait");
                    let pause = tokio::time::sleep(wait);
                    if self.stopping.run_until_cancelled(pause).await.is_none() {
                        return false;
                    }
                    // A store that answers and refuses is not to be stormed.
                    wait = (wait * 2).min(LEAVE_AGAIN_MOST);
                }
                _ => return true,
            }
        }
    }
}
