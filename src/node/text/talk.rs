//! What sockets say that speak Yjs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::aware::{self, Said};
use super::desk::{Desk, Heard, Upkeep};
use super::queue::Waiting;
use super::{ANOTHER, Texts};
use crate::backplane::{Audience, Error, Link};
use crate::clock::Millis;
use crate::dialects::yjs::frames;
use crate::dialects::yjs::scan::{self, Message, Vector};
use crate::domain::presence::Present;
use crate::domain::{Awareness, Cursor, Event, documents};
use crate::hub::{Lane, Socket, frame};
use crate::ids::{Epoch, EventId, Room, SessionId, SocketId, UserId};
use crate::node::{Handled, Node, Participant};
use crate::telemetry::metrics::metrics;

/// Close code of who sends what is no frame of this protocol.
const BAD_FRAMES: u16 = 4400;
/// Close code of who may come again.
const COME_AGAIN: u16 = 1011;
/// Cursors of one document that are written down at once.
const SHOWN: usize = 50;
/// Between frames that tell who is aware of a document.
pub const TICK: Duration = Duration::from_millis(33);

/// What a socket is told first of a document: on coming, and when its order was lost.
pub struct Page {
    pub first: Vec<Bytes>,
    pub again: Option<Vec<Bytes>>,
}

impl Node {
    /// Carries out a frame of y-protocols.
    pub(in crate::node) fn handle_yjs(
        self: &Arc<Self>,
        participant: &Participant,
        frame: &[u8],
    ) -> Handled {
        let (socket, texts) = (&participant.socket, &self.texts);
        let Some(session) = participant.room.as_ref().and_then(Room::session) else {
            return Handled::Done;
        };
        let message = match scan::message(frame, &limits()) {
            Ok(message) => message,
            Err(malformed) => {
                let why = malformed.to_string();
                tracing::info!(target: "audit", parent: &participant.span(), why, "no frame of this protocol");
                socket.close(BAD_FRAMES, &why);
                return Handled::Done;
            }
        };
        self.door(participant).received(kind(&message));
        match message {
            Message::Step1 { vector, .. } => {
                let (texts, socket, session) = (texts.clone(), socket.clone(), session.clone());
                Handled::Later(Box::pin(async move {
                    if let Err(error) = texts.answer(&session, &socket, &vector).await {
                        tracing::debug!(%session, %error, "a document cannot be read");
                        socket.close(COME_AGAIN, "the document cannot be read now");
                    }
                }))
            }
            Message::Step2(update) | Message::Update(update) => {
                if update.outline.is_empty() {
                    return Handled::Done;
                }
                self.stir_now(participant);
                let desk = texts.desk(session);
                let waiting = Waiting {
                    socket: socket.clone(),
                    update: update.raw.to_vec(),
                    outline: update.outline,
                };
                if !texts.put(&desk, waiting) {
                    return Handled::Done;
                }
                let texts = texts.clone();
                Handled::Later(Box::pin(async move { texts.room(&desk).await }))
            }
            Message::Awareness(entries) => {
                // Clients say again all that they are told.
                let desk = texts.desk(session);
                let mut entries = entries;
                {
                    let aware = desk.aware.lock();
                    entries.retain(|entry| {
                        aware.is_news(entry.client, entry.clock, entry.state, socket.id)
                    });
                }
                let entries = entries.into_iter().map(|entry| Awareness {
                    client: entry.client,
                    clock: entry.clock,
                    state: entry.state.into(),
                    socket: socket.id,
                    user: socket.user.clone(),
                });
                texts.say(session, socket, entries);
                Handled::Done
            }
            Message::QueryAwareness => {
                if let Some(everybody) = texts.everybody(session) {
                    socket.send(Lane::Ordered, everybody);
                }
                Handled::Done
            }
            Message::Other => Handled::Done,
        }
    }
}

/// The frame's size is its door's matter.
pub(super) fn limits() -> scan::Limits {
    scan::Limits {
        bytes: usize::MAX,
        ..scan::Limits::default()
    }
}

/// What is known here; the answer is what is not.
pub(super) fn first_step(vector: &[u8]) -> Bytes {
    frame::binary_with(vector.len() + 16, |out| frames::first_step(vector, out))
}

