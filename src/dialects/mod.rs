//! Wire protocols: text frames ⇄ commands, events and replies. No I/O, no state.
//!
//! The contract: [`Dialect::decode`] makes a command of a frame or says what is wrong with it;
//! [`Dialect::encode`] writes an event and returns false when the dialect has no word for it. Encoding is
//! pure: it may depend on the event alone, never on who hears it, so that a node encodes once for a whole
//! room.

mod fields;
pub mod matches;
mod notification;
pub mod object;
mod pairing;
pub mod review;
pub mod socketio;
pub mod workspace;
pub mod yjs;

use self::socketio::Words;
use crate::clock::Millis;
use crate::domain::courier::{Directed, Tally};
use crate::domain::sessions::View;
use crate::domain::{Code, Command, Event, Reject};
use crate::ids::{Epoch, Position, Room, UserId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Pairing,
    SocketIo,
    /// The events of Socket.IO in plain frames.
    Raw,
    Review,
    Workspace,
    /// Binary, for editors that merge by themselves.
    Yjs,
}

/// An event on its way to sockets.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Where it is heard.
    pub room: &'a Room,
    pub event: &'a Event,
    pub at: Millis,
    /// Durable events only.
    pub seq: Option<u64>,
    /// In which life of its order, where that is known.
    pub epoch: Option<Epoch>,
    /// The text's version after the event, when it changed the text.
    pub version: Option<u64>,
}

/// A command and the id its sender gave it.
#[derive(Debug, PartialEq)]
pub struct Incoming {
    pub command: Command,
    pub id: Option<String>,
}

/// A frame that is no command, with its id if that could be read.
#[derive(Debug, PartialEq)]
pub struct Refused {
    pub reject: Reject,
    pub id: Option<String>,
}

/// What is said to one socket alone.
#[derive(Debug)]
pub enum Reply<'a> {
    /// The state of the session, on entering or when a socket has to start afresh.
    Greeting(&'a View),
    Pong {
        position: Option<Position>,
        id: Option<&'a str>,
    },
    /// What was missed has been told.
    Resumed { position: Position },
    /// A text change was taken.
    TextAck {
        version: u64,
        seq: u64,
        position: Option<Position>,
        id: Option<&'a str>,
    },
    /// A durable command that carried an id was taken.
    Ack {
        seq: u64,
        position: Option<Position>,
        id: &'a str,
    },
    /// A packet that asked for it was carried out.
    Done { number: u64 },
    /// A courier is there, and so many users are.
    Connected { user: &'a UserId, active: u64 },
    /// What became of a directed event.
    Routed { event: &'a Directed, tally: Tally },
    /// It is out of that room.
    Gone { room: &'a Room, id: Option<&'a str> },
    /// There is no such namespace.
    NoNamespace { namespace: &'a str },
    /// The new token is believed, until then.
    AuthOk {
        expires_at: Millis,
        id: Option<&'a str>,
    },
    Rejected {
        reject: &'a Reject,
        id: Option<&'a str>,
    },
}

/// How a frame is told from others, whatever it says.
#[derive(Debug, Default)]
pub struct Labels {
    /// The sender's own id for it.
    pub id: Option<String>,
    /// The number under which the sender wants to know what became of it.
    pub ack: Option<u64>,
}

impl Dialect {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// In the order of their tongues.
    pub const ALL: [Self; Self::COUNT] = [
        Dialect::Pairing,
        Dialect::SocketIo,
        Dialect::Raw,
        Dialect::Review,
        Dialect::Workspace,
        Dialect::Yjs,
    ];
    /// Those that take whole texts.
    pub const WHOLE: [Self; 4] = [
        Dialect::Pairing,
        Dialect::SocketIo,
        Dialect::Raw,
        Dialect::Review,
    ];

    /// For metrics: the door's name.
    pub fn door(self) -> &'static str {
        match self {
            Dialect::Pairing => "pairing",
            Dialect::SocketIo => "socketio",
            Dialect::Raw => "raw",
            Dialect::Review => "review",
            Dialect::Workspace => "workspace",
            Dialect::Yjs => "yjs",
        }
    }

    /// The number under which the hub keeps sockets that take the same bytes.
    pub fn tongue(self) -> u8 {
        match self {
            Dialect::Pairing => 0,
            Dialect::SocketIo => 1,
            Dialect::Raw => 2,
            Dialect::Review => 3,
            Dialect::Workspace => 4,
            Dialect::Yjs => 5,
        }
    }

    /// Whether its frames are binary.
    pub fn is_binary(self) -> bool {
        self == Dialect::Yjs
    }

    pub fn of_tongue(tongue: u8) -> Option<Self> {
        Self::ALL.get(usize::from(tongue)).copied()
    }

    pub fn decode(self, frame: &str) -> Result<Incoming, Refused> {
        match self {
            Dialect::Pairing => pairing::decode(frame),
            Dialect::Review => review::decode(frame),
            // A packet means something in its conversation alone: see [`socketio::Talk`]; and others are read as their
            // door allows.
            Dialect::SocketIo | Dialect::Raw | Dialect::Workspace | Dialect::Yjs => Err(Refused {
                reject: Reject::new(Code::BadFrame, "packets belong to a conversation"),
                id: None,
            }),
        }
    }

    /// What its sender wrote on the frame, as far as that can be read.
    pub fn labels(self, frame: &str) -> Labels {
        match self {
            Dialect::Pairing => Labels {
                id: pairing::id_of(frame),
                ack: None,
            },
            Dialect::Review => Labels {
                id: review::id_of(frame),
                ack: None,
            },
            Dialect::SocketIo => socketio::labels(frame).unwrap_or_default(),
            Dialect::Raw => socketio::raw::labels(frame),
            Dialect::Workspace => workspace::labels(frame),
            Dialect::Yjs => Labels::default(),
        }
    }

    /// Writes the event; false, and nothing written, when the dialect has no word for it.
    pub fn encode(self, delivery: &Delivery<'_>, out: &mut Vec<u8>) -> bool {
        if let (Event::Notified(notice), false) = (delivery.event, self == Dialect::Yjs) {
            notification::write(self, notice, delivery.at, out);
            return true;
        }
        match self {
            Dialect::Pairing => pairing::encode(delivery, out),
            Dialect::Review => review::encode(delivery, out),
            Dialect::SocketIo => socketio::encode(delivery, Words::packets(out)),
            Dialect::Raw => socketio::encode(delivery, Words::raw(out)),
            Dialect::Workspace => workspace::encode(delivery, out),
            Dialect::Yjs => yjs::encode(delivery, out),
        }
    }

    pub fn reply(self, reply: &Reply<'_>, now: Millis, out: &mut Vec<u8>) {
        match self {
            Dialect::Pairing => pairing::reply(reply, now, out),
            Dialect::Review => review::reply(reply, now, out),
            Dialect::SocketIo => socketio::reply(reply, now, Words::packets(out)),
            Dialect::Raw => socketio::reply(reply, now, Words::raw(out)),
            Dialect::Workspace => workspace::reply(reply, now, out),
            Dialect::Yjs => yjs::reply(reply, out),
        }
    }
}
