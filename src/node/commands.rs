//! What a socket asks, carried out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::text::{Sender, Unwritten, Written};
use super::visit::{Packet, Visit};
use super::{Node, NotAdmitted, Participant, pack, snapshots};
use crate::auth::BadToken;
use crate::backplane::{Audience, Change, Committed, Error, History, Link};
use crate::dialects::{Dialect, Incoming, Labels, Refused, Reply};
use crate::domain::roles::Action;
use crate::domain::sessions::View;
use crate::domain::{Actor, Code, Command, Effect, Event, Reject, Voice, Write, decide, documents};
use crate::hub::Lane;
use crate::ids::{Room, SessionId, UserId};
use crate::telemetry::metrics::metrics;

/// What is counted as the kind of a frame that was no command.
pub const BAD: &str = "bad";
/// What is counted as the kind of a frame that came too fast.
pub const HASTE: &str = "too_fast";

/// What became of a frame.
pub enum Handled {
    Done,
    /// The frame made no sense; too many of these end the socket.
    Bad,
    /// To be awaited before the socket's next frame.
    Later(BoxFuture<'static, ()>),
}

/// Who is answered, kept for as long as a commit is on its way.
pub(super) struct Asker {
    pub(super) node: Arc<Node>,
    pub(super) participant: Participant,
    pub(super) room: Room,
    pub(super) id: Option<String>,
}

impl Node {
    /// Carries out a text frame.
    pub fn handle(self: &Arc<Self>, participant: &mut Participant, text: &str) -> Handled {
        metrics().received_bytes(text.len());
        if let Some(visit) = participant.visit.clone() {
            let handled = self.converse(participant, &visit, Packet::Text(text));
            return handled.unwrap_or(Handled::Done);
        }
        let Incoming { command, id } = match participant.dialect.decode(text) {
            Ok(incoming) => incoming,
            Err(Refused { reject, id }) => {
                self.door(participant).received(BAD);
                return self.refuse(participant, reject, id.as_deref());
            }
        };
        self.door(participant).received(command.kind());
        self.carry_out(participant, command, id)
    }

    /// The same of a binary frame; `None`: this door takes none.
    pub fn handle_binary(
        self: &Arc<Self>,
        participant: &mut Participant,
        frame: &[u8],
    ) -> Option<Handled> {
        if participant.dialect == Dialect::Yjs {
            metrics().received_bytes(frame.len());
            return Some(self.handle_yjs(participant, frame));
        }
        let visit = participant.visit.clone()?;
        metrics().received_bytes(frame.len());
        self.converse(participant, &visit, Packet::Binary)
    }

    pub(super) fn carry_out(
        self: &Arc<Self>,
        participant: &mut Participant,
        command: Command,
        id: Option<String>,
    ) -> Handled {
        if let Some(seat) = &participant.seat {
            self.stir(&participant.socket, seat, &command);
        }
        let actor = Actor {
            socket: participant.socket.id,
            user: participant.socket.user.clone(),
            name: participant.socket.name.clone(),
            recorded: is_recorded(participant.room.as_ref()),
            voice: participant
                .visit
                .as_ref()
                .map_or(Voice::None, |visit| self.voice_of(visit)),
        };
        match decide(command, &actor, &self.config.limits, self.clock().now()) {
            Err(reject) => self.refuse(participant, reject, id.as_deref()),
            Ok(Effect::Pong) => {
                let id = id.as_deref();
                self.say_at(participant, |position| Reply::Pong { position, id });
                Handled::Done
            }
            Ok(Effect::Renew(token)) => {
                let (node, visit) = (self.clone(), participant.visit.clone());
                let participant = participant.twin(None);
                Handled::Later(Box::pin(async move {
                    let visit = visit.as_deref();
                    node.renew_token(&participant, visit, &token, id.as_deref())
                        .await;
                }))
            }
            // Rooms are entered in conversation only.
            Ok(Effect::Enter { .. } | Effect::Exit) => Handled::Done,
            Ok(Effect::Report(word)) => {
                let asker = Asker {
                    node: self.clone(),
                    room: Room::Agent(word.agent().clone()),
                    participant: participant.twin(None),
                    id,
                };
                Handled::Later(Box::pin(asker.report(word)))
            }
            Ok(Effect::Route(event)) => {
                if let Err(reject) = self.may_route(participant, &event) {
                    return self.refuse(participant, reject, id.as_deref());
                }
                let asker = Asker {
                    node: self.clone(),
                    room: Room::User(event.from.clone()),
                    participant: participant.twin(None),
                    id,
                };
                Handled::Later(Box::pin(asker.route(event)))
            }
            Ok(Effect::Announce(event)) => self.announce(participant, event),
            Ok(Effect::Commit(write)) => match self.asker(participant, id) {
                Some(asker) => Handled::Later(Box::pin(asker.commit(write))),
                None => Handled::Done,
            },
            Ok(Effect::Record(deed)) => match self.asker(participant, id) {
                Some(asker) => Handled::Later(Box::pin(asker.carry_out(deed))),
                None => Handled::Done,
            },
        }
    }

