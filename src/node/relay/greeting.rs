//! What a socket is told first in a room: the session, or what it missed of it; a user's inbox; how many couriers there
//! are. Made beside the worker, because a large room takes long to write down.

use bytes::Bytes;

use super::deliver::encode;
use super::inside::Inside;
use super::letters::Letters;
use super::resume::Missed;
use crate::backplane::{Envelope, Fields, Inbox};
use crate::clock::Millis;
use crate::dialects::review::Welcome;
use crate::dialects::{Delivery, Dialect, Reply};
use crate::domain::Event;
use crate::domain::sessions::View;
use crate::hub::{Lane, Socket, frame};
use crate::ids::Position;
use crate::node::snapshots;
use crate::node::text::Page;
use crate::telemetry::metrics::metrics;

/// A room at one instant, for those who wait.
pub(super) struct Taken {
    pub(super) at: Position,
    /// See [`Local::kept`](super::local::Local).
    pub(super) kept: Option<Fields>,
    pub(super) told: Told,
    /// The version of the text that is told.
    pub(super) text: Option<u64>,
}

pub(super) enum Told {
    Session {
        greetings: Greetings,
        missed: Vec<Missed>,
        /// For those who are greeted one by one.
        hall: Option<Box<Hall>>,
        /// For those who speak Yjs.
        page: Option<Box<Page>>,
    },
    Inbox(Greetings),
    Inside(Box<Inside>),
    /// So many users.
    Couriers(u64),
}

/// What review sockets are greeted with, each in its own way.
pub(super) struct Hall {
    view: View,
    welcome: Welcome,
    letters: Letters,
    now: Millis,
}

impl Hall {
    fn greet(&self, socket: &Socket) -> (Lane, Bytes) {
        let letters = self.letters.get(&socket.user);
        let letters = letters.map_or(&[][..], Vec::as_slice);
        let who = (&socket.user, &*socket.name);
        let write = |out: &mut Vec<u8>| self.welcome.write(&self.view, who, letters, self.now, out);
        (Lane::Ordered, frame::text_with(1_024, write))
    }
}

/// One piece at most in each dialect that is spoken in the room.
pub(super) struct Greetings([Option<(Lane, Bytes)>; Dialect::COUNT]);

impl Greetings {
    fn of(is_spoken: impl Fn(u8) -> bool, make: impl Fn(Dialect) -> Option<(Lane, Bytes)>) -> Self {
        Self(Dialect::ALL.map(|dialect| {
            let spoken = is_spoken(dialect.tongue());
            spoken.then(|| make(dialect)).flatten()
        }))
    }

    fn of_tongue(&self, tongue: u8) -> Option<(Lane, Bytes)> {
        self.0.get(usize::from(tongue)).cloned().flatten()
    }
}

impl Told {
    pub(super) fn session(
        view: View,
        missed: Vec<Missed>,
        letters: Letters,
        page: Option<Page>,
        now: Millis,
        is_spoken: impl Fn(u8) -> bool,
    ) -> Self {
        let greeting = |dialect| {
            let frame = snapshots::greeting(dialect, &view, now)?;
            Some((Lane::Ordered, frame))
        };
        let has_hall = is_spoken(Dialect::Review.tongue());
        Told::Session {
            greetings: Greetings::of(is_spoken, greeting),
            missed,
            page: page.map(Box::new),
            hall: has_hall.then(|| {
                Box::new(Hall {
                    welcome: Welcome::of(&view),
                    view,
                    letters,
                    now,
                })
            }),
        }
    }

    /// All letters are one piece: an outbox takes any number of them at once from who was away.
    pub(super) fn inbox(inbox: &Inbox, is_spoken: impl Fn(u8) -> bool) -> Self {
        let letters = |dialect| {
            let mut told = Vec::new();
            for letter in &inbox.events {
                told.extend_from_slice(&written(dialect, letter).unwrap_or_default());
            }
            (!told.is_empty()).then(|| (Lane::Inbox(inbox.position.seq), told.into()))
        };
        Told::Inbox(Greetings::of(is_spoken, letters))
    }

    /// What a socket is told that comes in, or comes back from `since`: when everybody starts afresh, so does it.
    pub(super) fn first(
        &self,
        socket: &Socket,
        since: Option<Position>,
        ask: Option<&str>,
        afresh: bool,
    ) -> Vec<(Lane, Bytes)> {
        match self {
            Told::Inside(inside) => inside.first(socket, since, ask, afresh),
            Told::Session {
                page: Some(page), ..
            } if socket.tongue == Dialect::Yjs.tongue() => {
                let first = page.first.iter().cloned();
                first.map(|frame| (Lane::Ordered, frame)).collect()
            }
            Told::Session { missed, .. } => {
                let missed = missed.iter().find(|missed| missed.is_for(socket.tongue));
                let resumed = since
                    .zip(missed.filter(|_| !afresh))
                    .and_then(|(since, missed)| missed.since(since, &socket.user));
                if since.is_some() {
                    metrics().resumed(resumed.is_some());
                }
                match resumed {
                    Some(pieces) => pieces.into_iter().map(|p| (Lane::Ordered, p)).collect(),
                    None => self.again(socket).into_iter().collect(),
                }
            }
            Told::Inbox(greetings) => greetings.of_tongue(socket.tongue).into_iter().collect(),
            Told::Couriers(users) => {
                let user = &socket.user;
                let active = *users;
                let reply = Reply::Connected { user, active };
                let dialect = Dialect::of_tongue(socket.tongue);
                let said = dialect.map(|dialect| {
                    let frame = frame::text_with(128, |out| dialect.reply(&reply, 0, out));
                    (Lane::Ordered, frame)
                });
                said.into_iter().collect()
            }
        }
    }

    /// What everyone who is here is told when the room's order is another.
    pub(super) fn again(&self, socket: &Socket) -> Option<(Lane, Bytes)> {
        match self {
            Told::Session {
                hall: Some(hall), ..
            } if socket.tongue == Dialect::Review.tongue() => Some(hall.greet(socket)),
            // Two frames in one piece.
            Told::Session {
                page: Some(page), ..
            } if socket.tongue == Dialect::Yjs.tongue() => {
                let again = page.again.as_ref()?;
                Some((Lane::Ordered, again.concat().into()))
            }
            Told::Session { greetings, .. } | Told::Inbox(greetings) => {
                greetings.of_tongue(socket.tongue)
            }
            Told::Inside(inside) => Some(inside.again()),
            // Who is there can be asked for.
            Told::Couriers(_) => None,
        }
    }
}

fn written(dialect: Dialect, letter: &Envelope) -> Option<Bytes> {
    let event: Event = match rmp_serde::from_slice(&letter.event) {
        Ok(event) => event,
        Err(error) => {
            metrics().dropped("unreadable", 1);
            tracing::warn!(room = %letter.room, %error, "a letter cannot be read");
            return None;
        }
    };
    let delivery = Delivery {
        room: &letter.room,
        event: &event,
        at: letter.at,
        seq: letter.position.map(|at| at.seq),
        epoch: letter.position.map(|at| at.epoch),
        version: None,
    };
    encode(dialect, &delivery)
}
