//! The two forms of an envelope on the wire, by its version byte.
//!
//! Version 1 spells its fields out. Version 2 names them by a letter and says in a byte whom most events are
//! for, which spares every event about fifty bytes in the log and on the way to each node. What the store adds
//! itself stands behind the rest and has the same names in both.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::backplane::Audience;
use crate::clock::Millis;
use crate::ids::{EventId, SocketId, UserId};

/// Version 1 without what the store adds.
#[derive(Serialize)]
pub struct First<'a> {
    pub room: &'a str,
    pub id: EventId,
    pub at: Millis,
    pub origin: Option<SocketId>,
    pub audience: &'a Audience,
    #[serde(with = "serde_bytes")]
    pub event: &'a [u8],
}

/// Version 2 without what the store adds.
#[derive(Serialize)]
pub struct Second<'a> {
    #[serde(rename = "r")]
    pub room: &'a str,
    #[serde(rename = "i")]
    pub id: EventId,
    #[serde(rename = "t")]
    pub at: Millis,
    #[serde(rename = "o")]
    pub origin: Option<SocketId>,
    #[serde(rename = "a")]
    pub audience: Whom,
    #[serde(rename = "e", with = "serde_bytes")]
    pub event: &'a [u8],
}

/// A whole envelope, as read. Fields may come in any order, and others beside them.
#[derive(Deserialize)]
pub struct ReadFirst<'a> {
    pub seq: Option<&'a str>,
    pub epoch: Option<&'a str>,
    pub version: Option<&'a str>,
    pub room: &'a str,
    pub id: EventId,
    pub at: Millis,
    pub origin: Option<SocketId>,
    pub audience: Audience,
    #[serde(with = "serde_bytes")]
    pub event: &'a [u8],
}

#[derive(Deserialize)]
struct ReadSecond<'a> {
    seq: Option<&'a str>,
    epoch: Option<&'a str>,
    version: Option<&'a str>,
    #[serde(rename = "r")]
    room: &'a str,
    #[serde(rename = "i")]
    id: EventId,
    #[serde(rename = "t")]
    at: Millis,
    #[serde(rename = "o")]
    origin: Option<SocketId>,
    #[serde(rename = "a")]
    audience: Whom,
    #[serde(rename = "e", with = "serde_bytes")]
    event: &'a [u8],
}

/// Reads version 2.
pub fn read_second(map: &[u8]) -> Result<ReadFirst<'_>, rmp_serde::decode::Error> {
    let read: ReadSecond<'_> = rmp_serde::from_slice(map)?;
    Ok(ReadFirst {
        seq: read.seq,
        epoch: read.epoch,
        version: read.version,
        room: read.room,
        id: read.id,
        at: read.at,
        origin: read.origin,
        audience: read.audience.audience(read.origin),
        event: read.event,
    })
}

/// An audience in few bytes: nil for all, true for all but the origin, a socket for all but that one, a list
/// for these users.
#[derive(Debug, PartialEq)]
pub enum Whom {
    All,
    NotOrigin,
    Not(SocketId),
    Users(Vec<UserId>),
}

impl Whom {
    pub fn of(audience: &Audience, origin: Option<SocketId>) -> Self {
        match audience {
            Audience::All => Whom::All,
            Audience::Except(socket) if Some(*socket) == origin => Whom::NotOrigin,
            Audience::Except(socket) => Whom::Not(*socket),
            Audience::Users(users) => Whom::Users(users.clone()),
        }
    }

    fn audience(self, origin: Option<SocketId>) -> Audience {
        match (self, origin) {
            (Whom::NotOrigin, Some(origin)) => Audience::Except(origin),
            (Whom::Not(socket), _) => Audience::Except(socket),
            (Whom::Users(users), _) => Audience::Users(users),
            (Whom::All | Whom::NotOrigin, _) => Audience::All,
        }
    }
}

impl Serialize for Whom {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Whom::All => to.serialize_unit(),
            Whom::NotOrigin => to.serialize_bool(true),
            Whom::Not(socket) => socket.serialize(to),
            Whom::Users(users) => users.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Whom {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Whom;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nil, true, a socket or a list of users")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Whom, E> {
                Ok(Whom::All)
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Whom, E> {
                Ok(Whom::NotOrigin)
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Whom, E> {
                let wrong = || E::invalid_length(bytes.len(), &"the 16 bytes of a socket");
                SocketId::from_bytes(bytes).map(Whom::Not).ok_or_else(wrong)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Whom, A::Error> {
                let mut users = Vec::new();
                while let Some(user) = list.next_element()? {
                    users.push(user);
                }
                Ok(Whom::Users(users))
            }
        }

        from.deserialize_any(Reader)
    }
}