    /// Who asks something of the session through whose door it came.
    fn asker(self: &Arc<Self>, participant: &Participant, id: Option<String>) -> Option<Asker> {
        Some(Asker {
            node: self.clone(),
            room: participant.room.clone()?,
            participant: participant.twin(None),
            id,
        })
    }

    fn announce(self: &Arc<Self>, participant: &Participant, event: Event) -> Handled {
        let Some(seat) = participant.seat.clone() else {
            return Handled::Done;
        };
        let before = seat.status();
        seat.note(&event);
        let (node, socket) = (self.clone(), participant.socket.clone());
        Handled::Later(Box::pin(async move {
            match event {
                Event::StatusChanged { .. } => node.show_status(&socket, &seat, before).await,
                event => node.show(&socket, &seat, Some(&event)).await,
            }
        }))
    }

    /// Answers a frame that came too fast; it is not executed.
    pub fn refuse_haste(
        self: &Arc<Self>,
        participant: &Participant,
        text: &str,
        what: &str,
        retry_in: Duration,
    ) -> Handled {
        metrics().received_bytes(text.len());
        self.door(participant).received(HASTE);
        let Labels { id, ack } = participant.dialect.labels(text);
        let reject = Reject::too_fast(what, retry_in.as_millis() as u64);
        let refused = self.refuse(participant, reject, id.as_deref());
        // Binary parts of it may follow.
        let passed_over = participant
            .visit
            .as_ref()
            .and_then(|visit| visit.pass_over(text));
        self.then_ack(participant, refused, ack.or(passed_over))
    }

    async fn renew_token(
        self: &Arc<Self>,
        participant: &Participant,
        visit: Option<&Visit>,
        token: &str,
        id: Option<&str>,
    ) {
        let Participant { socket, room, .. } = participant;
        let session = room.as_ref().and_then(Room::session);
        let renewed = self.renew(socket.id, &socket.user, session, token);
        match renewed.await {
            Ok(identity) => {
                let expires_at = identity.expires_at.saturating_mul(1_000);
                if let Some(visit) = visit {
                    // With all that it may do, and no more.
                    visit.renew(identity);
                }
                self.say(participant, &Reply::AuthOk { expires_at, id });
            }
            Err(NotAdmitted::Backplane(_) | NotAdmitted::Token(BadToken::Unavailable)) => {
                self.refuse(participant, Reject::unavailable(), id);
            }
            Err(error) => {
                tracing::info!(
                    target: "audit",
                    parent: &participant.span(),
                    reason = %error,
                    "a new token was refused"
                );
                let reject = Reject::new(Code::Forbidden, error.to_string());
                self.refuse(participant, reject, id);
            }
        }
    }

    pub(super) fn refuse(
        &self,
        participant: &Participant,
        reject: Reject,
        id: Option<&str>,
    ) -> Handled {
        metrics().reject(reject.code.as_str());
        let bad = reject.is_bad_frame();
        let reject = &reject;
        self.say(participant, &Reply::Rejected { reject, id });
        if bad { Handled::Bad } else { Handled::Done }
    }
}

impl Participant {
    /// Who it is, for whatever is logged of it. Made when something is logged: a span that lives as long
    /// as its socket costs more memory than the socket.
    pub fn span(&self) -> tracing::Span {
        tracing::info_span!(
            "socket",
            id = %self.socket.id,
            user = %self.socket.user,
            room = self.room.as_ref().map(tracing::field::display),
            door = self.door(),
        )
    }

    /// Whether it speaks in binary frames alone.
    pub fn is_binary(&self) -> bool {
        self.dialect.is_binary()
    }

    /// The door it came through.
    pub fn door(&self) -> &'static str {
        self.dialect.door()
    }

    /// The same participant, for a task of its own; in that room, if one is named.
    pub(super) fn twin(&self, room: Option<Room>) -> Self {
        Self {
            socket: self.socket.clone(),
            dialect: self.dialect,
            room: room.or_else(|| self.room.clone()),
            visit: None,
            seat: self.seat.clone(),
        }
    }
}

/// What people call it.
pub(super) fn named(room: &Room) -> &'static str {
    match room {
        Room::Workspace(_) => "workspace",
        Room::Agent(_) => "agent",
        _ => "session",
    }
}

fn is_recorded(room: Option<&Room>) -> bool {
    let session = room.and_then(Room::session);
    session.is_some_and(SessionId::is_recorded)
}

impl Asker {
    async fn commit(self, mut write: Write) {
        if let Some(text) = write.text.take() {
            return self.write_text(&text).await;
        }
        let change = self.change(write);
        let node = &self.node;
        let answer = if node.link() == Link::Up {
            node.commit(&self.room, change).await
        } else {
            Err(Error::Unavailable("not connected".to_owned()))
        };
        match answer {
            Ok(committed) => {
                self.note(&committed);
                self.acknowledge(committed, false);
            }
            Err(error) => self.fail(error),
        }
    }