fn kind(message: &Message<'_>) -> &'static str {
    match message {
        Message::Step1 { .. } => "sync",
        Message::Step2(_) | Message::Update(_) => "code_change",
        Message::Awareness(_) | Message::QueryAwareness | Message::Other => "awareness",
    }
}

impl Texts {
    /// Answers a first step: what the socket lacks of what is stored.
    async fn answer(
        &self,
        session: &SessionId,
        socket: &Socket,
        vector: &Vector,
    ) -> Result<(), Error> {
        let desk = self.open(session).await?;
        let _turn = desk.turn.lock().await;
        self.settle(&desk).await?;
        let answer = desk.with(|paper| {
            let seeds = paper.document.seeds();
            // Of a former life, or begun by itself: with what a node made of the same text, it would be there twice.
            if !vector.is_empty() && seeds.iter().any(|seed| vector.get(*seed) == 0) {
                return None;
            }
            Some(paper.document.beyond(|client| vector.get(client)))
        });
        match answer {
            Some(Some(update)) => {
                let fill = |out: &mut Vec<u8>| frames::second_step(&update, out);
                socket.send(Lane::Ordered, frame::binary_with(update.len() + 16, fill));
                Ok(())
            }
            Some(None) => {
                socket.close(
                    ANOTHER,
                    "the document was made anew: begin with an empty one",
                );
                Ok(())
            }
            None => Err(Error::Unavailable(
                "the document was thrown away".to_owned(),
            )),
        }
    }

    /// What sockets are told first; when the order was lost, all of it.
    pub async fn page(
        self: &Arc<Self>,
        session: &SessionId,
        people: &[Present],
        afresh: bool,
    ) -> Result<Page, Error> {
        let desk = self.open(session).await?;
        // What is not stored is told to nobody.
        let _turn = desk.turn.lock().await;
        self.settle(&desk).await?;
        let known = desk.with(|paper| {
            let document = &paper.document;
            (document.vector(), afresh.then(|| document.state()))
        });
        let (vector, state) =
            known.ok_or_else(|| Error::Unavailable("the document was thrown away".to_owned()))?;
        let first = first_step(&vector);
        let cursors = self.cursors(&desk, people);
        let (everybody, ask) = {
            let mut aware = desk.aware.lock();
            for (user, at, place) in cursors {
                // Whom somebody heard of since is not where the records say.
                if !aware.knows(user) {
                    aware.speak_for(user, at, &place);
                }
            }
            (aware.frame(), !std::mem::replace(&mut aware.asked, true))
        };
        if ask {
            let asked = Event::AwarenessAsked;
            let told = self.announce(&desk.room, &asked, None).await;
            desk.aware.lock().asked = told;
        }
        Ok(Page {
            again: state.map(|state| {
                let fill = |out: &mut Vec<u8>| frames::update(&state, out);
                vec![frame::binary_with(state.len() + 16, fill), first.clone()]
            }),
            first: std::iter::once(first).chain(everybody).collect(),
        })
    }

    /// Where those are who take whole texts, in the main file.
    fn cursors<'a>(&self, desk: &Desk, people: &'a [Present]) -> Vec<(&'a UserId, Millis, String)> {
        let mut aware = desk.aware.lock();
        for person in people {
            aware.name(&person.user, &person.name);
        }
        drop(aware);
        let Some((text, _)) = desk.current() else {
            return Vec::new();
        };
        let whole = people
            .iter()
            .filter(|person| !person.yjs && person.file.is_none());
        let cursors = whole.filter_map(|person| {
            let index = documents::index_of(&text, person.cursor?);
            let place = desk.with(|paper| paper.document.sticky(index))?;
            Some((&person.user, person.at, place))
        });
        cursors.collect()
    }

    /// A change was heard; `None`: the document is not here.
    pub fn heard(
        &self,
        session: &SessionId,
        at: (Epoch, u64),
        id: EventId,
        user: &UserId,
        update: Option<&[u8]>,
    ) -> Option<Heard> {
        let desk = self.find(session)?;
        let ours = desk.with(|paper| paper.is_ours(id));
        let heard = desk.heard(at, id, user, update);
        if heard == Some(Heard::Taken) && ours == Some(false) {
            desk.upkeep(Upkeep::changed_elsewhere);
        }
        heard
    }

    /// How long the text is, in UTF-16 units.
    pub fn length(&self, session: &SessionId) -> Option<u64> {
        self.find(session)?.with(|paper| paper.document.length())
    }

    pub fn current(&self, session: &SessionId) -> Option<(Arc<str>, u64)> {
        self.find(session)?.current()
    }

    /// Sees to it that the document is here, and as far as the store is.
    pub async fn read_again(&self, session: &SessionId) -> Result<(), Error> {
        let desk = self.desk(session);
        let was_warm = desk.is_warm();
        self.warm(&desk).await?;
        if was_warm {
            self.catch_up(&desk).await?;
        }
        Ok(())
    }

    /// What all sockets are to be asked, when some of what they sent was not stored.
    pub fn ask_again(&self, session: &SessionId) -> Option<Bytes> {
        let desk = self.find(session)?;
        if !desk.queue.lock().lost || !desk.upkeep(|upkeep| upkeep.is_due()) {
            return None;
        }
        let vector = desk.with(|paper| paper.document.vector())?;
        desk.queue.lock().lost = false;
        Some(first_step(&vector))
    }

    fn say(
        self: &Arc<Self>,
        session: &SessionId,
        socket: &Socket,
        entries: impl Iterator<Item = Awareness>,
    ) {
        let desk = self.desk(session);
        let (mut new, mut ended) = (false, Vec::new());
        {
            let mut aware = desk.aware.lock();
            for entry in entries {
                match aware.say(entry) {
                    Said::New => new = true,
                    Said::Gone(end) => ended.push(end),
                    Said::Nothing => {}
                }
            }
        }
        if !ended.is_empty() {
            let fill = |out: &mut Vec<u8>| frames::awareness(ended.iter(), out);
            socket.send(Lane::Ordered, frame::binary_with(256, fill));
        }
        if new {
            self.tell_others(&desk);
        }
    }

    fn everybody(&self, session: &SessionId) -> Option<Bytes> {
        self.find(session)?.aware.lock().frame()
    }

    /// The socket is gone, and its clients with it.
    pub fn farewell(self: &Arc<Self>, session: &SessionId, socket: SocketId) {
        let Some(desk) = self.find(session) else {
            return;
        };
        desk.queue.lock().denied.remove(&socket);
        if desk.aware.lock().end(socket) {
            self.tell_others(&desk);
        }
    }

    /// A node that has just come to the document asks who is aware of it.
    pub fn say_all(self: &Arc<Self>, session: &SessionId) {
        if let Some(desk) = self.find(session)
            && desk.aware.lock().say_all(|socket| self.roster.has(socket))
        {
            self.tell_others(&desk);
        }
    }

    /// What is new of what another node, or this one, told of clients.
    pub fn hear_awareness(&self, session: &SessionId, entries: Vec<Awareness>) -> Vec<Awareness> {
        let desk = self.find(session);
        desk.map_or_else(Vec::new, |desk| desk.aware.lock().hear(entries))
    }

    /// Where the client is in the text, if whole-text sockets do not know.
    pub fn cursor_of(&self, session: &SessionId, entry: &Awareness) -> Option<Cursor> {
        let place = aware::head(&entry.state)?;
        let desk = self.find(session)?;
        let (text, _) = desk.current()?;
        let index = desk.with(|paper| paper.document.index(&place)).flatten()?;
        let cursor = documents::cursor_at(&text, index);
        desk.aware
            .lock()
            .moves(entry.client, cursor)
            .then_some(cursor)
    }

    /// What Yjs clients are told of a cursor in a whole text; `None`: its socket speaks for itself.
    pub fn speak_for(
        &self,
        session: &SessionId,
        user: &UserId,
        socket: Option<SocketId>,
        at: Millis,
        cursor: Cursor,
    ) -> Option<Awareness> {
        let desk = self.find(session)?;
        let (text, _) = desk.current()?;
        if socket.is_some_and(|socket| desk.aware.lock().speaks(socket)) {
            return None;
        }
        let index = documents::index_of(&text, cursor);
        let sticky = desk.with(|paper| paper.document.sticky(index))?;
        desk.aware.lock().speak_for(user, at, &sticky)
    }

    /// Cursors of this node's sockets that newcomers at other doors are not told yet.
    pub fn unshown(&self, is_ours: impl Fn(SocketId) -> bool) -> Vec<(Room, SocketId, Cursor)> {
        let desks: Vec<_> = self.desks.iter().map(|desk| desk.value().clone()).collect();
        let mut shown = Vec::new();
        for desk in desks {
            let moved = desk.aware.lock().unshown(&is_ours, SHOWN);
            let text = (!moved.is_empty()).then(|| desk.current()).flatten();
            let Some((text, _)) = text else {
                continue;
            };
            for (socket, place) in moved {
                let index = desk.with(|paper| paper.document.index(&place)).flatten();
                let cursor = index.map(|index| documents::cursor_at(&text, index));
                shown.extend(cursor.map(|cursor| (desk.room.clone(), socket, cursor)));
            }
        }
        shown
    }

    pub fn name(&self, session: &SessionId, user: &UserId, name: &Arc<str>) {
        if let Some(desk) = self.find(session) {
            desk.aware.lock().name(user, name);
        }
    }

    /// What Yjs clients are told of somebody who left.
    pub fn leaves(&self, session: &SessionId, user: &UserId, at: Millis) -> Option<Awareness> {
        self.find(session)?.aware.lock().leave(user, at)
    }

    /// Forgets who is gone; rooms, and what is to be told there.
    pub fn tidy_awareness(
        &self,
        is_alive: impl Fn(SocketId) -> bool,
    ) -> Vec<(Room, Vec<Awareness>)> {
        let desks = self.desks.iter().map(|desk| desk.value().clone());
        let tidied = desks.map(|desk| {
            (
                desk.room.clone(),
                desk.aware.lock().tidy(self.roster.clock.now(), &is_alive),
            )
        });
        tidied.filter(|(_, told)| !told.is_empty()).collect()
    }

    /// Tells the other nodes, and this one's sockets by that, what changed; at a pace.
    fn tell_others(self: &Arc<Self>, desk: &Arc<Desk>) {
        if std::mem::replace(&mut desk.aware.lock().attended, true) {
            return;
        }
        let (texts, desk) = (self.clone(), desk.clone());
        self.tasks.spawn(async move {
            loop {
                let due = desk.aware.lock().told.map(|told| told + TICK);
                if let Some(due) = due {
                    tokio::time::sleep_until(due).await;
                }
                let ours = {
                    let mut aware = desk.aware.lock();
                    let ours = aware.take_ours();
                    if ours.is_empty() {
                        aware.attended = false;
                        return;
                    }
                    aware.told = Some(tokio::time::Instant::now());
                    ours
                };
                // Of one that moves alone newcomers are told at once where it is.
                let member = ours.first().and_then(|entry| texts.look(&desk, entry));
                let event = Event::AwarenessChanged { entries: ours };
                texts.announce(&desk.room, &event, member).await;
            }
        });
    }

    /// The record of the client's socket, with the cursor where it is now.
    fn look(&self, desk: &Desk, entry: &Awareness) -> Option<(SocketId, Bytes)> {
        let place = aware::head(&entry.state)?;
        let (text, _) = desk.current()?;
        let index = desk.with(|paper| paper.document.index(&place)).flatten()?;
        let cursor = documents::cursor_at(&text, index);
        self.note_cursor(entry.socket, cursor)
    }

    /// The same of one whose cursor is known.
    pub fn note_cursor(&self, socket: SocketId, cursor: Cursor) -> Option<(SocketId, Bytes)> {
        let seat = self.roster.presence.of(socket)?;
        let socket = self.hub.find(socket)?;
        seat.note(&Event::CursorMoved {
            user: socket.user.clone(),
            cursor,
            file: None,
            code: None,
        });
        Some((socket.id, self.roster.member(&socket, Some(&seat))))
    }

    /// May be lost; on an island this node's own sockets hear it.
    async fn announce(
        &self,
        room: &Room,
        event: &Event,
        member: Option<(SocketId, Bytes)>,
    ) -> bool {
        let draft = self.roster.draft(event, None, Audience::All);
        let up = *self.backplane.link().borrow() == Link::Up;
        let told = up
            && self
                .backplane
                .announce(room, Some(draft.clone()), member)
                .await
                .is_ok();
        if !told {
            metrics().dropped("awareness", 1);
            self.inlet
                .local(draft.into_envelope(room.clone(), None, None));
        }
        told
    }
}
