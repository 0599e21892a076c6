//! How an event travels between nodes: one version byte, then a MessagePack map with named fields.
//!
//! The order of the fields is part of the format, because a Lua script writes the first three: the
//! seq is only known inside the script that commits; they are numbers as texts or nil. `Draft::rest` makes what follows them. Named
//! fields let a later version add some; `sample_bytes` pins the bytes of this one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Audience;
use crate::clock::Millis;
use crate::ids::{Epoch, EventId, Position, Room, SocketId};

/// The version this node writes.
const VERSION: u8 = 1;
/// Fields in the map: seq, epoch, version, and six more.
const FIELDS: u8 = 9;

/// An event on its way to being published: all of an envelope but what the backplane gives it.
#[derive(Debug, Clone)]
pub struct Draft {
    pub id: EventId,
    pub at: Millis,
    pub origin: Option<SocketId>,
    pub audience: Audience,
    pub event: Bytes,
}

/// A published event.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    pub room: Room,
    /// Durable events only.
    pub position: Option<Position>,
    /// The text's version after the event, when the event changed the text.
    pub version: Option<u64>,
    pub id: EventId,
    pub at: Millis,
    pub origin: Option<SocketId>,
    pub audience: Audience,
    pub event: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum BadEnvelope {
    #[error("an envelope of version {0}; this node reads version {VERSION}")]
    Version(u8),
    #[error("not an envelope: {0}")]
    Form(String),
}

#[derive(Serialize)]
struct Rest<'a> {
    room: &'a str,
    id: EventId,
    at: Millis,
    origin: Option<SocketId>,
    audience: &'a Audience,
    #[serde(with = "serde_bytes")]
    event: &'a [u8],
}

#[derive(Deserialize)]
struct Wire<'a> {
    seq: Option<&'a str>,
    epoch: Option<&'a str>,
    version: Option<&'a str>,
    room: &'a str,
    id: EventId,
    at: Millis,
    origin: Option<SocketId>,
    audience: Audience,
    #[serde(with = "serde_bytes")]
    event: &'a [u8],
}

impl Draft {
    /// The bytes behind seq, epoch and version. `event` replaces the draft's own when given.
    pub fn rest(&self, room: &str, event: Option<&[u8]>) -> Vec<u8> {
        let rest = Rest {
            room,
            id: self.id,
            at: self.at,
            origin: self.origin,
            audience: &self.audience,
            event: event.unwrap_or(&self.event),
        };
        let mut bytes = Vec::with_capacity(128 + rest.event.len());
        rmp_serde::encode::write_named(&mut bytes, &rest)
            .expect("writing plain fields to memory cannot fail");
        // The map's own header goes: these fields continue the map that the first three began.
        bytes.remove(0);
        bytes
    }

    /// A whole envelope without seq, for events that are only announced.
    pub fn unsequenced(&self, room: &str) -> Vec<u8> {
        let mut bytes = vec![VERSION, 0x80 | FIELDS];
        for field in ["seq", "epoch", "version"] {
            bytes.push(0xa0 | field.len() as u8);
            bytes.extend_from_slice(field.as_bytes());
            bytes.push(0xc0);
        }
        bytes.extend_from_slice(&self.rest(room, None));
        bytes
    }

    pub fn into_envelope(
        self,
        room: Room,
        position: Option<Position>,
        version: Option<u64>,
    ) -> Envelope {
        Envelope {
            room,
            position,
            version,
            id: self.id,
            at: self.at,
            origin: self.origin,
            audience: self.audience,
            event: self.event,
        }
    }
}

impl Envelope {
    pub fn decode(bytes: &[u8]) -> Result<Self, BadEnvelope> {
        let form = |problem: &str| BadEnvelope::Form(problem.to_owned());
        let (&version, map) = bytes.split_first().ok_or_else(|| form("empty"))?;
        if version != VERSION {
            return Err(BadEnvelope::Version(version));
        }
        let wire: Wire<'_> =
            rmp_serde::from_slice(map).map_err(|e| BadEnvelope::Form(e.to_string()))?;
        let number = |text: &str| {
            text.parse()
                .map_err(|_| BadEnvelope::Form(format!("{text:?} is no number")))
        };
        let position = match wire.seq.zip(wire.epoch) {
            None => None,
            Some((seq, epoch)) => Some(Position {
                epoch: Epoch(number(epoch)?),
                seq: number(seq)?,
            }),
        };
        Ok(Self {
            room: Room::parse(wire.room).ok_or_else(|| form("an unknown kind of room"))?,
            position,
            version: wire.version.map(number).transpose()?,
            id: wire.id,
            at: wire.at,
            origin: wire.origin,
            audience: wire.audience,
            event: Bytes::copy_from_slice(wire.event),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;

    fn draft() -> Draft {
        let bytes = serde_bytes::ByteArray::<16>::from([7; 16]);
        let packed = rmp_serde::to_vec(&bytes).unwrap();
        Draft {
            id: rmp_serde::from_slice(&packed).unwrap(),
            at: 1_762_943_400_007,
            origin: Some(rmp_serde::from_slice(&packed).unwrap()),
            audience: Audience::Except(rmp_serde::from_slice(&packed).unwrap()),
            event: Bytes::from_static(b"what happened"),
        }
    }

    /// The bytes are a contract between nodes of different versions: a change here needs a new
    /// version byte and a reader for the old one.
    #[test]
    fn sample_bytes() {
        let hex: String = draft()
            .unsequenced("session:abc")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        insta::assert_snapshot!(hex, @"0189a3736571c0a565706f6368c0a776657273696f6ec0a4726f6f6dab73657373696f6e3a616263a26964c41007070707070707070707070707070707a26174cf0000019a779d7847a66f726967696ec41007070707070707070707070707070707a861756469656e636581a6457863657074c41007070707070707070707070707070707a56576656e74c40d776861742068617070656e6564");
    }

    #[test]
    fn an_announced_event_is_read_back() {
        let read = Envelope::decode(&draft().unsequenced("session:abc")).unwrap();
        let room = Room::Session(SessionId::parse("abc").unwrap());
        assert_eq!(read, draft().into_envelope(room, None, None));
    }

    #[test]
    fn other_bytes_are_refused_with_a_reason() {
        for (bytes, part) in [
            (&b""[..], "empty"),
            (b"\x09\x80", "version 9"),
            (b"\x01\x80", "not an envelope"),
            (b"\x01\xc1\xc1", "not an envelope"),
        ] {
            let sentence = Envelope::decode(bytes).unwrap_err().to_string();
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
