//! How an event travels between nodes: one version byte, then a MessagePack map with named fields.
//!
//! The last three fields are written by the Lua script that commits, because only it knows the seq; they are
//! numbers as texts. [`Draft::front`] makes what stands before them. Fields may be added, and are ignored by
//! who does not know them. What is not an addition is a new version: a node reads its own and the one before,
//! and writes the newest that every living node reads, so that versions may run side by side during a deploy.

mod form;

use bytes::Bytes;

use self::form::{First, ReadFirst, Second, Whom, read_second};
use super::Audience;
use crate::clock::Millis;
use crate::ids::{Epoch, EventId, Position, Room, SocketId};

/// The newest version this node reads and writes, and the one before.
pub const NEWEST: u8 = 2;
pub const OLDEST: u8 = NEWEST - 1;
/// Fields the node writes, and those the store adds: seq, epoch and version.
const FIELDS: u8 = 6;
const ADDED: u8 = 3;

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
    #[error("an envelope of version {0}; this node reads {OLDEST} and {NEWEST}")]
    Version(u8),
    #[error("not an envelope: {0}")]
    Form(String),
}

impl Draft {
    /// All of the bytes but the last three fields, in this version. `event` replaces the draft's own when
    /// given.
    pub fn front(&self, version: u8, room: &str, event: Option<&[u8]>) -> Vec<u8> {
        self.write(version, FIELDS + ADDED, room, event.unwrap_or(&self.event))
    }

    /// [`Draft::front`] for rooms that are named later: what stands before the room's name, and what behind it.
    pub fn front_around(&self, version: u8) -> (Vec<u8>, Vec<u8>) {
        let mut before = self.front(version, "", None);
        // Version, header of the map, the field's name; then an empty text, which is one byte.
        let name = 3 + if version < NEWEST { "room" } else { "r" }.len();
        let mut behind = before.split_off(name);
        behind.remove(0);
        (before, behind)
    }

    /// A whole envelope without seq, for events that are only announced.
    pub fn unsequenced(&self, version: u8, room: &str) -> Vec<u8> {
        self.write(version, FIELDS, room, &self.event)
    }

    fn write(&self, version: u8, fields: u8, room: &str, event: &[u8]) -> Vec<u8> {
        let Self {
            id,
            at,
            origin,
            audience,
            ..
        } = self;
        let mut bytes = Vec::with_capacity(128 + event.len());
        bytes.push(version);
        let written = if version < NEWEST {
            let first = First {
                room,
                id: *id,
                at: *at,
                origin: *origin,
                audience,
                event,
            };
            rmp_serde::encode::write_named(&mut bytes, &first)
        } else {
            let second = Second {
                room,
                id: *id,
                at: *at,
                origin: *origin,
                audience: Whom::of(audience, *origin),
                event,
            };
            rmp_serde::encode::write_named(&mut bytes, &second)
        };
        written.expect("writing plain fields to memory cannot fail");
        // The map's header: more fields may follow.
        bytes[1] = 0x80 | fields;
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
        let wire: ReadFirst<'_> = match version {
            OLDEST => rmp_serde::from_slice(map),
            NEWEST => read_second(map),
            other => return Err(BadEnvelope::Version(other)),
        }
        .map_err(|error| BadEnvelope::Form(error.to_string()))?;
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

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    /// The bytes are a contract between nodes of different versions: a change here needs a new version byte
    /// and a reader for the old one.
    #[test]
    fn sample_bytes() {
        let sample = hex(&draft().unsequenced(NEWEST, "session:abc"));
        insta::assert_snapshot!(sample, @"0286a172ab73657373696f6e3a616263a169c41007070707070707070707070707070707a174cf0000019a779d7847a16fc41007070707070707070707070707070707a161c3a165c40d776861742068617070656e6564");
    }

    /// Guards rolling deploys: these bytes were written by a node of the version before, announced and
    /// committed (with what its script put in front).
    #[test]
    fn what_the_version_before_wrote_is_read() {
        let announced = "0189a3736571c0a565706f6368c0a776657273696f6ec0a4726f6f6dab73657373696f6e3a616263a26964c41007070707070707070707070707070707a26174cf0000019a779d7847a66f726967696ec41007070707070707070707070707070707a861756469656e636581a6457863657074c41007070707070707070707070707070707a56576656e74c40d776861742068617070656e6564";
        let room = Room::Session(SessionId::parse("abc").unwrap());
        let read = Envelope::decode(&unhex(announced)).unwrap();
        assert_eq!(read, draft().into_envelope(room.clone(), None, None));
        let placed = announced.replacen(
            "a3736571c0a565706f6368c0a776657273696f6ec0",
            "a3736571a23137a565706f6368a135a776657273696f6ea133",
            1,
        );
        let at = Position {
            epoch: Epoch(5),
            seq: 17,
        };
        let read = Envelope::decode(&unhex(&placed)).unwrap();
        assert_eq!(read, draft().into_envelope(room, Some(at), Some(3)));
    }

    /// Guards old nodes: what is written for them differs from what they wrote in the order of fields alone.
    #[test]
    fn every_version_that_is_written_is_read_back() {
        let room = Room::Session(SessionId::parse("abc").unwrap());
        let other = SocketId::next(crate::ids::NodeId::random());
        let users = vec![crate::ids::UserId::parse("ann").unwrap()];
        for audience in [
            draft().audience,
            Audience::All,
            Audience::Except(other),
            Audience::Users(users),
        ] {
            let draft = Draft {
                audience,
                ..draft()
            };
            for version in OLDEST..=NEWEST {
                let read = Envelope::decode(&draft.unsequenced(version, "session:abc")).unwrap();
                assert_eq!(read, draft.clone().into_envelope(room.clone(), None, None));
                let mut whole = draft.front(version, "session:abc", Some(b"short"));
                whole.extend_from_slice(b"\xa3seq\xa17\xa5epoch\xa15\xa7version\xc0");
                let read = Envelope::decode(&whole).unwrap();
                assert_eq!(read.position.unwrap().seq, 7);
                assert_eq!((&read.event[..], read.version), (&b"short"[..], None));
            }
        }
    }

    /// Guards what is sent to many: the room's name is put in between by the store.
    #[test]
    fn a_front_is_whole_when_its_room_is_named() {
        for version in OLDEST..=NEWEST {
            let (before, behind) = draft().front_around(version);
            let whole = [&before[..], b"\xabsession:abc", &behind].concat();
            assert_eq!(whole, draft().front(version, "session:abc", None));
        }
    }

    /// Guards against forms to come: a field more is no new version.
    #[test]
    fn an_unknown_field_is_ignored() {
        let mut bytes = draft().unsequenced(NEWEST, "session:abc");
        bytes[1] += 1;
        bytes.extend_from_slice(b"\xa1z\x07");
        assert!(Envelope::decode(&bytes).is_ok());
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
