//! Sockets that came through no session's door: they enter rooms by themselves, several at a time, and leave them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Departure, Handled, Node, NotAdmitted, Participant, is_trusted};
use crate::auth::{Identity, Role};
use crate::backplane::{Error, Link};
use crate::dialects::socketio::{Said, Talk, raw};
use crate::dialects::workspace::{self, Scope};
use crate::dialects::{Dialect, Reply};
use crate::domain::{Code, Command, Reject, Voice};
use crate::hub::Socket;
use crate::ids::{Position, Room, SessionId};

/// What such a socket has beside the others.
pub(super) struct Visit {
    /// Of who speaks in packets.
    talk: Option<Mutex<Talk>>,
    rooms: Mutex<Rooms>,
    /// As the token says that it shows now.
    identity: Mutex<Option<Identity>>,
    /// What its door speaks of.
    pub(super) scope: Scope,
}

/// The rooms a socket is in, or on its way into.
#[derive(Default)]
struct Rooms {
    all: Vec<Place>,
    /// The socket is gone: it comes into no more.
    gone: bool,
}

struct Place {
    room: Room,
    /// False while a task of its own brings it in: that one undoes what it did when the place is gone.
    settled: bool,
    /// Because its user follows the agent.
    followed: bool,
}

/// What such a token does not open.
pub const FOR_SESSIONS: &str = "the token is for certain sessions alone";

/// Close codes of a conversation that cannot go on, and of one that its client ends.
const BROKEN: u16 = 4400;
const NORMAL: u16 = 1000;

impl Visit {
    pub fn is_in(&self, room: &Room) -> bool {
        self.find(room, |_| true)
    }

    /// Not while it is on its way in.
    fn is_settled_in(&self, room: &Room) -> bool {
        self.find(room, |place| place.settled)
    }

    fn find(&self, room: &Room, is_so: impl Fn(&Place) -> bool) -> bool {
        let rooms = self.rooms.lock();
        let place = rooms.all.iter().find(|place| place.room == *room);
        place.is_some_and(is_so)
    }

    pub(super) fn keep(&self, room: Room) {
        self.rooms.lock().all.push(Place {
            room,
            settled: true,
            followed: false,
        });
    }

    /// The same on the way in, for a task of its own; false when it is there already, or the socket is gone.
    pub(super) fn keep_new(&self, room: &Room, followed: bool) -> bool {
        let mut rooms = self.rooms.lock();
        if rooms.gone {
            return false;
        }
        let known = rooms.all.iter_mut().find(|place| place.room == *room);
        if let Some(place) = known {
            place.followed |= followed;
            return false;
        }
        rooms.all.push(Place {
            room: room.clone(),
            settled: false,
            followed,
        });
        true
    }

    /// It is in; false when it is not to be any more.
    pub(super) fn settle(&self, room: &Room) -> bool {
        let mut rooms = self.rooms.lock();
        let known = rooms.all.iter_mut().find(|place| place.room == *room);
        known.map(|place| place.settled = true).is_some()
    }

    /// Of those, the agents that its user follows.
    pub(super) fn followed(&self) -> Vec<Room> {
        let rooms = self.rooms.lock();
        let followed = rooms.all.iter().filter(|place| place.followed);
        followed.map(|place| place.room.clone()).collect()
    }

    /// Those of the same kind among them.
    fn like(&self, room: &Room) -> usize {
        let kind = std::mem::discriminant(room);
        let rooms = self.rooms.lock();
        let alike = |place: &&Place| std::mem::discriminant(&place.room) == kind;
        rooms.all.iter().filter(alike).count()
    }

    pub(super) fn is_for_sessions(&self) -> bool {
        let identity = self.identity.lock();
        identity
            .as_ref()
            .is_some_and(|identity| identity.sessions.is_some())
    }

    /// It shows another token.
    pub(super) fn renew(&self, identity: Identity) {
        *self.identity.lock() = Some(identity);
    }

    /// A packet that is not carried out: under which number its sender waits for an answer.
    pub fn pass_over(&self, text: &str) -> Option<u64> {
        self.talk.as_ref()?.lock().pass_over(text)
    }

