//! How far a socket's conversation is: it asks for its namespace first, then says events. Packets with binary parts
//! are heard to their end, and refused.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::{self, Asked, Senseless};
use super::packet::{Bad, Engine, Kind, MAIN, Packet};
use crate::dialects::Labels;
use crate::domain::{Code, Command, Reject};
use crate::ids::Room;

#[derive(Debug, Default)]
pub struct Talk {
    connected: bool,
    /// Binary parts of a packet that are still to come.
    parts: u32,
}

/// What a frame says.
#[derive(Debug)]
pub enum Said {
    /// Nothing that is to be answered.
    Nothing,
    /// It asks for the namespace, with this token.
    Connect { token: Option<String> },
    /// It asks for a namespace that is not here.
    Elsewhere { namespace: String },
    /// It goes.
    Leave,
    Command {
        command: Command,
        room: Option<Room>,
        /// The sender's own id for it.
        id: Option<String>,
        /// It wants to know what became of it, under this number.
        ack: Option<u64>,
    },
    Refused {
        reject: Reject,
        id: Option<String>,
        ack: Option<u64>,
    },
    /// Not this protocol: there is nothing to go on from.
    Broken(Bad),
}

impl Said {
    /// An event that was read, and under which number it is to be acknowledged.
    pub(super) fn of(read: Result<Asked, Senseless>, ack: Option<u64>) -> Self {
        match read {
            Ok(Asked { command, room, id }) => Said::Command {
                command,
                room: room.map(Room::Session),
                id,
                ack,
            },
            Err(Senseless { reject, id }) => Said::Refused { reject, id, ack },
        }
    }
}

/// What its sender wrote on a packet; `None`: it is no event.
pub fn labels(frame: &str) -> Option<Labels> {
    let Ok(Engine::Message(text)) = Engine::read(frame) else {
        return None;
    };
    let packet = Packet::read(text).ok()?;
    let (_, body) = packet.event().ok()?;
    Some(Labels {
        id: events::id(body),
        ack: packet.ack.filter(|_| packet.kind == Kind::Event),
    })
}

/// What a client may say of itself when it connects.
#[derive(Deserialize)]
struct Auth {
    token: Option<String>,
}

impl Talk {
    /// One whose namespace has been asked for.
    pub fn begun() -> Self {
        Self {
            connected: true,
            parts: 0,
        }
    }

    /// Takes a text frame, or a packet of a polling body.
    pub fn take(&mut self, frame: &str) -> Said {
        match Engine::read(frame) {
            Ok(Engine::Message(text)) => self.message(text),
            Ok(Engine::Binary) => self.binary(),
            Ok(Engine::Close) => Said::Leave,
            // Whoever answers is there, which has been noted.
            Ok(Engine::Pong(_) | Engine::Noop | Engine::Ping(_) | Engine::Upgrade) => Said::Nothing,
            Err(bad) => Said::Broken(bad),
        }
    }

    /// Passes over a frame that came too fast: what is behind it must still make sense. Returns the number under which
    /// its sender waits to know what became of it.
    pub fn pass_over(&mut self, frame: &str) -> Option<u64> {
        match Engine::read(frame) {
            Ok(Engine::Message(text)) if self.parts == 0 => {
                let packet = Packet::read(text).ok()?;
                self.parts = packet.parts;
                let event = packet.kind == Kind::Event && packet.namespace == MAIN;
                packet.ack.filter(|_| event)
            }
            Ok(Engine::Binary) => {
                self.parts = self.parts.saturating_sub(1);
                None
            }
            _ => None,
        }
    }

    /// Takes a binary part.
    pub fn binary(&mut self) -> Said {
        if self.parts == 0 {
            return Said::Broken(Bad::Parts);
        }
        self.parts -= 1;
        Said::Nothing
    }

    fn message(&mut self, text: &str) -> Said {
        if self.parts > 0 {
            return Said::Broken(Bad::Parts);
        }
        let packet = match Packet::read(text) {
            Ok(packet) => packet,
            Err(bad) => return Said::Broken(bad),
        };
        self.parts = packet.parts;
        match packet.kind {
            Kind::Connect if packet.namespace != MAIN => Said::Elsewhere {
                namespace: packet.namespace.to_owned(),
            },
            Kind::Connect if self.connected => Said::Nothing,
            Kind::Connect => {
                self.connected = true;
                let auth = packet.data.map_or("{}", RawValue::get);
                let auth: Option<Auth> = serde_json::from_str(auth).ok();
                Said::Connect {
                    token: auth.and_then(|auth| auth.token),
                }
            }
            // Namespaces that are not here hold nobody.
            _ if packet.namespace != MAIN => Said::Nothing,
            _ if !self.connected => Said::Broken(Bad::Type),
            Kind::Disconnect => Said::Leave,
            Kind::Event => self.event(&packet),
            // We ask for no acknowledgements.
            Kind::Ack | Kind::ConnectError => Said::Nothing,
        }
    }

    fn event(&self, packet: &Packet<'_>) -> Said {
        let ack = packet.ack;
        let refused = |reject| Said::Refused {
            reject,
            id: None,
            ack,
        };
        if packet.parts > 0 {
            let message = "binary parts are not taken here; send text";
            return refused(Reject::new(Code::BadFrame, message));
        }
        match packet.event() {
            Ok((name, body)) => Said::of(events::read(&name, body), ack),
            Err(bad) => refused(Reject::new(Code::BadFrame, bad.to_string())),
        }
    }
}