    async fn write_text(self, text: &documents::TextChange) {
        let (node, socket) = (&self.node, &self.participant.socket);
        let Some(session) = self.room.session() else {
            return;
        };
        let sender = Sender {
            socket: socket.id,
            user: &socket.user,
            roles: self.by().map(|(_, roles)| roles),
            once: self.id.clone(),
        };
        let written = if node.link() == Link::Up {
            node.texts.write(session, text, sender).await
        } else {
            Err(Unwritten::Backplane(Error::Unavailable(
                "not connected".to_owned(),
            )))
        };
        match written {
            Ok(Written { committed, merged }) => {
                if let Some((code, version)) = merged {
                    node.tell_merged(&self.participant, &self.room, code, version);
                }
                self.acknowledge(committed, text.base.is_some());
            }
            Err(Unwritten::Gone { base, version }) => {
                self.reject(documents::gone(base, version));
                node.send_text(&self.participant).await;
            }
            Err(Unwritten::TooLong(most)) => self.reject(documents::too_long(most)),
            Err(Unwritten::Backplane(error)) => self.fail(error),
        }
    }

    fn fail(&self, error: Error) {
        if matches!(error, Error::Unavailable(_)) {
            // It may have been done.
            self.node.unsaved.note(&self.room);
        }
        self.reject(self.refusal(error));
    }

    /// Why the backplane did not do it, for who asked.
    pub(super) fn refusal(&self, error: Error) -> Reject {
        let node = &self.node;
        match error {
            Error::Ended => {
                // If word of it was missed, the comparison closes the room's sockets.
                node.relay.compare(&self.room);
                let what = named(&self.room);
                let sentence = format!("the {what} has ended; nothing was changed");
                Reject::new(Code::NotFound, sentence)
            }
            Error::Forbidden => {
                let sentence =
                    "your role in this session does not allow this; right is host or editor";
                Reject::new(Code::Forbidden, sentence)
            }
            Error::Missing | Error::Full | Error::Unmet | Error::Stale => {
                // A store that lost its data: the room is made again and everyone starts afresh.
                node.relay.compare(&self.room);
                Reject::unavailable()
            }
            Error::Unavailable(detail) => {
                tracing::debug!(parent: &self.participant.span(), detail, "a commit failed");
                Reject::unavailable()
            }
        }
    }

    /// That something happened is to be recorded.
    pub(super) fn note(&self, committed: &Committed) {
        let session = self.room.session().filter(|session| session.is_recorded());
        if let Some(session) = session {
            let seq = committed.position.seq;
            self.node.unsaved.note_commit(session, seq, None);
        }
    }

    fn change(&self, write: Write) -> Change {
        let node = &self.node;
        let socket = self.participant.socket.id;
        let audience = if write.to_sender {
            Audience::All
        } else {
            Audience::Except(socket)
        };
        let once = self.id.clone();
        Change {
            draft: node.roster.draft(&write.event, Some(socket), audience),
            logged: None,
            fields: write.field.into_iter().collect(),
            text: None,
            history: match &write.event {
                Event::ChatPosted(line) => Some(History::Push(pack(line))),
                _ => None,
            },
            once: once.map(|id| (self.participant.socket.user.clone(), id)),
            role: None,
            by: self.by(),
            when: None,
            hook: node.hooks(&self.room),
        }
    }

    /// Where roles count, what is committed wants one.
    pub(super) fn by(&self) -> Option<(UserId, &'static [&'static str])> {
        is_recorded(Some(&self.room)).then(|| {
            let user = self.participant.socket.user.clone();
            (user, Action::Contribute.roles())
        })
    }

    pub(super) fn acknowledge(&self, committed: Committed, wants_version: bool) {
        let seq = committed.position.seq;
        let version = committed.version;
        let id = self.id.as_deref();
        if wants_version {
            self.node
                .say_at(&self.participant, |position| Reply::TextAck {
                    version,
                    seq,
                    position,
                    id,
                });
        } else if let Some(id) = id {
            self.node.say_at(&self.participant, |position| Reply::Ack {
                seq,
                position,
                id,
            });
        }
    }

    pub(super) fn reject(&self, reject: Reject) {
        self.node
            .refuse(&self.participant, reject, self.id.as_deref());
    }
}

impl Node {
    pub(super) fn send_view(&self, participant: &Participant, view: &View) {
        let (user, now) = (&participant.socket.user, self.clock().now());
        let frame = snapshots::text(participant.dialect, view, user, now);
        participant.socket.send(Lane::Ordered, frame);
    }

    /// The text that came of somebody's own and others' changes.
    fn tell_merged(&self, participant: &Participant, room: &Room, code: Arc<str>, version: u64) {
        let user = participant.socket.user.clone();
        let frame = snapshots::text_of(
            participant.dialect,
            room,
            user,
            code,
            version,
            self.clock().now(),
        );
        participant.socket.send(Lane::Ordered, frame);
    }

    /// The current text, for who has lost sight of it.
    pub(super) async fn send_text(&self, participant: &Participant) {
        let Some(session) = participant.room.as_ref().and_then(Room::session) else {
            return;
        };
        match self.view(session).await {
            Ok(view) => self.send_view(participant, &view),
            Err(error) => {
                tracing::debug!(parent: &participant.span(), %error, "the text cannot be read");
            }
        }
    }
}
