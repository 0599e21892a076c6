//! Packets of Engine.IO 4 and of Socket.IO 5 inside them, as text. No I/O, no state but the count of binary parts
//! that are still to come.
//!
//! An Engine.IO packet is a digit and its content; by WebSocket it is a text frame, by polling several stand in one
//! body, separated by U+001E. Content of a message is a Socket.IO packet: a digit, how many binary parts follow, a
//! namespace, the number of an acknowledgement, JSON. Sources: the protocol texts of engine.io-protocol (revision 4)
//! and socket.io-protocol (revision 5).

use serde_json::value::RawValue;

/// Between the packets of a body.
pub const SEPARATOR: char = '\u{1e}';
/// How a binary packet in a body begins; base64 follows.
const BINARY: char = 'b';
/// Binary parts one packet may announce: we have no use for any, and each is read before it is refused.
pub const MOST_PARTS: u32 = 16;
/// The namespace that need not be named.
pub const MAIN: &str = "/";

/// What an Engine.IO packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine<'a> {
    Close,
    /// Content is `probe` while a transport is tried out.
    Ping(&'a str),
    Pong(&'a str),
    Message(&'a str),
    /// A binary part of a message, which by polling comes as base64.
    Binary,
    Upgrade,
    Noop,
}

/// What a Socket.IO packet says.
#[derive(Debug)]
pub struct Packet<'a> {
    pub kind: Kind,
    pub namespace: &'a str,
    /// The sender wants to know what became of it, under this number; or this answers that.
    pub ack: Option<u64>,
    pub data: Option<&'a RawValue>,
    /// Binary parts that follow.
    pub parts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
}

/// Why something is no packet; said to the one who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("an empty packet")]
    Empty,
    #[error("not a type of packet that a client sends")]
    Type,
    #[error("binary parts are announced by their number, at most {MOST_PARTS}, and a hyphen")]
    Parts,
    #[error("a namespace is followed by a comma")]
    Namespace,
    #[error("the number of an acknowledgement is too large")]
    Ack,
    #[error("what follows is not JSON")]
    Json,
    #[error("this packet carries no data")]
    Data,
    #[error("an event is a JSON array that begins with its name")]
    Event,
}

impl<'a> Engine<'a> {
    /// Reads one packet.
    pub fn read(text: &'a str) -> Result<Self, Bad> {
        let mut rest = text.chars();
        let kind = rest.next().ok_or(Bad::Empty)?;
        let content = rest.as_str();
        match kind {
            '1' => Ok(Engine::Close),
            '2' => Ok(Engine::Ping(content)),
            '3' => Ok(Engine::Pong(content)),
            '4' => Ok(Engine::Message(content)),
            '5' => Ok(Engine::Upgrade),
            '6' => Ok(Engine::Noop),
            BINARY => Ok(Engine::Binary),
            _ => Err(Bad::Type),
        }
    }

    /// The packets of a polling body.
    pub fn read_all(body: &'a str) -> impl Iterator<Item = Result<Self, Bad>> {
        body.split(SEPARATOR).map(Self::read)
    }
}