    /// The socket goes: out of these. Who is bringing it into another sees that by itself.
    pub fn take_rooms(&self) -> Vec<Room> {
        let mut rooms = self.rooms.lock();
        rooms.gone = true;
        let all = std::mem::take(&mut rooms.all).into_iter();
        let settled = all.filter(|place| place.settled);
        settled.map(|place| place.room).collect()
    }

    /// True when it was in, so that it is now to be brought out.
    pub(super) fn take_room(&self, room: &Room) -> bool {
        let mut rooms = self.rooms.lock();
        let at = rooms.all.iter().position(|place| place.room == *room);
        at.is_some_and(|at| rooms.all.swap_remove(at).settled)
    }
}

impl Node {
    /// Takes in a socket that is in no room yet.
    pub fn welcome(
        self: &Arc<Self>,
        dialect: Dialect,
        scope: Scope,
        socket: Arc<Socket>,
        identity: Option<Identity>,
    ) -> Result<Participant, NotAdmitted> {
        self.hub.register(socket.clone());
        let visit = Visit {
            talk: (dialect == Dialect::SocketIo).then(|| Mutex::new(Talk::begun())),
            rooms: Mutex::default(),
            identity: Mutex::new(identity),
            scope,
        };
        let participant = Participant {
            socket,
            dialect,
            room: None,
            visit: Some(Arc::new(visit)),
            seat: None,
        };
        let may = self.may_stay(&participant.socket);
        self.settle(participant, may)
    }

    /// For which agents somebody may speak. On an open node everybody is believed.
    pub fn voice(&self, identity: Option<&Identity>) -> Voice {
        match identity {
            _ if !self.wants_tokens() => Voice::All,
            Some(identity) if identity.sessions.is_some() => Voice::None,
            Some(identity) if is_trusted(identity) => Voice::All,
            Some(identity) if identity.role == Some(Role::Agent) => Voice::Own,
            _ => Voice::None,
        }
    }

    pub(super) fn voice_of(&self, visit: &Visit) -> Voice {
        self.voice(visit.identity.lock().as_ref())
    }

    /// Carries out a packet.
    pub(super) fn converse(
        self: &Arc<Self>,
        participant: &mut Participant,
        visit: &Arc<Visit>,
        packet: Packet<'_>,
    ) -> Option<Handled> {
        let said = {
            let talk = visit.talk.as_ref().map(Mutex::lock);
            match (packet, talk) {
                (Packet::Text(text), Some(mut talk)) => talk.take(text),
                (Packet::Text(text), None) if participant.dialect == Dialect::Workspace => {
                    workspace::read(text, visit.scope)
                }
                (Packet::Text(text), None) => raw::read(text),
                (Packet::Binary, Some(mut talk)) => talk.binary(),
                (Packet::Binary, None) => return None,
            }
        };
        Some(self.answer(participant, visit, said))
    }

    fn answer(
        self: &Arc<Self>,
        participant: &mut Participant,
        visit: &Arc<Visit>,
        said: Said,
    ) -> Handled {
        match said {
            Said::Nothing | Said::Connect { .. } => Handled::Done,
            Said::Elsewhere { namespace } => {
                let namespace = &namespace;
                self.say(participant, &Reply::NoNamespace { namespace });
                Handled::Done
            }
            Said::Leave => {
                participant.socket.close(NORMAL, "as asked");
                Handled::Done
            }
            Said::Broken(bad) => {
                self.door(participant).received(super::commands::BAD);
                participant.socket.close(BROKEN, &bad.to_string());
                Handled::Done
            }
            Said::Refused { reject, id, ack } => {
                self.door(participant).received(super::commands::BAD);
                let handled = self.refuse(participant, reject, id.as_deref());
                self.then_ack(participant, handled, ack)
            }
            Said::Command {
                command,
                room,
                id,
                ack,
            } => {
                self.door(participant).received(command.kind());
                let handled = self.carry_out_in(participant, visit, command, room, id);
                self.then_ack(participant, handled, ack)
            }
        }
    }

    fn carry_out_in(
        self: &Arc<Self>,
        participant: &mut Participant,
        visit: &Arc<Visit>,
        command: Command,
        room: Option<Room>,
        id: Option<String>,
    ) -> Handled {
        let Some(room) = room else {
            return self.carry_out(participant, command, id);
        };
        match command {
            Command::Enter { since } => {
                let (node, visit) = (self.clone(), visit.clone());
                let participant = participant.twin(Some(room.clone()));
                Handled::Later(Box::pin(async move {
                    match room.session() {
                        Some(session) => {
                            node.enter_by_itself(&participant, &visit, session.clone(), id)
                                .await;
                        }
                        None => {
                            node.go_inside(&participant, &visit, &room, since, id).await;
                        }
                    }
                }))
            }
            Command::Exit => {
                let (node, participant) = (self.clone(), participant.twin(None));
                let was_in = visit.take_room(&room);
                Handled::Later(Box::pin(async move {
                    if was_in {
                        node.walk_out(&participant.socket, &room).await;
                    }
                    if participant.dialect == Dialect::Workspace {
                        let (room, id) = (&room, id.as_deref());
                        node.say(&participant, &Reply::Gone { room, id });
                    }
                }))
            }
            _ if visit.is_in(&room) => {
                let mut participant = participant.twin(Some(room));
                self.carry_out(&mut participant, command, id)
            }
            _ => {
                let sentence = "you are not in this room: join it first";
                let reject = Reject::new(Code::NotFound, sentence);
                self.refuse(participant, reject, id.as_deref())
            }
        }
    }

    /// Out of a room before anything else is done: a leaving that came after the next entry would undo that.
    async fn walk_out(self: &Arc<Self>, socket: &Socket, room: &Room) {
        self.hub.leave(room, socket);
        if matches!(room, Room::Agent(_)) {
            return self.depart(socket, room, Departure::Clean);
        }
        let exit = self
            .roster
            .exit(room, socket.id, &socket.user, &socket.name);
        if self.backplane.leave(room, vec![exit]).await.is_err() {
            return self.depart(socket, room, Departure::Clean);
        }
        let (node, room) = (self.clone(), room.clone());
        self.farewells.spawn(async move {
            node.stop_hearing(&room).await;
        });
    }

    async fn enter_by_itself(
        self: &Arc<Self>,
        participant: &Participant,
        visit: &Visit,
        session: SessionId,
        id: Option<String>,
    ) {
        let Some(room) = &participant.room else {
            return;
        };
        let refuse = |reject| {
            self.refuse(participant, reject, id.as_deref());
        };
        let most = self.config.rooms_per_socket;
        if visit.is_in(room)
            && !self.hub.is_seated(room, &participant.socket)
            && visit.take_room(room)
        {
            // The session ended meanwhile; another of its name may have begun.
            self.walk_out(&participant.socket, room).await;
        }
        if visit.is_in(room) {
            // Who asks again has lost sight of it.
            match self.view(&session).await {
                Ok(view) => self.send_view(participant, &view),
                Err(error) => {
                    if matches!(error, Error::Missing | Error::Ended) && visit.take_room(room) {
                        self.walk_out(&participant.socket, room).await;
                    }
                    refuse(refusal(error.into()));
                }
            }
            return;
        }
        if visit.like(room) >= most {
            let sentence = format!("a socket is in at most {most} rooms; leave one first");
            return refuse(Reject::new(Code::TooMany, sentence));
        }
        let entered = async {
            if self.link() != Link::Up {
                return Err(Error::Unavailable("not connected".to_owned()).into());
            }
            let user = &participant.socket.user;
            let identity = visit.identity.lock().clone();
            self.check_session(&session, user, identity.as_ref())
                .await?;
            let mirrored = match self.backplane.standing(room, user).await {
                // It may have been one of the service that this replaces.
                Err(Error::Missing) => self.backplane.mirrored(&session).await?,
                _ => None,
            };
            visit.keep(room.clone());
            self.bring_in(participant, room, None, mirrored).await
        };
        if let Err(error) = entered.await {
            if visit.take_room(room) {
                self.hub.leave(room, &participant.socket);
            }
            tracing::info!(target: "audit", parent: &participant.span(), reason = %error, "refused");
            refuse(refusal(error));
        } else {
            tracing::info!(target: "audit", parent: &participant.span(), "joined");
        }
    }