impl<'a> Packet<'a> {
    /// Reads the content of a message.
    pub fn read(text: &'a str) -> Result<Self, Bad> {
        let mut rest = text.chars();
        let (kind, binary) = match rest.next().ok_or(Bad::Empty)? {
            '0' => (Kind::Connect, false),
            '1' => (Kind::Disconnect, false),
            '2' => (Kind::Event, false),
            '3' => (Kind::Ack, false),
            '4' => (Kind::ConnectError, false),
            '5' => (Kind::Event, true),
            '6' => (Kind::Ack, true),
            _ => return Err(Bad::Type),
        };
        let mut rest = rest.as_str();
        let mut parts = 0;
        if binary {
            let (count, behind) = rest.split_once('-').ok_or(Bad::Parts)?;
            parts = number(count)
                .and_then(|n| u32::try_from(n).ok())
                .ok_or(Bad::Parts)?;
            if parts > MOST_PARTS {
                return Err(Bad::Parts);
            }
            rest = behind;
        }
        let mut namespace = MAIN;
        if rest.starts_with('/') {
            // Without data nothing need follow the namespace.
            (namespace, rest) = match rest.split_once(',') {
                Some(found) => found,
                None if matches!(kind, Kind::Connect | Kind::Disconnect) => (rest, ""),
                None => return Err(Bad::Namespace),
            };
            // It may be asked for with a query, which is not part of its name.
            namespace = namespace.split('?').next().unwrap_or(namespace);
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (ack, rest) = rest.split_at(digits);
        let ack = match ack {
            "" => None,
            digits => Some(number(digits).ok_or(Bad::Ack)?),
        };
        let data = match rest {
            "" => None,
            json => Some(serde_json::from_str(json).map_err(|_| Bad::Json)?),
        };
        let packet = Self {
            kind,
            namespace,
            ack,
            data,
            parts,
        };
        packet.checked()
    }

    /// What each kind carries.
    fn checked(self) -> Result<Self, Bad> {
        let first = self.data.and_then(|data| data.get().bytes().next());
        match self.kind {
            Kind::Connect if matches!(first, None | Some(b'{')) => Ok(self),
            Kind::Connect => Err(Bad::Json),
            Kind::Disconnect if first.is_none() => Ok(self),
            Kind::Disconnect => Err(Bad::Data),
            Kind::Event | Kind::Ack if first == Some(b'[') => Ok(self),
            Kind::Event | Kind::Ack => Err(Bad::Event),
            // Only servers refuse.
            Kind::ConnectError => Err(Bad::Type),
        }
    }

    /// The name of an event and its first argument.
    pub fn event(&self) -> Result<(String, Option<&'a RawValue>), Bad> {
        let arguments = self.data.map_or("[]", RawValue::get);
        let arguments: Vec<&RawValue> = serde_json::from_str(arguments).map_err(|_| Bad::Event)?;
        let name = arguments.first().ok_or(Bad::Event)?;
        let name = serde_json::from_str(name.get()).map_err(|_| Bad::Event)?;
        Ok((name, arguments.get(1).copied()))
    }
}

/// A whole number that JavaScript holds exactly.
fn number(digits: &str) -> Option<u64> {
    const MOST: u64 = (1 << 53) - 1;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| *number <= MOST)
}

/// Writing packets: each is appended to `out` whole.
pub mod write {
    use serde::Serialize;

    use super::MAIN;

    /// What a client is told when its connection is made.
    #[derive(Debug, Serialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Open<'a> {
        pub sid: &'a str,
        pub upgrades: &'a [&'static str],
        pub ping_interval: u64,
        pub ping_timeout: u64,
        pub max_payload: usize,
    }

    pub const PING: &str = "2";
    pub const PROBED: &str = "3probe";
    pub const CLOSE: &str = "1";
    pub const NOOP: &str = "6";

    pub fn open(open: &Open<'_>, out: &mut Vec<u8>) {
        out.push(b'0');
        json(open, out);
    }

    /// The namespace is entered: this is the socket's id there.
    pub fn connected(sid: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"40");
        json(&serde_json::json!({ "sid": sid }), out);
    }

    pub fn disconnected(out: &mut Vec<u8>) {
        out.extend_from_slice(b"41");
    }

    /// The namespace is not entered.
    pub fn refused(namespace: &str, why: &impl Serialize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"44");
        if namespace != MAIN {
            out.extend_from_slice(namespace.as_bytes());
            out.push(b',');
        }
        json(why, out);
    }

    pub fn event(name: &str, argument: &impl Serialize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"42");
        json(&(name, argument), out);
    }

    pub fn ack(number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"43");
        json(&number, out);
        out.extend_from_slice(b"[]");
    }

    fn json(value: &impl Serialize, out: &mut Vec<u8>) {
        serde_json::to_writer(out, value).expect("writing plain fields to memory cannot fail");
    }
}

#[cfg(test)]
mod tests;