    /// Brings a socket into a workspace, or has it listen to an agent.
    async fn go_inside(
        self: &Arc<Self>,
        participant: &Participant,
        visit: &Visit,
        room: &Room,
        since: Option<Position>,
        id: Option<String>,
    ) {
        if visit.is_settled_in(room)
            && !self.hub.is_seated(room, &participant.socket)
            && visit.take_room(room)
        {
            // It was deleted meanwhile; another of its name may have been made.
            self.walk_out(&participant.socket, room).await;
        }
        let (most, what) = match room {
            Room::Agent(_) => (self.config.agents.followed as usize, "agents"),
            _ => (self.config.rooms_per_socket, "workspaces"),
        };
        let again = visit.is_in(room);
        if !again && visit.like(room) >= most {
            let sentence = format!("a socket is in at most {most} {what}; leave one first");
            let reject = Reject::new(Code::TooMany, sentence);
            self.refuse(participant, reject, id.as_deref());
            return;
        }
        let went = match room {
            _ if again => {
                self.greet_again(participant, visit, room, since, id.clone())
                    .await
            }
            _ if visit.is_for_sessions() => Err(NotAdmitted::Forbidden(FOR_SESSIONS)),
            Room::Agent(agent) => match self.knows_agent(agent).await {
                // Its user has begun to follow it meanwhile.
                Ok(()) if !visit.keep_new(room, false) => {
                    self.greet_again(participant, visit, room, since, id.clone())
                        .await
                }
                Ok(()) => {
                    self.listen_in(participant, visit, room, since, id.clone())
                        .await
                }
                Err(error) => Err(error),
            },
            _ => {
                self.enter_workspace(participant, visit, room, since, id.clone())
                    .await
            }
        };
        if let Err(error) = went {
            let came_in = matches!(room, Room::Workspace(_)) && !again;
            if came_in && visit.take_room(room) {
                self.hub.leave(room, &participant.socket);
            }
            tracing::info!(target: "audit", parent: &participant.span(), reason = %error, "refused");
            let reject = match refusal(error) {
                reject if reject.code == Code::NotFound => {
                    let what = super::commands::named(room);
                    Reject::new(Code::NotFound, format!("there is no such {what}"))
                }
                other => other,
            };
            self.refuse(participant, reject, id.as_deref());
        }
    }

    /// Greets a socket once more that is in the room: it has lost sight of it, or says only now where it was, having
    /// been brought in by what its user follows.
    async fn greet_again(
        self: &Arc<Self>,
        participant: &Participant,
        visit: &Visit,
        room: &Room,
        since: Option<Position>,
        id: Option<String>,
    ) -> Result<(), NotAdmitted> {
        if self.link() != Link::Up {
            // It stays as it is, and hears of the room when that is heard of again.
            return Err(Error::Unavailable("not connected".to_owned()).into());
        }
        let socket = &participant.socket;
        let greeted = self.relay.open(room, socket.clone(), since, id).await;
        if greeted.is_err() && visit.take_room(room) {
            // It hears nothing there any more; so it is out, and may come in again.
            self.walk_out(socket, room).await;
        }
        Ok(greeted?)
    }

    /// Says, once a packet was carried out or refused, that it was dealt with.
    pub(super) fn then_ack(
        self: &Arc<Self>,
        participant: &Participant,
        handled: Handled,
        ack: Option<u64>,
    ) -> Handled {
        let Some(number) = ack else {
            return handled;
        };
        match handled {
            Handled::Later(doing) => {
                let (node, participant) = (self.clone(), participant.twin(None));
                Handled::Later(Box::pin(async move {
                    doing.await;
                    node.say(&participant, &Reply::Done { number });
                }))
            }
            done => {
                self.say(participant, &Reply::Done { number });
                done
            }
        }
    }
}

/// A packet as its transport brings it.
pub(super) enum Packet<'a> {
    Text(&'a str),
    Binary,
}

/// Why a room is not entered, for who asked.
fn refusal(error: NotAdmitted) -> Reject {
    let code = match error {
        NotAdmitted::Backplane(Error::Missing | Error::Ended) => Code::NotFound,
        NotAdmitted::Backplane(Error::Forbidden) => Code::Forbidden,
        NotAdmitted::Records => Code::RecordsUnavailable,
        NotAdmitted::Backplane(_) | NotAdmitted::Leaving => return Reject::unavailable(),
        _ => Code::Forbidden,
    };
    Reject::new(code, error.to_string())
}
